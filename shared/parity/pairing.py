"""Which module of the port is which of torch's: by kind, shapes, names and order."""

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from shared.errors import InvalidInput
from shared.protocol.layer import Shape
from shared.protocol.places import Place, from_part, part_shape, read_place
from shared.protocol.units import NORM, OTHER, Unit

_STATISTICS = ("running_mean", "running_var")
_NORMS = ("BatchNorm", "LayerNorm", "GroupNorm", "RMSNorm", NORM)


def pair_units(
    theirs: Sequence[Unit],
    ours: Sequence[Unit],
    shapes: Mapping[str, Shape],
    their_shapes: Mapping[str, Shape],
) -> dict[int, tuple[int, str]]:
    """Returns torch's modules → the port's of the same kind and shapes, with the reason. Those of
    like names belong together, and of several the ones in the same order."""
    fits = {
        (i, j): _likeness(theirs[i].path, ours[j].path)
        for i in range(len(theirs))
        for j in range(len(ours))
        if theirs[i].kind != OTHER and same(theirs[i], ours[j], shapes, their_shapes)
    }
    numbers = _numbers(fits, 0), _numbers(fits, 1)
    ranks = {pair: abs(numbers[0][pair] - numbers[1][pair]) for pair in fits}
    found: dict[int, tuple[int, str]] = {}
    taken: set[int] = set()
    for i, j in sorted(fits, key=lambda pair: (-fits[pair], ranks[pair], pair)):
        if i in found or j in taken:
            continue
        taken.add(j)
        if _plain(theirs[i].path) == _plain(ours[j].path):
            why = "the same name"
        elif sum(a == i for a, _ in fits) == 1:
            why = "the only one of its shapes"
        else:
            why = "a like name" if fits[i, j] else "in this order"
        found[i] = j, f"{theirs[i].kind}: {why}"
    return found


def _numbers(fits: Collection[tuple[int, int]], side: int) -> dict[tuple[int, int], int]:
    """Returns for each pair how many modules that fit the same one stand before its own."""
    groups: dict[int, list[tuple[int, int]]] = {}
    for pair in sorted(fits, key=lambda pair: pair[side]):
        groups.setdefault(pair[1 - side], []).append(pair)
    return {pair: number for group in groups.values() for number, pair in enumerate(group)}


def _plain(path: str) -> str:
    return re.sub(r"[\W_]+", "", path).lower()


def _likeness(theirs: str, ours: str) -> float:
    """Returns the share of words and numbers that two paths have in common."""
    a, b = (re.findall(r"[a-z]+|\d+", path.lower()) for path in (theirs, ours))
    common = sum(min(a.count(word), b.count(word)) for word in set(a))
    return common / max(len(a), len(b), 1)


def same(
    theirs: Unit, ours: Unit, shapes: Mapping[str, Shape], their_shapes: Mapping[str, Shape]
) -> bool:
    kinds = theirs.kind, ours.kind
    if kinds[0] != kinds[1] and not (NORM in kinds and set(kinds) <= set(_NORMS)):
        return False
    own = {role: place for role, place in ours.tensors.items() if place is not None}
    # Running statistics may be elsewhere.
    if not own.keys() <= theirs.tensors.keys() <= ours.tensors.keys() | {*_STATISTICS}:
        return False
    return all(
        torch_shape(blocks(place), shapes) == their_shapes[str(theirs.tensors[role])]
        for role, place in own.items()
        if None not in blocks(place)
    )


def blocks(place: Place) -> tuple[str | None, ...]:
    """Returns the places of a tensor's blocks, or its only one."""
    return (place,) if isinstance(place, str) or place is None else tuple(place)


def torch_shape(places: Sequence[str | None], shapes: Mapping[str, Shape]) -> Shape | None:
    """Returns the shape of the tensor whose rows are in these places; None if nothing tells."""
    blocks: list[Shape] = []
    for place in places:
        if place is None:
            return None
        try:
            part = read_place(place, shapes)
            shape = part_shape(part, shapes[part.path])
            blocks.append(from_part(part, np.broadcast_to(np.int8(0), shape)).shape)
        except InvalidInput:
            return None
    if len(blocks) == 1:
        return blocks[0]
    return (sum(block[0] for block in blocks), *blocks[0][1:])
