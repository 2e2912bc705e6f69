"""Where in a port each tensor of torch may be: by kind of module, by shape, the likeliest first."""

import re
from collections.abc import Iterator, Mapping, Sequence

from shared.parity.by_hand import block_slots
from shared.parity.pairing import blocks, same, torch_shape
from shared.parity.slots import Slot
from shared.protocol.layer import Shape
from shared.protocol.units import ATTENTION, OTHER, RECURRENT, Unit


def all_slots(
    theirs: Sequence[Unit],
    ours: Sequence[Unit],
    shapes: Mapping[str, Shape],
    their_shapes: Mapping[str, Shape],
    pairs: Mapping[int, tuple[int, str]],
) -> list[Slot]:
    """Returns all slots with the places where they fit.

    Args:
        shapes: of the port's arrays.
        their_shapes: of torch's tensors.
        pairs: what `pair_units` found, which comes first.
    """
    kernels = (u.tensors["weight"] for u in theirs if u.kind.startswith("Conv"))
    channels = sorted({their_shapes[str(kernel)][0] for kernel in kernels})
    found: list[Slot] = []
    for i, unit in enumerate(theirs):
        alike = [j for j in range(len(ours)) if same(unit, ours[j], shapes, their_shapes)]
        chosen, why = pairs.get(i, (-1, ""))
        alike.sort(key=lambda j: (j != chosen, j))
        reasons = {j: why if j == chosen else f"{unit.kind}: by its effect" for j in alike}
        loose = [one for one in ours if _is_loose(unit, one)]
        by_hand = not alike and unit.kind in (*RECURRENT, ATTENTION)
        for role, name in unit.tensors.items():
            if by_hand:
                found += block_slots(i, unit, role, their_shapes, loose, shapes)
                continue
            at = {j: blocks(ours[j].tensors[role]) for j in alike if role in ours[j].tensors}
            first = next(iter(at.values()), ())
            count = len(first) if None in first else 1
            size = (their_shapes[str(name)] or (1,))[0] // count
            for block in range(count):
                cut = {
                    j: place[block : block + 1] if count > 1 else place for j, place in at.items()
                }
                rows = slice(block * size, (block + 1) * size)
                shape = their_shapes[str(name)]
                shape = (size, *shape[1:]) if shape else shape
                slot = Slot(str(name), role, i, rows, shape, (), (), ())
                found.append(_with_places(slot, cut, reasons, loose, shapes, channels))
    return found


def _with_places(
    slot: Slot,
    at: Mapping[int, tuple],
    reasons: Mapping[int, str],
    loose: Sequence[Unit],
    shapes: Mapping[str, Shape],
    channels: Sequence[int],
) -> Slot:
    """Returns a slot with all places that fit: those of modules of its kind, then loose arrays."""
    found: dict[tuple[str, ...], tuple[int, str]] = {}
    for j, place in at.items():
        if place == (None,):
            found.setdefault((), (j, "no twin: must be zero"))
        elif None not in place and torch_shape(place, shapes) == slot.shape:
            found.setdefault(place, (j, reasons[j]))
    for place, (j, _) in list(found.items()):
        for other in _flattened(place, slot.shape, channels):
            found.setdefault(other, (j, "flattened with the channels last"))
    if () not in found:
        for other in loose:
            for text in _raw(other, shapes, slot.shape):
                found.setdefault((text,), (-1, "by its shape and its effect"))
    return slot._replace(
        places=tuple(found),
        owners=tuple(j for j, _ in found.values()),
        reasons=tuple(why for _, why in found.values()),
    )


def _is_loose(theirs: Unit, ours: Unit) -> bool:
    """Tells whether a tensor may be in a module of another kind: what the user wrote by hand, or
    the linear layers of which cells and attention are built by hand."""
    if ours.kind == OTHER:
        return True
    return ours.kind == "Linear" and theirs.kind in (*RECURRENT, ATTENTION, OTHER)


def _raw(unit: Unit, shapes: Mapping[str, Shape], shape: Shape) -> Iterator[str]:
    """Yields the ways in which an array may hold a tensor of this shape."""
    for place in unit.tensors.values():
        texts = [str(place)]
        ours = shapes.get(str(place))
        if unit.kind == OTHER and ours is not None and len(ours) != len(shape):
            texts = [f"{place} {_of_ones(shape, ours)}"] if _long(shape) == _long(ours) else []
        elif unit.kind == OTHER and len(shape) == 2:
            first = re.search(r"(weight|embeddings?|bias)$", str(place)) is None
            texts = [f"{place}.T", str(place)] if first else [str(place), f"{place}.T"]
        elif unit.kind == OTHER and len(shape) > 2:
            axes = {3: ("OIL", "LIO"), 4: ("OIHW", "HWIO"), 5: ("OIDHW", "DHWIO")}.get(len(shape))
            texts = [f"{place} {axes[0]}->{axes[1]}", *texts] if axes else texts
        yield from (text for text in texts if torch_shape([text], shapes) == shape)


def _long(shape: Shape) -> list[int]:
    """Returns the sizes other than 1."""
    return [size for size in shape if size != 1]


def _of_ones(theirs: Shape, ours: Shape) -> str:
    """Returns the axes of two shapes that differ in axes of size 1 alone: "1 1 a->a"."""

    def side(shape: Shape) -> str:
        names = iter("abcdefgh")
        return " ".join("1" if size == 1 else next(names) for size in shape)

    return f"{side(theirs)}->{side(ours)}"


def _flattened(
    place: tuple[str, ...], shape: Shape, channels: Sequence[int]
) -> Iterator[tuple[str, ...]]:
    """Yields a matrix whose inputs are the flattened outputs of a convolution: channels first in
    torch, last in the port."""
    text = place[0] if len(place) == 1 else ""
    if not text or len(shape) != 2:
        return
    ours = "(s c) o" if text.endswith(".T") else "o (s c)"
    for count in channels:
        if shape[1] % count == 0 and 1 < count < shape[1]:
            yield (f"{text.removesuffix('.T')} o (c={count} s)->{ours}",)
