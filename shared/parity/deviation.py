"""How far two tensors of a step lie apart.

An element's error is judged against the largest magnitude in its tensor, of both programs. The
reason: an element that cancelled to nearly nothing carries the rounding of what it was made of. The
largest error of a tensor at a step, in that measure, is its deviation. Integers differ if they are
not the same. A number that is not finite is a difference, also where both programs have it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np

from shared.protocol.trace import phase_of

SMALLEST_LOSS = 1e-6
"""Smaller losses count as this much. A small cross-entropy is log(1 + s). In float64, 1 + s is
rounded to 1e-16, which is less than a billionth of this."""

SMALLEST_SHARE = 1e-5
"""Smallest magnitude with which gradients, and moments of one kind, count: this share of the
largest one at the step. A gradient that is zero in mathematics, such as that of a bias before a
normalisation, is nothing but the rounding of the others."""

OVERSHADOWED = 1e-3
"""Share of itself by which an element may differ unreported. One that differs by more, and counts
as equal only beside larger ones in its tensor, is reported. Runs that train the same stay far
below: 1000 steps of `hello` in float64 below 1e-6."""

ROUNDING = 1000
"""Largest rounding of other gradients, in units in the last place of the largest gradient."""


@dataclass(frozen=True)
class Difference:
    """The first element that differs."""

    step: int
    """Optimizer step, from 1."""
    name: str
    """phase/tensor"""
    index: tuple[int, ...]
    first: float
    second: float
    absolute: float
    relative: float
    """Error against the largest magnitude in the tensor, which for integers counts as at least 1;
    NaN where a value is not finite."""
    ulps: int | None
    """Numbers of the tensor's dtype that lie between the two values; None if one is not finite."""
    elements: int
    """How many elements of the tensor differ."""
    size: int

    @property
    def phase(self) -> str:
        return phase_of(self.name)

    @property
    def tensor(self) -> str:
        return self.name.partition("/")[2]

    @property
    def place(self) -> str:
        """The element as one would write it: gradients/head.bias[3]."""
        return _place(self.name, self.index)

    def described(self, first: str, second: str) -> str:
        """Tells which element differs, both values, and how far they lie apart."""
        if self.ulps is None:
            size = f"not finite in {self.not_finite(first, second)}"
        else:
            ulps = f"{self.ulps}" if self.ulps < 10**6 else f"{self.ulps:.1e}"
            size = f"absolute {self.absolute:.2e}, relative {self.relative:.2e}, {ulps} ULPs"
        share = f"; {self.elements} of {self.size} elements differ" if self.size > 1 else ""
        return f"{self.place}: {first} {self.first!r}, {second} {self.second!r} ({size}){share}"

    def not_finite(self, first: str, second: str) -> str:
        """Returns the name of the side whose value is not finite, or "both"; empty if both are
        finite."""
        sides = ((first, self.first), (second, self.second))
        found = [side for side, value in sides if not math.isfinite(value)]
        return "both" if len(found) == 2 else "".join(found)


@dataclass(frozen=True)
class Overshadowed:
    """An element that differs, but by less than the tolerance of the largest one in its tensor."""

    step: int
    name: str
    index: tuple[int, ...]
    first: float
    second: float
    largest: float
    """Magnitude of the largest element."""
    elements: int
    """How many there are, in all that was compared."""

    def and_more(self, elements: int) -> "Overshadowed":
        return replace(self, elements=self.elements + elements)

    def described(self, first: str, second: str) -> str:
        several = self.elements > 1
        what = f"{self.elements} elements differ" if several else "1 element differs"
        themselves, count = ("themselves", "count") if several else ("itself", "counts")
        return (
            f"{what} by more than {OVERSHADOWED:.1%} of {themselves} and {count} as equal only "
            f"beside larger ones: {'first ' if several else ''}{_place(self.name, self.index)} at "
            f"step {self.step}, {first} {self.first!r}, {second} {self.second!r} (largest of the "
            f"tensor {self.largest:.1e})"
        )


def _place(name: str, index: tuple[int, ...]) -> str:
    """Returns an element as one would write it: gradients/head.bias[3]."""
    return name + (str(list(index)) if index else "")


