"""Layers of Flax → layers of this package: value for value.

    layer = from_flax(rnn_jax.LSTM(10, 64, num_layers=2, rngs=nnx.Rngs(0)))

From and to torch.nn nothing needs converting: both have the same state dict.
"""

from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import nn

from rnn_torch.layers import GRU, LSTM, RNN, make
from rnn_torch.stack import Recurrent
from shared.layer import Cell, LayerConfig, check_one_dtype
from shared.weights import Weights

_MODES: dict[str, Cell] = {"RNN_TANH": "rnn", "RNN_RELU": "rnn", "LSTM": "lstm", "GRU": "gru"}


def from_flax(module: Any, *, one_bias: bool = False) -> RNN | LSTM | GRU:
    """The twin of a Flax layer: the same arguments, dtype and values, in training or evaluation.

    Args:
        module: an RNN, LSTM or GRU of `rnn_jax`; `flax.nnx.RNN` or `Bidirectional` over Flax's
            cells or those of `rnn_jax`, or a list of them (see `rnn_jax.from_flax`).
        one_bias: take the single bias of Flax's cells as bias_ih beside a bias_hh of zero. The
            result computes the same, but trains differently: two biases move twice as far.

    Raises:
        TypeError: another module.
        InvalidInput: what has no counterpart, named with the reason, or parameters of two dtypes.
    """
    from rnn_jax import exchange

    config, weights, training = exchange.canonical(module, one_bias=one_bias)
    check_one_dtype(weights)
    tensors = {name: to_tensor(array) for name, array in weights.items()}
    layer = make(config, dtype=tensors["weight_ih_l0"].dtype)
    layer.load_state_dict(tensors)
    return layer.train(training)


def canonical(module: Any) -> tuple[LayerConfig, Weights, bool]:
    """Arguments and tensors of a layer of this package or of torch.nn, and if it is in training."""
    if isinstance(module, Recurrent):
        config = module.layer_config
    elif isinstance(module, (nn.RNN, nn.LSTM, nn.GRU)):
        config = LayerConfig(
            _MODES[module.mode],
            module.input_size,
            module.hidden_size,
            module.num_layers,
            "relu" if module.mode == "RNN_RELU" else "tanh",
            module.bias,
            module.batch_first,
            module.dropout,
            module.bidirectional,
            module.proj_size,
        )
    else:
        expected = "a torch.nn.RNN, LSTM or GRU, or one of rnn_torch"
        raise TypeError(f"expected {expected}, got {type(module).__name__}")
    weights = {name: to_numpy(getattr(module, name)) for name in config.shapes()}
    return config, weights, module.training


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A copy in NumPy, which knows bfloat16 only through ml_dtypes."""
    tensor = tensor.detach().cpu().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16).copy()
    return tensor.numpy().copy()


def to_tensor(array: np.ndarray) -> torch.Tensor:
    array = np.array(array)  # JAX's arrays are read-only
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
