"""Flax's recurrent cells as arrays by name ↔ canonical tensors.

    linen  LSTMCell, OptimizedLSTMCell    ii if ig io (kernel), hi hf hg ho (kernel, bias)
           GRUCell                        ir iz in (kernel, bias), hr hz (kernel), hn (kernel, bias)
           SimpleCell                     i (kernel, bias), h (kernel)
    nnx    LSTMCell                       as in linen, but if_
           OptimizedLSTMCell              dense_i (kernel), dense_h (kernel, bias)
           GRUCell, SimpleCell            dense_i (kernel, bias), dense_h (kernel)

A kernel is (I, H) or (H, H) for each gate, in nnx's `dense_` (I, G·H) or (H, G·H). The gates are
torch's, in its order (https://flax.readthedocs.io/en/latest/api_reference/flax.linen/layers.html).
Where torch has two biases, these have one, but for the gate n of linen's GRU.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from shared.config.settings import Cell
from shared.errors import InvalidInput
from shared.protocol.biases import check_single, joined
from shared.protocol.checks import check_one_dtype, check_tensors
from shared.protocol.layer import GATES, LayerConfig, Shape
from shared.protocol.weights import Weights

Parts = dict[str, str]
"""Part of a cell, such as "ii.kernel" → its name in a file."""

_LETTERS: dict[Cell, str] = {"lstm": "ifgo", "gru": "rzn", "rnn": ""}
_PART = re.compile(
    r"(?P<prefix>(?:.*[./])?)(?P<dense>[ih][ifgorznh]?_?|dense_[ih])[./](?P<leaf>kernel|bias)", re.S
)
_REFUSED = {
    frozenset({"if", "in", "hf", "hn"}): "MGUCell",
    frozenset({"ih", "hh"}): "ConvLSTMCell",
}
ASSUMED = ("activation_fn tanh", "gate_fn sigmoid", "reverse False", "residual False")
"""Settings of these cells that no array shows, where they are as torch's."""


def is_part(name: str) -> bool:
    """Tells by its name whether an array may belong to one of these cells."""
    return _PART.fullmatch(name) is not None


def flax_cells(tensors: Mapping[str, np.ndarray]) -> dict[str, Parts]:
    """Finds cells at any depth, by structure: prefix → the cell's parts.

    Names have dots or slashes. Cells that have no counterpart, such as MGUCell, are among them.
    """
    found: dict[str, Parts] = {}
    for name in tensors:
        if match := _PART.fullmatch(name):
            dense = match["dense"].rstrip("_") if match["dense"] == "if_" else match["dense"]
            found.setdefault(match["prefix"], {})[f"{dense}.{match['leaf']}"] = name
    return {prefix: parts for prefix, parts in found.items() if _looks_like_a_cell(parts, tensors)}


def _looks_like_a_cell(parts: Parts, tensors: Mapping[str, np.ndarray]) -> bool:
    names = _denses(parts)
    kernels = {part: tensors[name] for part, name in parts.items() if part.endswith(".kernel")}
    if names == {"ih", "hh"}:  # a convolution; of two axes it is something else
        return all(kernel.ndim > 2 for kernel in kernels.values())
    if names in ({"i", "h"}, {"dense_i", "dense_h"}):
        hidden = tensors[parts["h.kernel" if "i" in names else "dense_h.kernel"]]
        inputs = tensors[parts["i.kernel" if "i" in names else "dense_i.kernel"]]
        return hidden.ndim == inputs.ndim == 2 and hidden.shape[1] == inputs.shape[1]
    gates = {f"{side}{letter}" for side in "ih" for letter in "ifgorzn"}
    return len(names & gates) > 2 and len(kernels) > 2


def _denses(parts: Iterable[str]) -> set[str]:
    """Returns the names of the dense layers that have a kernel."""
    return {part.removesuffix(".kernel") for part in parts if part.endswith(".kernel")}


def canonical_cell(
    parts: Mapping[str, np.ndarray], prefix: str, one_bias: bool
) -> tuple[LayerConfig, Weights]:
    """Returns arguments and canonical tensors of a cell, the names without `_l0`.

    Args:
        parts: as `flax_cells` names them.
        prefix: what stands before them in the file.
        one_bias: take a single bias that is not zero as bias_ih.

    Raises:
        InvalidInput: a cell without a counterpart in torch, with parts missing or of other shapes,
            or with a single bias that is not zero, without `one_bias`.
    """
    names = _denses(parts)
    for refused, kind in _REFUSED.items():
        if names == refused:
            raise InvalidInput(f"{prefix}: expected a cell that torch has, got Flax's {kind}")
    check_one_dtype({prefix + part: array for part, array in parts.items()})
    fused = "dense_i" in names
    kind = _kind_of_fused(parts, prefix) if fused else _kind(names, prefix)
    inputs = ["dense_i"] if fused else [f"i{gate}" for gate in _LETTERS[kind] or [""]]
    hidden = ["dense_h"] if fused else [f"h{gate}" for gate in _LETTERS[kind] or [""]]
    config = _check_parts(kind, parts, inputs, hidden, prefix)
    tensors = {
        "weight_ih": np.concatenate([parts[f"{name}.kernel"].T for name in inputs]),
        "weight_hh": np.concatenate([parts[f"{name}.kernel"].T for name in hidden]),
    }
    if config.bias:
        tensors |= _two_biases(parts, inputs, hidden, config, prefix, one_bias)
    return config, tensors


