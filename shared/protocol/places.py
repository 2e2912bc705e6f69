"""Where a tensor of torch is in a port: a place, written as text.

    head.kernel                           the array that these keys lead to, as it is
    head.kernel.T                         that array holds the tensor transposed
    conv.kernel OIHW->HWIO                a letter for each axis: torch's order, then the port's
    query.kernel (h d) i->i h d           an axis of torch is two of the port's
    dense.kernel o (c=16 s)->(s c) o      so is one that is ordered otherwise; c has 16 elements
    lstm.w[:10, 0:20].T                   a part of an array, cut as NumPy cuts it

Axes are written as in einops (https://einops.rocks): axes in parentheses are one axis. Sizes follow
from the shapes of both sides; one that does not is written with "=".
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from shared.errors import InvalidInput
from shared.protocol.layer import Shape
from shared.protocol.state_dict import listed

_AFTER_PATH = re.compile(
    r"(?P<index>\[[-\d:, ]*\])?(?P<turned>\.T)?(\s+(?P<theirs>[^>]*)->(?P<ours>[^>]*))?", re.S
)
_TOKEN = re.compile(r"\(([^()]*)\)|([^\s()]+)")

Place = str | Sequence[str | None] | None
"""Where a tensor of torch is. A list has a place for each block of its rows, one below the other;
None stands for a tensor or a block without a twin, which then must be zero."""
Group = tuple[str, ...]
"""Axes that are one axis of an array, by name; none for an axis of size 1."""


class Axes(NamedTuple):
    """How the axes of torch's tensor become those of the port."""

    theirs: tuple[Group, ...]
    ours: tuple[Group, ...]
    sizes: Mapping[str, int]
    """Those that are written down."""


class Part(NamedTuple):
    """An array of the port, or a part of it."""

    path: str
    cut: tuple[slice, ...] = ()
    turned: bool = False
    """True if it holds the tensor transposed."""
    axes: Axes | None = None


def read_place(text: str, shapes: Mapping[str, Shape]) -> Part:
    """Reads a place.

    Args:
        shapes: of the port's arrays, by path. A path is read as it stands, whatever is in it.

    Raises:
        InvalidInput: no such array, or axes or a part that it does not have.
    """
    if text in shapes:
        return Part(text)
    for path in sorted((path for path in shapes if text.startswith(path)), key=len, reverse=True):
        found = _AFTER_PATH.fullmatch(text, len(path))
        if found is None:
            continue
        axes = found["theirs"]
        if found["turned"] and axes is not None:
            raise InvalidInput(f"{text}: expected .T or axes by name, got both")
        cut = _read_cut(text, found["index"] or "", shapes[path])
        turned = found["turned"] is not None
        return Part(
            path, cut, turned, None if axes is None else _read_axes(text, axes, found["ours"])
        )
    raise InvalidInput(f"expected one of {listed(list(shapes), most=12)}, got {text}")


def part_shape(part: Part, shape: Shape) -> Shape:
    """Returns the shape of a part of an array of this shape."""
    return np.broadcast_to(np.int8(0), shape)[part.cut].shape


def to_part(part: Part, tensor: np.ndarray, shape: Shape) -> np.ndarray:
    """Returns torch's tensor as the port's part of this shape holds it.

    Raises:
        InvalidInput: it does not fit.
    """
    if part.axes is None:
        values = tensor.T if part.turned else tensor
    else:
        theirs, ours, sizes = part.axes
        if len(theirs) != tensor.ndim:
            raise InvalidInput(
                f"expected a tensor of {len(theirs)} axes for {_shown(part)}, got {tensor.shape}"
            )
        if len(ours) != len(shape):
            raise InvalidInput(
                f"expected an array of {len(ours)} axes for {_shown(part)}, got {shape}"
            )
        sizes = _solve(part, sizes, [(theirs, tensor.shape), (ours, shape)])
        values = _rearranged(tensor, theirs, ours, sizes)
    if values.shape != shape:
        changed = " after transposing" if part.turned else " after ordering its axes"
        raise InvalidInput(
            f"expected shape {shape} for {part.path}{'[…]' if part.cut else ''}, got "
            f"{values.shape}{changed if part.turned or part.axes else ''}"
        )
    return values


def from_part(part: Part, values: np.ndarray) -> np.ndarray:
    """Returns the port's part as torch holds it: the way back of `to_part`.

    Raises:
        InvalidInput: another number of axes, or sizes that nothing tells.
    """
    if part.axes is None:
        return values.T if part.turned else values
    theirs, ours, sizes = part.axes
    if len(ours) != values.ndim:
        raise InvalidInput(
            f"expected an array of {len(ours)} axes for {_shown(part)}, got {values.shape}"
        )
    sizes = _solve(part, sizes, [(ours, values.shape)])
    return _rearranged(values, ours, theirs, sizes)