def floors(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns the least magnitude that each tensor counts with, (S,): a share of the largest
    gradient."""
    largest: dict[str, np.ndarray] = {}
    groups = {name: _group(name) for name in pairs}
    for name, pair in pairs.items():
        sides = (np.where(np.isfinite(side), side, 0).astype(np.float64) for side in pair)
        found = [np.abs(side).reshape(len(side), -1).max(1, initial=0.0) for side in sides]
        before = largest.get(groups[name], np.zeros(len(found[0])))
        largest[groups[name]] = np.maximum.reduce([before, *found])
    return {
        name: SMALLEST_SHARE * largest[group] if group else np.zeros(len(pairs[name][0]))
        for name, group in groups.items()
    }


def _group(name: str) -> str:
    """Names the group that a tensor's rounding comes with: the gradients of a step, or one kind of
    moments."""
    phase, _, tensor = name.partition("/")
    if phase in ("gradients", "clipped"):
        return phase
    return f"{phase}/{tensor.partition('.')[0]}" if phase == "moments" else ""


def errors(name: str, a: np.ndarray, b: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Returns each element's error in the measure above, (S, …); infinite where a value is not
    finite."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    axes = tuple(range(1, x.ndim))
    with np.errstate(invalid="ignore", over="ignore"):
        magnitude = np.maximum(np.abs(x), np.abs(y))
        scale = magnitude.max(axes, keepdims=True, initial=0.0, where=finite)
        scale = np.maximum(scale, floor.reshape(-1, *(1 for _ in axes)))
        if name == "loss/loss":
            scale = np.maximum(scale, SMALLEST_LOSS)
        error = np.abs(x - y) / np.where(scale > 0, scale, 1.0)
    if a.dtype.kind in "iub":
        error = np.where(a != b, np.maximum(error, 1.0), 0.0)
    return np.where(finite, error, np.inf)


def overshadowed(
    step: int,
    name: str,
    a: np.ndarray,
    b: np.ndarray,
    error: np.ndarray,
    floor: np.ndarray,
    tolerance: float,
) -> Overshadowed | None:
    """Finds the first element, in S steps that begin with `step`, that counts as equal only beside
    larger ones. Gradients and moments that are nothing but the rounding of others are passed
    over."""
    if a.dtype.kind in "iub" or not error.any():
        return None
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(x - y)
        own = apart > OVERSHADOWED * np.maximum(np.abs(x), np.abs(y))
        rounding = ROUNDING * _eps(a.dtype) * floor / SMALLEST_SHARE
        own &= apart > rounding.reshape(-1, *(1 for _ in a.shape[1:]))
    found = own & (error <= tolerance)
    if not found.any():
        return None
    index = tuple(int(i) for i in np.argwhere(found)[0])
    largest = max(
        np.abs(side[index[0]]).max(where=error[index[0]] < np.inf, initial=0.0) for side in (x, y)
    )
    return Overshadowed(
        step + index[0], name, index[1:], a[index].item(), b[index].item(), float(largest),
        int(found.sum()),
    )  # fmt: skip


def describe(
    step: int, name: str, a: np.ndarray, b: np.ndarray, error: np.ndarray, tolerance: float
) -> Difference:
    """Describes the first element whose error is beyond the tolerance."""
    far = np.argwhere(error > tolerance)
    index = tuple(int(i) for i in far[0])
    x, y = a[index].item(), b[index].item()
    finite = math.isfinite(x) and math.isfinite(y)
    return Difference(
        step,
        name,
        index,
        x,
        y,
        abs(x - y) if finite else math.nan,
        float(error[index]) if finite else math.nan,
        _ulps(a[index], b[index]) if finite else None,
        len(far),
        a.size,
    )


def _ulps(a: np.generic, b: np.generic) -> int:
    """Counts the numbers of their dtype from one value to the other; for integers, their
    difference."""
    return abs(_rank(a) - _rank(b))


def _eps(dtype: np.dtype) -> float:
    return float(ml_dtypes.finfo(dtype).eps)


def _rank(value: np.generic) -> int:
    """Returns a value's rank: consecutive numbers of a dtype have consecutive ranks, and both zeros
    have 0."""
    if value.dtype.kind in "iub":
        return int(value)
    bits = int(np.asarray(value).view(f"u{value.dtype.itemsize}"))
    sign = 1 << (8 * value.dtype.itemsize - 1)
    return bits if bits < sign else sign - bits