def _kind(names: set[str], prefix: str) -> Cell:
    """Returns the cell whose gates these are. Of a damaged one all names count."""
    if names == {"i", "h"}:
        return "rnn"
    several = {kind: {f"{side}{g}" for side in "ih" for g in _LETTERS[kind]} for kind in _LETTERS}
    fits: list[Cell] = [kind for kind in ("lstm", "gru") if names <= several[kind]]
    if len(fits) != 1:
        raise InvalidInput(
            f"{prefix}: expected the gates of Flax's LSTMCell or GRUCell, got "
            f"{', '.join(sorted(names))}"
        )
    return fits[0]


def _kind_of_fused(parts: Mapping[str, np.ndarray], prefix: str) -> Cell:
    inputs, outputs = parts["dense_h.kernel"].shape
    fits: list[Cell] = [cell for cell, gates in GATES.items() if outputs == gates * inputs]
    if not fits or not inputs:
        raise InvalidInput(
            f"{prefix}dense_h.kernel: expected 1, 3 or 4 (SimpleCell, GRUCell, LSTMCell) times its "
            f"{inputs} rows in columns, got {outputs}"
        )
    return fits[0]


def _check_parts(
    kind: Cell,
    parts: Mapping[str, np.ndarray],
    inputs: list[str],
    hidden: list[str],
    prefix: str,
) -> LayerConfig:
    """Returns the arguments of a cell, all of whose parts have the shapes that belong together."""
    for first in (inputs[0], hidden[0]):
        if f"{first}.kernel" not in parts or parts[f"{first}.kernel"].ndim != 2:
            got = parts[f"{first}.kernel"].shape if f"{first}.kernel" in parts else "none"
            raise InvalidInput(f"{prefix}{first}.kernel: expected 2 axes, got {got}")
    rows, width = len(parts[f"{inputs[0]}.kernel"]), parts[f"{inputs[0]}.kernel"].shape[1]
    size = width * len(inputs) // GATES[kind]
    expected: dict[str, Shape] = {}
    for names, columns in ((inputs, rows), (hidden, size)):
        expected |= {f"{name}.kernel": (columns, width) for name in names}
    one_of_two = ["hn"] if kind == "gru" and len(hidden) > 1 else []
    biased = [names for names in (inputs, hidden) if any(f"{n}.bias" in parts for n in names)]
    for names in biased:
        wanted = one_of_two if names is hidden and one_of_two else names
        expected |= {f"{name}.bias": (width,) for name in wanted}
    check_tensors(
        {prefix + name: shape for name, shape in expected.items()},
        {prefix + name: array for name, array in parts.items()},
    )
    try:
        return LayerConfig(kind, rows, size, bias=bool(biased))
    except ValueError as error:
        raise InvalidInput(
            f"{prefix}{inputs[0]}.kernel: no cell has such a shape: {error}"
        ) from error


def _two_biases(
    parts: Mapping[str, np.ndarray],
    inputs: list[str],
    hidden: list[str],
    config: LayerConfig,
    prefix: str,
    one_bias: bool,
) -> Weights:
    """Returns bias_ih and bias_hh; what stands on one side only is a single bias."""
    zeros = np.zeros(len(inputs) and parts[f"{inputs[0]}.kernel"].shape[1], _dtype(parts))
    ih = [parts.get(f"{name}.bias") for name in inputs]
    hh = [parts.get(f"{name}.bias") for name in hidden]
    for number, (one, other) in enumerate(zip(ih, hh, strict=True)):
        if one is None and other is not None:
            check_single(f"{prefix}{hidden[number]}.bias", other, one_bias)
            ih[number], hh[number] = other, None
        elif one is not None and other is None:
            check_single(f"{prefix}{inputs[number]}.bias", one, one_bias)
    return {
        "bias_ih": np.concatenate([zeros if bias is None else bias for bias in ih]),
        "bias_hh": np.concatenate([zeros if bias is None else bias for bias in hh]),
    }


def _dtype(parts: Mapping[str, np.ndarray]) -> np.dtype:
    return next(iter(parts.values())).dtype


def linen_cell(config: LayerConfig, tensors: Weights, ending: str, one_bias: bool) -> Weights:
    """Returns the arrays of linen's OptimizedLSTMCell, GRUCell or SimpleCell: "ii.kernel", …

    Args:
        tensors: of one layer and direction, without the ending: weight_ih, …
        ending: of its canonical names, for the refusal: "_l0".
        one_bias: add two biases where the cell has one.

    Raises:
        InvalidInput: the cell cannot hold them: a projection, or two biases without `one_bias`.
    """
    if config.proj_size:
        raise InvalidInput(f"weight_hr{ending}: Flax's cells have no projection, expected none")
    letters = _LETTERS[config.cell] or [""]
    gates = len(letters)
    zeros = np.zeros(len(tensors["weight_ih"]), tensors["weight_ih"].dtype)
    bias_ih = np.split(tensors.get("bias_ih", zeros), gates)
    bias_hh = np.split(tensors.get("bias_hh", zeros), gates)
    parts: Weights = {}
    for side, name in (("i", "weight_ih"), ("h", "weight_hh")):
        blocks = np.split(tensors[name], gates)
        for letter, block in zip(letters, blocks, strict=True):
            parts[f"{side}{letter}.kernel"] = np.ascontiguousarray(block.T)
    for letter, one, other in zip(letters, bias_ih, bias_hh, strict=True):
        if config.cell == "gru" and letter == "n":  # the gate that has both
            parts |= {"in.bias": one, "hn.bias": other}
        else:
            side = "h" if config.cell == "lstm" else "i"
            parts[f"{side}{letter}.bias"] = joined(f"bias_hh{ending}", one, other, one_bias)
    return parts
