"""Keras's recurrent layers as arrays by name ↔ canonical tensors.

    layers/lstm/cell/vars/0     kernel             (I, G·H)
    layers/lstm/cell/vars/1     recurrent kernel   (H, G·H)
    layers/lstm/cell/vars/2     bias               (G·H,), or (2, G·H) of a GRU with reset_after

The gates of an LSTM are i, f, c, o, where c is torch's g; those of a GRU are z, r, h, where h is
torch's n (https://keras.io/api/layers/recurrent_layers/). Keras's output with a GRU is torch's only
with reset_after: without it, r multiplies the state before the matrix, not after.
"""

import re
from collections.abc import Mapping

import numpy as np

from shared.config.settings import Cell
from shared.errors import InvalidInput
from shared.protocol.biases import check_single, joined
from shared.protocol.checks import check_one_dtype, check_tensors
from shared.protocol.layer import GATES, LayerConfig, Shape
from shared.protocol.weights import Weights

_PART = re.compile(
    r"(?P<layer>(?:.*/)?)(?:cell/|(?P<cell>(?:lstm|gru|simple_rnn)_cell(?:_\d+)?/))"
    r"vars/(?P<number>[012])",
    re.S,
)
_BLOCKS: dict[Cell, list[int]] = {"rnn": [0], "lstm": [0, 1, 2, 3], "gru": [1, 0, 2]}
"""Number of the block that each gate of torch has in Keras; and the other way round."""
PLACES: dict[Cell, str] = {"rnn": "simple_rnn", "lstm": "lstm", "gru": "gru"}
"""Names that Keras gives these layers in its files."""
ASSUMED = (
    "activation tanh",
    "recurrent_activation sigmoid",
    "go_backwards False",
    "merge_mode concat",
)
"""Settings that torch's layers have, where no config says so."""

Parts = dict[str, str]


def is_part(name: str) -> bool:
    """Tells by its name whether an array may belong to one of these layers."""
    return _PART.fullmatch(name) is not None


def keras_cells(tensors: Mapping[str, np.ndarray]) -> dict[str, Parts]:
    """Finds layers by structure: prefix → the layer's parts "0", "1" and "2"."""
    found: dict[str, Parts] = {}
    for name in tensors:
        if match := _PART.fullmatch(name):
            prefix = match["layer"] + (match["cell"] or "")
            found.setdefault(prefix, {})[match["number"]] = name
    return {prefix: parts for prefix, parts in found.items() if {"0", "1"} <= parts.keys()}


def canonical_cell(
    parts: Mapping[str, np.ndarray], prefix: str, one_bias: bool
) -> tuple[LayerConfig, Weights]:
    """Returns arguments and canonical tensors of a layer, the names without `_l0`.

    Raises:
        InvalidInput: no layer of torch: another number of gates, ConvLSTM, a GRU without
            reset_after; shapes that do not belong together; a single bias that is not zero, without
            `one_bias`.
    """
    kernel, recurrent, bias = parts["0"], parts["1"], parts.get("2")
    where = f"{prefix}cell/vars"
    if kernel.ndim != 2 or recurrent.ndim != 2:
        raise InvalidInput(
            f"{where}: expected kernels of 2 axes, got {kernel.shape} and {recurrent.shape}, such "
            "as those of ConvLSTM, which torch has no layer for"
        )
    inputs, hidden, columns = len(kernel), len(recurrent), recurrent.shape[1]
    fits: list[Cell] = [cell for cell, gates in GATES.items() if columns == gates * hidden]
    if not fits or not hidden:
        raise InvalidInput(
            f"{where}/1: expected 1, 3 or 4 (SimpleRNN, GRU, LSTM) times its {hidden} rows in "
            f"columns, got {columns}"
        )
    cell = fits[0]
    single = bias is not None and bias.ndim == 1
    expected: dict[str, Shape] = {"0": (inputs, columns), "1": (hidden, columns)}
    if bias is not None:
        expected["2"] = (columns,) if cell != "gru" or single else (2, columns)
    named = {f"{where}/{number}": array for number, array in parts.items()}
    check_tensors({f"{where}/{number}": shape for number, shape in expected.items()}, named)
    check_one_dtype(named)
    if cell == "gru" and single:
        raise InvalidInput(
            f"{where}/2: expected a GRU with reset_after=True, whose bias is {(2, columns)}, got "
            f"{(columns,)}: with reset_after=False it computes something else than torch's"
        )
    try:
        config = LayerConfig(cell, inputs, hidden, bias=bias is not None)
    except ValueError as error:
        raise InvalidInput(f"{where}/0: no layer has such a shape: {error}") from error
    tensors = {
        "weight_ih": np.ascontiguousarray(_reordered(kernel, cell).T),
        "weight_hh": np.ascontiguousarray(_reordered(recurrent, cell).T),
    }
    if bias is not None:
        if single:
            check_single(f"{where}/2", bias, one_bias)
            bias = np.stack([bias, np.zeros_like(bias)])
        tensors["bias_ih"], tensors["bias_hh"] = _reordered(bias, cell)
    return config, tensors


def keras_cell(config: LayerConfig, tensors: Weights, ending: str, one_bias: bool) -> Weights:
    """Returns the arrays "0", "1" and "2" of a layer in Keras; a GRU has reset_after.

    Args:
        tensors: of one layer and direction, without the ending: weight_ih, …
        ending: of its canonical names, for the refusal: "_l0".
        one_bias: add two biases where Keras has one.

    Raises:
        InvalidInput: Keras cannot hold them: a projection, or two biases without `one_bias`.
    """
    if config.proj_size:
        raise InvalidInput(f"weight_hr{ending}: Keras's LSTM has no projection, expected none")
    parts = {
        "0": np.ascontiguousarray(_reordered(tensors["weight_ih"].T, config.cell)),
        "1": np.ascontiguousarray(_reordered(tensors["weight_hh"].T, config.cell)),
    }
    if config.bias:
        one, other = tensors["bias_ih"], tensors["bias_hh"]
        if config.cell == "gru":
            bias = np.stack([one, other])
        else:
            bias = joined(f"bias_hh{ending}", one, other, one_bias)
        parts["2"] = _reordered(bias, config.cell)
    return parts


def _reordered(array: np.ndarray, cell: Cell) -> np.ndarray:
    """Returns the blocks of the last axis in torch's order of gates, or from there in Keras's."""
    blocks = np.split(array, GATES[cell], axis=-1)
    return np.concatenate([blocks[number] for number in _BLOCKS[cell]], axis=-1)
