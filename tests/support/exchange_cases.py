"""What the tests of exchange share: layers of torch, cells of Flax, comparison bit by bit."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch import nn

import rnn_torch
from rnn_torch.exchange import to_numpy

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNN": ("RNN", {}),
    "RNN relu": ("RNN", {"nonlinearity": "relu"}),
    "LSTM": ("LSTM", {}),
    "LSTM projected": ("LSTM", {"proj_size": 2}),
    "GRU": ("GRU", {}),
    "GRU without bias": ("GRU", {"bias": False}),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    kind: {"cell": name.lower(), "input_size": 3, "hidden_size": 4} | options
    for kind, (name, options) in KINDS.items()
}
CELL_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNNCell": ("RNNCell", {}),
    "RNNCell relu": ("RNNCell", {"nonlinearity": "relu"}),
    "LSTMCell": ("LSTMCell", {}),
    "GRUCell": ("GRUCell", {}),
    "GRUCell without bias": ("GRUCell", {"bias": False}),
}
STACKED: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "batch_first": True}
CELLS: dict[str, Callable[..., nnx.RNNCellBase]] = {
    "SimpleCell tanh": lambda i, h, **o: nnx.SimpleCell(i, h, dtype=jnp.float64, **o),
    "SimpleCell relu": lambda i, h, **o: nnx.SimpleCell(
        i, h, dtype=jnp.float64, activation_fn=nnx.relu, **o
    ),
    "LSTMCell": nnx.LSTMCell,
    "OptimizedLSTMCell": nnx.OptimizedLSTMCell,
    "GRUCell": nnx.GRUCell,
}


def torch_layer(kind: str, **options: Any) -> Any:
    name, arguments = KINDS[kind]
    torch.manual_seed(3)
    options = {"dtype": torch.float64} | arguments | options
    return getattr(nn, name)(3, 4, **options)


def torch_cell(kind: str, seed: int = 3, **options: Any) -> Any:
    """Of torch.nn; the projected one, which torch.nn has not, of rnn_torch."""
    torch.manual_seed(seed)
    options = {"dtype": torch.float64} | options
    if kind == "LSTMCell projected":
        return rnn_torch.LSTMCell(3, 4, proj_size=2, **options)
    name, arguments = CELL_KINDS[kind]
    return getattr(nn, name)(3, 4, **arguments | options)


def flax_cell(cell: str, inputs: int = 3, seed: int = 0, bias: bool = True) -> Any:
    """Values that are not zero, as Flax's biases would be."""
    made = CELLS[cell](inputs, 4, param_dtype=jnp.float64, rngs=nnx.Rngs(seed))
    rng = np.random.default_rng(seed)
    for path, param in nnx.to_flat_state(nnx.state(made, nnx.Param)):
        values = rng.uniform(-0.6, 0.6, param.shape)
        if path[-1] == "bias" and not bias:
            values = np.zeros(param.shape)
        owner: Any = made
        for step in path:
            owner = getattr(owner, str(step))
        owner[...] = jnp.asarray(values)
    return made


def randn(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape)


def values(module: Any) -> dict[str, np.ndarray]:
    """All parameters by name, with their bits: bfloat16, which NumPy lacks, as integers."""
    if isinstance(module, nn.Module):
        found = {name: to_numpy(t) for name, t in module.state_dict().items()}
    else:
        found = module.state_dict()
    return {name: array.view(f"i{array.itemsize}") for name, array in found.items()}


def check_bits(actual: Any, expected: Any) -> None:
    mine, theirs = values(actual), values(expected)
    assert list(mine) == list(theirs)
    for name, bits in theirs.items():
        assert bits.any(), f"{name}: all zero"
        assert mine[name].dtype == bits.dtype, name
        assert np.array_equal(mine[name], bits), name