def _rearranged(
    array: np.ndarray, before: Sequence[Group], after: Sequence[Group], sizes: Mapping[str, int]
) -> np.ndarray:
    order = [axis for group in before for axis in group]
    split = array.reshape([sizes[axis] for axis in order])
    turned = split.transpose([order.index(axis) for group in after for axis in group])
    return turned.reshape([math.prod(sizes[axis] for axis in group) for group in after])


def _solve(
    part: Part, known: Mapping[str, int], sides: Sequence[tuple[Sequence[Group], Shape]]
) -> dict[str, int]:
    """Returns the size of every axis."""
    sizes = dict(known)
    for _ in range(sum(len(groups) for groups, _ in sides)):
        for groups, shape in sides:
            for group, size in zip(groups, shape, strict=True):
                unknown = [axis for axis in group if axis not in sizes]
                product = math.prod(sizes[axis] for axis in group if axis in sizes)
                if len(unknown) == 1 and product and size % product == 0:
                    sizes[unknown[0]] = size // product
                elif not unknown and product != size:
                    raise InvalidInput(
                        f"expected {product} elements in axis ({' '.join(group)}) of "
                        f"{_shown(part)}, got {size}"
                    )
    groups = sides[0][0]
    left = [axis for group in groups for axis in group if axis not in sizes]
    if left:
        raise InvalidInput(
            f"{_shown(part)}: expected the size of axis {left[0]}, as in {left[0]}=4, got none"
        )
    return sizes


def _read_axes(text: str, theirs: str, ours: str) -> Axes:
    sizes: dict[str, int] = {}
    sides = [tuple(_read_groups(text, side, sizes)) for side in (theirs, ours)]
    names = [sorted(axis for group in side for axis in group) for side in sides]
    if names[0] != names[1] or len(set(names[0])) < len(names[0]):
        raise InvalidInput(f"{text}: expected the same axes on both sides of ->, each once")
    return Axes(sides[0], sides[1], sizes)


def _read_groups(text: str, side: str, sizes: dict[str, int]) -> Iterator[Group]:
    """Reads one side of "->", and notes the sizes that are written there."""
    side = side.strip()
    if re.fullmatch(r"[A-Za-z]+", side):
        side = " ".join(side)  # OIHW: a letter for each axis
    if _TOKEN.sub("", side).strip():
        raise InvalidInput(f"{text}: expected axes with matching parentheses, got {side}")
    for inner, single in _TOKEN.findall(side):
        group = []
        for axis in (inner or single).split():
            name, equals, size = axis.partition("=")
            if axis == "1":
                continue
            if not name.isidentifier() or (equals and not size.isdecimal()):
                raise InvalidInput(f"{text}: expected names of axes, as h or h=4, got {axis}")
            if equals:
                sizes[name] = int(size)
            group.append(name)
        yield tuple(group)


def _read_cut(text: str, index: str, shape: Shape) -> tuple[slice, ...]:
    if not index:
        return ()
    slices = []
    for cut in index[1:-1].split(","):
        numbers = cut.split(":")
        if not 2 <= len(numbers) <= 3:
            raise InvalidInput(f"{text}: expected parts as [0:4, 2:], got {index}")
        if not all(re.fullmatch(r" *(-?\d+)? *", n) for n in numbers) or numbers[2:] == ["0"]:
            raise InvalidInput(f"{text}: expected whole numbers, as in [0:4, 2:], got {index}")
        slices.append(slice(*(int(number) if number.strip() else None for number in numbers)))
    if len(slices) > len(shape):
        raise InvalidInput(f"{text}: expected at most {len(shape)} axes, got {index}")
    for axis, (cut, size) in enumerate(zip(slices, shape, strict=False)):
        ends = [end for end in (cut.start, cut.stop) if end is not None]
        if any(not -size <= end <= size for end in ends) or not len(range(size)[cut]):
            raise InvalidInput(
                f"{text}: expected a part of the {size} elements of axis {axis}, got {index}"
            )
    return tuple(slices)


def _shown(part: Part) -> str:
    if part.axes is None:
        return part.path
    theirs, ours = (
        " ".join(group[0] if len(group) == 1 else f"({' '.join(group)})" for group in side)
        for side in (part.axes.theirs, part.axes.ours)
    )
    return f"{part.path} {theirs}->{ours}"
