"""Whether what a submodule of the original gets or returns is what its twin in a port has.

Ports order axes otherwise, drop axes of one element, and return states in another order or not at
all. So a tensor agrees if it is one of the twin's, laid out in one of the usual ways.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from shared.parity.deviation import errors

_ORDERS = {
    2: ((0, 1), (1, 0)),
    3: tuple(itertools.permutations(range(3))),
    4: ((0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2), (1, 0, 2, 3), (0, 2, 1, 3), (0, 1, 3, 2)),
    5: ((0, 1, 2, 3, 4), (0, 2, 3, 4, 1), (0, 4, 1, 2, 3)),
}
"""Orders of axes that are looked at: channels last, batch and time swapped, heads before time."""


class Compared(NamedTuple):
    """How the tensors of one call compare."""

    agree: bool
    """True if some agree and none differs."""
    differ: bool
    name: str
    """The first that differs."""
    deviation: float


def compared(theirs: Mapping[str, Any], mine: Mapping[str, Any], tolerance: float) -> Compared:
    """Compares each tensor of the original with those of its twin that it may be: those of its
    shape, or that have it in one of the usual orders of axes. It differs if it is none of them; one
    that has none is passed over, as are tensors that its twin has in addition.

    Of a packed sequence (`name.padded`, `name.lengths`) only what is no padding counts.
    """
    own, other = _numbers(theirs), _numbers(mine)
    found: dict[str, dict[str, float]] = {}
    for name, array in own.items():
        lengths = theirs.get(f"{name.removesuffix('.padded')}.lengths")
        valid = _valid(array, lengths) if name.endswith(".padded") else None
        found[name] = {
            twin: min(apart)
            for twin, values in other.items()
            if (apart := [_apart(array, laid, valid) for laid in _laid(values, array, valid)])
        }
    agreeing = {n for n, twins in found.items() if min(twins.values(), default=1) <= tolerance}
    taken = {twin for n in agreeing for twin, apart in found[n].items() if apart <= tolerance}
    for name, twins in found.items():
        # A tensor whose only likely twin is that of another has none that is known.
        left = {twin: apart for twin, apart in twins.items() if twin not in taken}
        if name not in agreeing and left:
            return Compared(False, True, name, left.get(name, min(left.values())))
    return Compared(bool(agreeing), False, "", 0.0)


def _numbers(tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the real tensors; if there are none, the integers. Masks may mean the opposite."""
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    real = {name: a for name, a in arrays.items() if a.dtype.kind not in "biuc" and a.size}
    whole = {n: a for n, a in arrays.items() if a.dtype.kind in "iu" and not n.endswith(".lengths")}
    return real or whole


def _valid(padded: np.ndarray, lengths: Any) -> np.ndarray:
    """Returns where a padded sequence, (B, T, …), holds its elements."""
    inside = np.arange(padded.shape[1]) < np.asarray(lengths)[:, None]
    return inside.reshape(*inside.shape, *(1 for _ in padded.shape[2:]))


def _laid(values: np.ndarray, like: np.ndarray, valid: np.ndarray | None) -> Iterator[np.ndarray]:
    """Yields a tensor in each of the usual layouts that has the other's shape. If it has this shape
    already, it stays as it is. More padding than the other has is cut off."""
    if values.shape == like.shape:
        yield values
        return
    wanted = tuple(size for size in like.shape if size > 1)
    values = values.reshape([size for size in values.shape if size > 1])
    for order in _ORDERS.get(values.ndim, (tuple(range(values.ndim)),)):
        turned = values.transpose(order)
        if valid is not None and turned.ndim == like.ndim:
            turned = turned[:, : like.shape[1]]
        if turned.shape == wanted:
            yield turned.reshape(like.shape)


def _apart(a: np.ndarray, b: np.ndarray, valid: np.ndarray | None) -> float:
    """Returns the largest error of an element. Infinities that are the same agree."""
    same = (a == b) | ((a != a) & (b != b))  # NaN
    same = same if valid is None else same | ~valid
    x, y = np.where(same, 0, a), np.where(same, 0, b)
    # What is the same counts for the size of the largest, with which errors are measured.
    largest = np.abs(b).max(initial=0, where=same & np.isfinite(b))
    x, y = np.append(x, largest), np.append(y, largest)
    return float(errors("", x[None], y[None], np.zeros(1)).max(initial=0.0))
