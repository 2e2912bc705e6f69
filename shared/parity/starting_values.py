"""Values with which two models agree wherever their tensors are, and values that tell."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from shared.parity.pairing import torch_shape
from shared.parity.slots import Slot
from shared.protocol.layer import Shape
from shared.protocol.places import Part, part_shape, read_place, to_part
from shared.protocol.weights import Weights

_POSITIVE = ("running_var", "value")
"""Roles of what may stand under a root or a logarithm: variances, and parameters of the user's own
modules."""


def common_start(
    theirs: Weights, port: Weights, slots: Sequence[Slot], rng: np.random.Generator
) -> tuple[Weights, Weights]:
    """Returns weights and arrays that belong together wherever each slot is: elements that may be
    mistaken for each other have the same value."""
    shapes = {path: array.shape for path, array in port.items()}
    their_ids, count = _numbered(theirs, 0)
    port_ids, count = _numbered(port, count)
    # Of elements that belong together, the smallest scale holds, and positive is who must be.
    edges: list[tuple[np.ndarray, np.ndarray]] = []
    scale, positive = np.ones(count), np.zeros(count, bool)
    for slot in slots:
        own = their_ids[slot.name][slot.where]
        scale[own] = np.minimum(scale[own], _scale(slot))
        positive[own] |= slot.role in _POSITIVE
        for places in slot.places:
            for part, ids in scattered(places, own, shapes):
                edges.append((ids.ravel(), port_ids[part.path][part.cut].ravel()))
    roots = _components(count, edges)
    np.minimum.at(scale, roots, scale.copy())
    np.logical_or.at(positive, roots, positive.copy())
    signed = rng.standard_normal(count) * scale
    values = np.where(positive, np.abs(signed) + 0.3, signed)[roots]

    weights = {name: array.copy() for name, array in theirs.items()}
    arrays = {path: array.copy() for path, array in port.items()}
    for slot in slots:
        weights[slot.name][slot.where] = values[their_ids[slot.name][slot.where]]
        for part in (read_place(place, shapes) for places in slot.places for place in places):
            arrays[part.path][part.cut] = values[port_ids[part.path][part.cut]]
    return weights, arrays


def _numbered(arrays: Weights, first: int) -> tuple[Weights, int]:
    """Returns arrays of these shapes that number all elements, and the next number."""
    numbers: Weights = {}
    for name, array in arrays.items():
        numbers[name] = np.arange(first, first + array.size).reshape(array.shape)
        first += array.size
    return numbers, first


def _components(count: int, edges: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Returns for each element the smallest one that edges connect it with."""
    roots = np.arange(count)
    while True:
        before = roots.copy()
        for a, b in edges:
            least = np.minimum(roots[a], roots[b])
            roots[a] = roots[b] = least
        roots = roots[roots]
        if np.array_equal(before, roots):
            return roots


def _scale(slot: Slot) -> float:
    """Returns a standard deviation with which signals neither grow nor vanish."""
    return 0.5 if len(slot.shape) < 2 else 1 / math.sqrt(max(math.prod(slot.shape[1:]), 1))


def drawn(weights: Weights, slot: Slot, rng: np.random.Generator, width: float = 1.0) -> Weights:
    """Returns the weights with random values in a slot; the weights themselves stay."""
    values = rng.standard_normal(slot.shape) * _scale(slot) * width
    if slot.role in _POSITIVE:
        values = np.abs(values) + 0.3
    elif len(slot.shape) == 1 and slot.role == "weight":  # of a normalisation: around 1
        values = values + 1
    changed = weights | {slot.name: weights[slot.name].copy()}
    changed[slot.name][slot.where] = values
    return changed


def scattered(
    places: Sequence[str], value: np.ndarray, shapes: Mapping[str, Shape]
) -> list[tuple[Part, np.ndarray]]:
    """Returns the parts of the port that hold a tensor, with their values."""
    blocks = [value]
    if len(places) > 1:
        sizes = [(torch_shape([place], shapes) or (0,))[0] for place in places]
        blocks = np.split(value, np.cumsum(sizes)[:-1])
    parts = [read_place(place, shapes) for place in places]
    return [
        (part, to_part(part, block, part_shape(part, shapes[part.path])))
        for part, block in zip(parts, blocks, strict=True)
    ]
