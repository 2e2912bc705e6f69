"""The JAX layers over two devices, a half of the batch on each."""

import os
import subprocess
import sys

import pytest

# Devices are counted when JAX starts: in a process of its own.
COMMON = """
import jax, jax.numpy as jnp, rnn_jax
from flax import nnx
from jax.sharding import AxisType, PartitionSpec as P

layer = rnn_jax.LSTM(3, 4, 2, batch_first=True, bidirectional=True, rngs=nnx.Rngs(0))
graph, params = nnx.split(layer)
x, lengths = jax.random.normal(jax.random.key(0), (4, 5, 3)), jnp.array([2, 5, 1, 3])

def call(params, x, lengths):
    return nnx.merge(graph, params)(x, lengths=lengths)[0]

def loss(params, x, lengths):
    return jnp.sin(call(params, x, lengths)).sum()

expected = call(params, x, lengths), jax.grad(loss)(params, x, lengths)
"""
MESHES = {
    "shard_map": """
mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
halves = P(), P("d"), P("d")
mapped = jax.jit(jax.shard_map(call, mesh=mesh, in_specs=halves, out_specs=P("d")))
derived = jax.jit(jax.shard_map(jax.grad(loss), mesh=mesh, in_specs=halves, out_specs=P()))
found = mapped(params, x, lengths), derived(params, x, lengths)
""",
    "explicit mesh": """
jax.set_mesh(jax.make_mesh((2,), ("d",), axis_types=(AxisType.Explicit,)))
arguments = jax.device_put((params, x, lengths), (P(), P("d"), P("d")))
found = jax.jit(call)(*arguments), jax.jit(jax.grad(loss))(*arguments)
""",
}
COMPARED = """
found, expected = jax.device_get((found, expected))
far = jax.tree.leaves(jax.tree.map(lambda a, b: float(abs(a - b).max()), found, expected))
assert len(far) == 17 and max(far) < 1e-5, far
assert min(float(abs(leaf).max()) for leaf in jax.tree.leaves(expected)) > 1e-2
"""


@pytest.mark.parametrize("mesh", MESHES)
def test_a_batch_in_two_halves(mesh: str) -> None:
    """Outputs and gradients are those of one device; float32, 17 tensors."""
    finished = subprocess.run(
        [sys.executable, "-c", COMMON + MESHES[mesh] + COMPARED],
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
    )
    assert finished.returncode == 0, finished.stderr
