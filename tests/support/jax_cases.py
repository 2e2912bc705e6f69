"""What the tests of the JAX layers share: float64, random arrays, comparison by path."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import rnn_jax
from tests.support.compare_arrays import check_all_close

NAMES = ["RNN", "LSTM", "GRU"]
STACKED: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "batch_first": True}


def make(name: str, *args: Any, **options: Any) -> Any:
    options = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)} | options
    return getattr(rnn_jax, name)(*args, **options)


def randn(*shape: int, dtype: Any = jnp.float64) -> jax.Array:
    return jax.random.normal(jax.random.key(len(shape)), shape, jnp.float64).astype(dtype)


def initial(name: str, *shape: int) -> Any:
    return (randn(*shape), 2 * randn(*shape)) if name == "LSTM" else randn(*shape)


def arrays(tree: Any) -> dict[str, np.ndarray]:
    """Every array of a tree by its path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def check_same(actual: Any, expected: Any, relative: float = 1e-10) -> None:
    check_all_close(arrays(actual), arrays(expected), relative=relative)


def scalar(result: Any) -> jax.Array:
    """A number that every output and final state moves, differently."""
    leaves = jax.tree.leaves(result)
    return jnp.stack([jnp.sum(jnp.sin((i + 1) * leaf)) for i, leaf in enumerate(leaves)]).sum()
