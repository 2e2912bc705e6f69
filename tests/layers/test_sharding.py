"""JAX over two devices, a half of the batch on each: the layers, and the backend's runs."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from rnn_jax import sharding
from rnn_jax.backend import Backend
from shared.config import Config, resolve
from shared.config.data import GeneratedData, TextData
from shared.config.settings import Cell, NetworkConfig, Nonlinearity
from shared.inference.evaluation import evaluate
from shared.protocol.backend import first_snapshot
from shared.protocol.schedule import learning_rates
from shared.runs.checkpoint import flatten
from shared.system import environment
from shared.tasks import TASKS, load_task
from shared.tasks.batches import training_batches
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.pairwise import slow_but
from tests.support.take_steps import CELLS, RUN

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


@pytest.mark.parametrize("mesh", slow_but(MESHES, ["shard_map"]))
def test_a_batch_in_two_halves(mesh: str) -> None:
    """Outputs and gradients are those of one device; float32, 17 tensors."""
    finished = subprocess.run(
        [sys.executable, "-c", COMMON + MESHES[mesh] + COMPARED],
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
    )
    assert finished.returncode == 0, finished.stderr


def classified(cell: Cell, nonlinearity: Nonlinearity, **network: Any) -> Config:
    """Three epochs of 10 steps, of sequences of unequal length where there are two directions."""
    defaults = TASKS["last-value"].defaults
    return replace(
        defaults,
        network=NetworkConfig(cell=cell, nonlinearity=nonlinearity, hidden_size=6, **network),
        optimization=replace(defaults.optimization, clip_norm=0.5),
        data=GeneratedData(80, 30, 12, 7, 3, min_length=2 if network else None),
        batch_size=8,
    )


def text(tmp_path) -> Config:
    """Four streams whose state is carried on."""
    file = tmp_path / "text.txt"
    file.write_text("".join(np.random.default_rng(5).choice(list("abcdefgh \n"), 600)))
    defaults = TASKS["text"].defaults
    return replace(
        defaults,
        network=NetworkConfig(cell="lstm", hidden_size=6, embedding_size=4),
        data=TextData(path=str(file), split=(0.8, 0.1, 0.1)),
        batch_size=4,
        bptt=11,
    )


def of_a_cell(cell: Cell, nonlinearity: Nonlinearity) -> list[Callable[[Any], Config]]:
    deep = {"num_layers": 2, "bidirectional": True, "dropout": 0.3}
    return [
        lambda _: classified(cell, nonlinearity),
        lambda _: classified(cell, nonlinearity, **deep),
    ]


RUNS = {
    f"{cell} {nonlinearity}, {kind}": make
    for cell, nonlinearity in CELLS
    for kind, make in zip(("plain", "deep"), of_a_cell(cell, nonlinearity), strict=True)
} | {"text": text}


FEW = ("rnn tanh, plain", "lstm tanh, deep", "gru tanh, plain", "text")


@pytest.mark.parametrize("run", slow_but(RUNS, FEW))
def test_a_run_over_two_devices_is_that_of_one(run: str, tmp_path, monkeypatch) -> None:
    """Losses, weights, moments, carried state, scores and predictions after 15 + 15 steps; dropout,
    lengths, and a validation part that does not fill its batch."""
    config = resolve(replace(RUNS[run](tmp_path), backend="jax", precision="float64"))
    task = load_task(config)
    batches = training_batches(config, task)
    rates = learning_rates(config.optimization, 0, 30, batches.per_epoch, 30)

    def taken(least_work: int) -> tuple[Backend, np.ndarray, Any, Any, np.ndarray]:
        monkeypatch.setattr(sharding, "LEAST_WORK", least_work)
        monkeypatch.setattr(sharding, "LEAST_ROWS", 2)
        backend = Backend(config, task.signature)
        state = backend.init(first_snapshot(config, task.signature))
        losses = []
        for first in (0, 15):
            (state,), (metrics,) = backend.advance(
                [state], [batches.take(first, 15)], rates[first : first + 15]
            )
            losses.append(np.asarray(metrics.loss))
        scores = evaluate(config, task, backend, state, task.valid or task.test)
        predicted, _ = backend.predict(state, task.test.inputs[:4])
        return backend, np.concatenate(losses), backend.export(state), scores, predicted

    one, two = taken(10**18), taken(1)
    assert one[0].device == "cpu:0 (cpu)"
    assert two[0].device == "cpu:0–1 (cpu), a batch shared among 2"
    check_close(two[1], one[1], relative=RUN, what="loss", elementwise=True)
    check_all_close(flatten(two[2]), flatten(one[2]), relative=RUN)
    check_close(np.array(two[3]), np.array(one[3]), relative=RUN, what="scores")
    check_close(two[4], one[4], relative=RUN, what="predictions")


@pytest.mark.parametrize(
    ("batch_size", "hidden_size", "work", "devices"),
    [
        (6, 5, 99, 1),
        (6, 5, 199, 1),
        (6, 5, 200, 2),
        (6, 5, 10**12, 2),
        (7, 5, 10**12, 1),
        (4, 5, 10**12, 1),
        (6, 9, 10**12, 2),
        (6, 10, 10**12, 1),
        (8, 12, 10**12, 2),
    ],
)
def test_each_device_has_enough_to_do_and_an_equal_share(
    batch_size: int, hidden_size: int, work: int, devices: int, monkeypatch
) -> None:
    monkeypatch.setattr(sharding, "LEAST_WORK", 100)
    monkeypatch.setattr(sharding, "LEAST_ROWS", 3)
    monkeypatch.setattr(sharding, "MOST_UNITS_A_ROW", 3)
    mesh = sharding.mesh_for(jax.devices("cpu")[0], batch_size, hidden_size, work)
    assert (1 if mesh is None else mesh.size) == devices


@pytest.mark.parametrize(
    ("chosen", "devices"),
    [
        ({"JAX_NUM_CPU_DEVICES": "1"}, 1),
        ({"JAX_NUM_CPU_DEVICES": "3"}, 3),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}, 3),
        ({}, environment.cores()),
    ],
)
def test_the_number_of_devices_is_the_users_or_that_of_the_cores(
    chosen: dict[str, str], devices: int
) -> None:
    code = "import jax; from rnn_jax import devices; devices.use_all_cores(); print(jax.devices())"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | chosen
    )
    assert finished.stdout.count("CpuDevice") == devices, finished.stderr


@pytest.mark.parametrize(
    ("granted", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8), ("", 8)],
)
def test_a_container_has_the_cores_it_is_granted(granted: str, cores: int, monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: granted)
    assert environment.cores() == cores
