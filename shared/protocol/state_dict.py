"""A recurrent layer in a state dict: found under any prefix, recognised by its shapes, checked.

    found = find_layer(tensors)          # "encoder.lstm.weight_ih_l0" and its like
    found.config                         # LayerConfig(cell="lstm", input_size=10, …)
    found.tensors                        # canonical: "weight_ih_l0", …

A state dict is name → array, of torch.nn or of a whole model around it. It does not show settings
that have no tensor: nonlinearity, dropout and batch_first keep their defaults.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared.config.settings import Cell
from shared.errors import InvalidInput
from shared.protocol.checks import check_one_dtype, check_tensors
from shared.protocol.layer import GATES, LayerConfig
from shared.protocol.weights import Weights
from shared.system.tensor_files import read_tensors

_TENSOR = re.compile(r"(?P<prefix>.*?)(?P<name>(?:weight|bias)_[a-z]{2}_l\d+(?:_reverse)?)", re.S)
_FLOATS = ("float16", "bfloat16", "float32", "float64")


class FoundLayer(NamedTuple):
    config: LayerConfig
    prefix: str
    tensors: Weights
    """Canonical name → array."""


def is_recurrent(name: str) -> bool:
    """Tells by its name whether a tensor belongs to a recurrent layer."""
    return _TENSOR.fullmatch(name) is not None


def find_layer(tensors: Mapping[str, np.ndarray], prefix: str | None = None) -> FoundLayer:
    """Finds the recurrent layer in a state dict.

    Args:
        prefix: the text before its canonical names, with the dot. None if there is only one
            layer in the state dict.

    Raises:
        InvalidInput: no layer, several, or one with tensors missing, unexpected, of other shapes,
            of several dtypes or not of real numbers; the message names them.
    """
    if not isinstance(tensors, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInput(f"expected arrays by name, got {type(tensors).__name__}")
    layers: dict[str, Weights] = {}
    for name, array in tensors.items():
        if not isinstance(name, str) or not hasattr(array, "dtype"):  # pyright: ignore
            raise InvalidInput(f"expected arrays by name, got {array!r} as {name!r}")
        if match := _TENSOR.fullmatch(name):
            layers.setdefault(match["prefix"], {})[match["name"]] = array
    if prefix is None:
        if len(layers) > 1:
            raise InvalidInput(
                f"expected --source-prefix, one of {_quoted(layers)}: there are several"
            )
        prefix = next(iter(layers), "")
    if prefix not in layers:
        others = f"only {_quoted(layers)}" if layers else "none"
        raise InvalidInput(f"expected a recurrent layer, '{prefix}weight_ih_l0' …; found {others}")
    found = layers[prefix]
    config = _recognise(found, prefix)
    expected = {prefix + name: shape for name, shape in config.shapes().items()}
    check_tensors(expected, {prefix + name: array for name, array in found.items()})
    check_one_dtype(found)
    if (dtype := next(iter(found.values())).dtype.name) not in _FLOATS:
        raise InvalidInput(
            f"{prefix}weight_ih_l0: expected one of {', '.join(_FLOATS)}, got {dtype}"
        )
    return FoundLayer(config, prefix, {name: found[name] for name in config.shapes()})


def read_safetensors(path: Path | str) -> tuple[Weights, list[str]]:
    """Reads the recurrent tensors in a file, and the names of the others.

    Raises:
        InvalidInput: it is missing or no safetensors file, or a checkpoint that is damaged.
    """
    path = Path(path)
    tensors, _, others = read_tensors(path, "a safetensors file", wanted=is_recurrent)
    return tensors, others


def _recognise(tensors: Weights, prefix: str) -> LayerConfig:
    """Returns the arguments of the layer whose first tensors have these shapes."""
    for name in ("weight_ih_l0", "weight_hh_l0"):
        if name not in tensors:
            raise InvalidInput(f"missing {prefix}{name}")
        if tensors[name].ndim != 2:
            raise InvalidInput(f"{prefix}{name}: expected 2 axes, got {tensors[name].shape}")
    (rows, inputs), (_, outputs) = tensors["weight_ih_l0"].shape, tensors["weight_hh_l0"].shape
    projection = tensors.get("weight_hr_l0")
    if projection is not None and projection.ndim != 2:
        raise InvalidInput(f"{prefix}weight_hr_l0: expected 2 axes, got {projection.shape}")
    hidden = outputs if projection is None else projection.shape[1]
    cells: list[Cell] = [cell for cell, gates in GATES.items() if rows == gates * hidden]
    if not cells or not rows:
        raise InvalidInput(
            f"{prefix}weight_ih_l0: expected 1, 3 or 4 (RNN, GRU, LSTM) times the hidden size "
            f"{hidden} in rows, got {rows}"
        )
    try:
        return LayerConfig(
            cells[0],
            inputs,
            hidden,
            num_layers=sum(re.fullmatch(r"weight_ih_l\d+", name) is not None for name in tensors),
            bias="bias_ih_l0" in tensors or "bias_hh_l0" in tensors,
            bidirectional=any(name.endswith("_reverse") for name in tensors),
            proj_size=0 if projection is None else outputs,
        )
    except ValueError as error:
        raise InvalidInput(
            f"{prefix}weight_ih_l0: no torch.nn layer has such shapes: {error}"
        ) from error


def _quoted(prefixes: Iterable[str]) -> str:
    return listed([f"'{prefix}'" for prefix in prefixes], most=10)


def listed(names: Sequence[str], most: int = 3) -> str:
    """Lists the first few names, and says how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
