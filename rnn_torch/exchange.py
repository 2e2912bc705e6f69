"""Layers of Flax → layers of this package: value for value.

    layer = from_flax(rnn_jax.LSTM(10, 64, num_layers=2, rngs=nnx.Rngs(0)))

From and to torch.nn nothing needs converting: both have the same state dict.
"""

from dataclasses import replace
from typing import Any, get_args

import ml_dtypes
import numpy as np
import torch
from torch import nn

from rnn_torch.layers import Layer, make
from rnn_torch.stack import Recurrent
from shared.config.settings import Cell
from shared.errors import InvalidInput
from shared.protocol import LayerConfig
from shared.protocol.checks import check_inherited, check_one_dtype, named
from shared.protocol.exchange import CanonicalLayer, canonical_layer

_MODES: dict[str, Cell] = {"RNN_TANH": "rnn", "RNN_RELU": "rnn", "LSTM": "lstm", "GRU": "gru"}


def from_flax(module: Any, *, one_bias: bool = False) -> Layer:
    """Makes the twin of a Flax layer: the same arguments, dtype and values, in training or
    evaluation.

    Args:
        module: an RNN, LSTM or GRU of `rnn_jax`; `flax.nnx.RNN` or `Bidirectional` over Flax's
            cells or those of `rnn_jax`, or a list of them (see `rnn_jax.from_flax`).
        one_bias: take the single bias of Flax's cells as bias_ih beside a bias_hh of zero. The
            result computes the same, but trains differently: two biases move twice as far.

    Raises:
        TypeError: another module.
        InvalidInput: what has no counterpart, named with the reason, such as a dtype of the
            computation that is not the parameters', or parameters of two dtypes.
    """
    found = canonical_layer("jax", module, one_bias=one_bias)
    config, weights, training, computed = found
    check_one_dtype(weights)
    held = weights["weight_ih_l0"].dtype
    if computed is not None and np.dtype(computed) != held:
        raise InvalidInput(
            f"dtype: expected a layer that computes in {held} as its parameters, which torch's do, "
            f"got one that computes in {np.dtype(computed)}; with layer.dtype = None it passes"
        )
    tensors = {name: to_tensor(array) for name, array in weights.items()}
    # On no device, nothing is drawn from torch's generator.
    layer = make(replace(config, dropout=0.0), device="meta", dtype=tensors["weight_ih_l0"].dtype)
    layer.load_state_dict(tensors, assign=True)
    layer.dropout = float(config.dropout)
    return layer.train(training)


def canonical(module: Any) -> CanonicalLayer:
    """Returns a layer of this package or of torch.nn in the canonical layout."""
    check_inherited(module, (*get_args(Layer), nn.RNN, nn.LSTM, nn.GRU), "forward")
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
        raise TypeError(f"expected {expected}, got {named(module)}")
    weights = {name: to_numpy(getattr(module, name)) for name in config.shapes()}
    return CanonicalLayer(config, weights, module.training)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Returns a copy in NumPy, which knows bfloat16 only through ml_dtypes."""
    tensor = tensor.detach().cpu().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16).copy()
    return tensor.numpy().copy()


def to_tensor(array: np.ndarray) -> torch.Tensor:
    array = np.array(array)  # JAX's arrays are read-only
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
