"""Layers and cells of torch.nn in a state dict: found by their tensors' names and shapes.

weight_ih_l0, weight_hh_l0, bias_ih_l0, …     a layer (`shared/protocol/layer.py`)
weight_ih, weight_hh, bias_ih, bias_hh        a cell
"""

import re
from collections.abc import Iterable
from typing import Any

from shared.config.settings import Cell
from shared.errors import InvalidInput
from shared.protocol.checks import check_one_dtype, check_tensors
from shared.protocol.layer import GATES, LayerConfig
from shared.protocol.weights import Weights

_LAYER = re.compile(r"(?P<prefix>.*?)(?P<name>(?:weight|bias)_[a-z]{2}_l\d+(?:_reverse)?)", re.S)
_CELL = re.compile(r"(?P<prefix>.*?)(?P<name>(?:weight|bias)_(?:ih|hh|hr))", re.S)
Parts = dict[str, str]
"""Canonical name → the name in a state dict."""


def is_part(name: str) -> bool:
    """Tells by its name whether a tensor may belong to a layer or a cell."""
    return _LAYER.fullmatch(name) is not None or _CELL.fullmatch(name) is not None


def torch_layers(names: Iterable[str]) -> dict[str, Parts]:
    """Returns the layers by their prefixes, those with missing tensors among them."""
    return _by_prefix(_LAYER, names)


def torch_cells(names: Iterable[str]) -> dict[str, Parts]:
    """Returns the cells by their prefixes; each has one of its matrices at least."""
    found = _by_prefix(_CELL, names)
    return {
        prefix: parts
        for prefix, parts in found.items()
        if {"weight_ih", "weight_hh"} & parts.keys()
    }


def _by_prefix(pattern: re.Pattern[str], names: Iterable[str]) -> dict[str, Parts]:
    found: dict[str, Parts] = {}
    for name in names:
        if match := pattern.fullmatch(name):
            found.setdefault(match["prefix"], {})[match["name"]] = name
    return found


def recognise(tensors: Weights, prefix: str, ending: str) -> LayerConfig:
    """Returns the arguments of the layer whose first tensors have these shapes.

    Args:
        prefix: what stands before them in the state dict.
        ending: of the names of its first tensors: "_l0", or "" for a cell.

    Raises:
        InvalidInput: no layer or cell, or one with tensors missing, unexpected, of other shapes or
            of several dtypes.
    """
    first, second = f"weight_ih{ending}", f"weight_hh{ending}"
    for name in (first, second):
        if name not in tensors:
            raise InvalidInput(f"missing {prefix}{name}")
        if tensors[name].ndim != 2:
            raise InvalidInput(f"{prefix}{name}: expected 2 axes, got {tensors[name].shape}")
    (rows, inputs), (_, outputs) = tensors[first].shape, tensors[second].shape
    projection = tensors.get(f"weight_hr{ending}")
    if projection is not None and projection.ndim != 2:
        raise InvalidInput(f"{prefix}weight_hr{ending}: expected 2 axes, got {projection.shape}")
    hidden = outputs if projection is None else projection.shape[1]
    cells: list[Cell] = [cell for cell, gates in GATES.items() if rows == gates * hidden]
    if not cells or not rows:
        raise InvalidInput(
            f"{prefix}{first}: expected 1, 3 or 4 (RNN, GRU, LSTM) times the hidden size "
            f"{hidden} in rows, got {rows}"
        )
    arguments: dict[str, Any] = {}
    if ending:
        layers = [name for name in tensors if re.fullmatch(r"weight_ih_l\d+", name)]
        arguments["num_layers"] = len(layers)
        arguments["bidirectional"] = any(name.endswith("_reverse") for name in tensors)
    try:
        config = LayerConfig(
            cells[0],
            inputs,
            hidden,
            bias=f"bias_ih{ending}" in tensors or f"bias_hh{ending}" in tensors,
            proj_size=0 if projection is None else outputs,
            **arguments,
        )
    except ValueError as error:
        raise InvalidInput(
            f"{prefix}{first}: no torch.nn layer has such shapes: {error}"
        ) from error
    expected = config.shapes() if ending else config.cell_shapes()
    check_tensors(
        {prefix + name: shape for name, shape in expected.items()},
        {prefix + name: array for name, array in tensors.items()},
    )
    check_one_dtype(tensors)
    return config
