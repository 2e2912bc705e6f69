"""Compares two programs step by step: equal within a tolerance, or the first thing that differs.

    comparison = compare_folders(Path("traces/jax"), Path("traces/torch"))
    comparison = compare([{"loss/loss": a}, …], [{"loss/loss": b}, …])     # a trace for each step
    print(comparison.sentence)
    comparison.check()                                                     # raises Diverged

A trace is what `shared/trace.py` describes. Whoever wrote it, this module sees arrays and names.

An element's error is judged against the largest magnitude in its tensor, of both programs: one
that cancelled to nearly nothing carries the rounding of what it was made of. The largest error of a
tensor at a step, in that measure, is its deviation. Integers differ if they are not the same. A
number that is not finite is a difference, also where both programs have it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared.errors import InvalidInput
from shared.trace import Trace, phase_of, read_trace, steps_in

PROVED = 1e-9
"""Largest deviation that float64 rounding explains over a run."""
SMALLEST_LOSS = 1e-6
"""Smaller losses count as this much. A small cross-entropy is log(1 + s), of which 1 + s is rounded
to 1e-16 in float64: less than a billionth of this."""

SMALLEST_SHARE = 1e-5
"""Gradients, and moments of one kind, count with at least this share of the largest one at the
step. A gradient that is zero in mathematics, such as that of a bias before a normalisation, is
nothing but the rounding of the others."""


class Diverged(AssertionError):
    """Two programs differ; the message names the first difference."""


class Difference(NamedTuple):
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
    """Against the largest magnitude in the tensor, and of integers at least 1; NaN where a value is
    not finite."""
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
        return self.name + (str(list(self.index)) if self.index else "")


@dataclass
class Comparison:
    """Steps of two programs, compared as they come.

    Args:
        first, second: what the programs are called.
        tolerance: largest deviation that counts as equal.
    """

    first: str
    second: str
    tolerance: float = PROVED
    steps: list[int] = field(default_factory=list)
    deviations: dict[str, list[float]] = field(default_factory=dict)
    """By tensor, its deviation at each step; infinite where a value is not finite."""
    difference: Difference | None = None
    precisions: set[str] = field(default_factory=set)
    """Dtypes of the real numbers that were compared."""

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise InvalidInput(f"tolerance: expected 0 or more, got {self.tolerance}")

    def add(self, step: int, first: Mapping, second: Mapping) -> None:
        """Compares S steps, of which `step` is the first; every array has a leading axis S.

        Raises:
            InvalidInput: the traces have other names, shapes or dtypes than one another, or other
                names than the steps before, or something else than real numbers; the message names
                the tensor.
        """
        names = self._names(step, first, second)
        pairs = {name: (np.asarray(first[name]), np.asarray(second[name])) for name in names}
        floors = _floors(pairs)
        errors = {name: _errors(name, *pair, floors[name]) for name, pair in pairs.items()}
        self.precisions |= {a.dtype.name for a, _ in pairs.values() if a.dtype.kind not in "iub"}
        for name, error in errors.items():
            per_step = error.reshape(len(error), -1).max(1, initial=0.0)
            self.deviations.setdefault(name, []).extend(map(float, per_step))
        count = len(next(iter(errors.values())))
        self.steps.extend(range(step, step + count))
        for i in range(count):
            for name, error in errors.items():
                if self.difference is None and (error[i] > self.tolerance).any():
                    a, b = (side[i] for side in pairs[name])
                    self.difference = _describe(step + i, name, a, b, error[i], self.tolerance)

    @property
    def equal(self) -> bool:
        return self.difference is None and bool(self.steps)

    def check(self) -> None:
        """Raises Diverged unless every step is equal; `InvalidInput` if none was compared."""
        if not self.steps:
            raise InvalidInput(f"{self.first}, {self.second}: expected steps to compare, got none")
        if self.difference is not None:
            raise Diverged(self.sentence)

    @property
    def largest(self) -> tuple[float, str, int]:
        """The largest deviation, its tensor and its step."""
        at = {name: int(np.argmax(values)) for name, values in self.deviations.items()}
        name = max(at, key=lambda name: self.deviations[name][at[name]])
        return self.deviations[name][at[name]], name, self.steps[at[name]]

    @property
    def sentence(self) -> str:
        """One line: equal, or what differs first."""
        d = self.difference
        if not self.steps:
            return "no steps were compared"
        if d is None:
            deviation, name, step = self.largest
            where = f", {name} at step {step}" if deviation else ""
            count = f"{len(self.steps)} steps" if len(self.steps) > 1 else "1 step"
            return (
                f"equal within {self.tolerance:g}: {count}, {len(self.deviations)} tensors each "
                f"(largest deviation {deviation:.1e}{where})"
            )
        values = f"{self.first} {d.first!r}, {self.second} {d.second!r}"
        if d.ulps is None:
            size = "not finite"
        else:
            ulps = f"{d.ulps}" if d.ulps < 10**6 else f"{d.ulps:.1e}"
            size = f"absolute {d.absolute:.2e}, relative {d.relative:.2e}, {ulps} ULPs"
        share = f"; {d.elements} of {d.size} elements differ" if d.size > 1 else ""
        return f"first difference at step {d.step}: {d.place}: {values} ({size}){share}"

    @property
    def growth(self) -> list[tuple[int, float, str]]:
        """How the deviation grew up to the first difference: step, largest deviation, its tensor,
        at some ten steps, closer and closer to it."""
        if not self.steps:
            return []
        last = len(self.steps) - 1
        if self.difference is not None:
            last = self.steps.index(self.difference.step)
        back = {0} | {last - (2**k - 1) for k in range(10)}
        rows = []
        for i in sorted(i for i in back if 0 <= i <= last):
            name = max(self.deviations, key=lambda name: self.deviations[name][i])
            rows.append((self.steps[i], self.deviations[name][i], name))
        return rows

    def _names(self, step: int, first: Mapping, second: Mapping) -> list[str]:
        """The names of both traces, which must be the same, in the order of the first."""
        for side, mine, other, theirs in (
            (self.first, first, self.second, second),
            (self.second, second, self.first, first),
        ):
            for name in mine:
                if name not in theirs:
                    raise InvalidInput(f"step {step}: {name}: {side} has it, {other} has not")
        for name in first:
            a, b = np.asarray(first[name]), np.asarray(second[name])
            for what, mine, theirs in (
                ("shape", a.shape[1:], b.shape[1:]),
                ("dtype", a.dtype.name, b.dtype.name),
                ("number of steps", len(a), len(b)),
            ):
                if mine != theirs:
                    raise InvalidInput(
                        f"step {step}: {name}: expected one {what}, got {mine} in {self.first} and "
                        f"{theirs} in {self.second}"
                    )
            if a.dtype.kind not in "fiub" and a.dtype.name != "bfloat16":
                raise InvalidInput(f"step {step}: {name}: expected real numbers, got {a.dtype}")
            count = len(np.asarray(first[next(iter(first))]))
            if not len(a) == count > 0:
                raise InvalidInput(
                    f"step {step}: {name}: expected as many steps as every tensor has, {count} and "
                    f"at least one, got {len(a)}"
                )
        if not first:
            raise InvalidInput(f"step {step}: expected tensors to compare, got none")
        for name in self.deviations if self.steps else ():
            if name not in first:
                raise InvalidInput(
                    f"step {step}: {name}: expected as at the steps before, got none"
                )
        for name in first if self.steps else ():
            if name not in self.deviations:
                raise InvalidInput(f"step {step}: {name}: the steps before did not have it")
        return list(first)


def compare(
    first: Iterable[Trace],
    second: Iterable[Trace],
    *,
    tolerance: float = PROVED,
    names: tuple[str, str] = ("first", "second"),
) -> Comparison:
    """Compares two sequences of traces, one for each step, the first being step 1.

    Raises:
        InvalidInput: one has more steps, or traces do not have the same tensors.
    """
    comparison = Comparison(*names, tolerance)
    ends: list[object] = [None, None]
    iterators = iter(first), iter(second)
    step = 1
    while True:
        traces = [next(iterator, None) for iterator in iterators]
        if traces[0] is None or traces[1] is None:
            ends = [trace is None for trace in traces]
            break
        comparison.add(step, *(_stacked(trace) for trace in traces if trace is not None))
        step += 1
    if ends[0] != ends[1]:
        shorter, longer = names if ends[0] else names[::-1]
        raise InvalidInput(f"{shorter} ends after step {step - 1}, {longer} goes on")
    if not comparison.steps:
        raise InvalidInput(f"{names[0]}, {names[1]}: expected steps to compare, got none")
    return comparison


def compare_folders(first: Path, second: Path, tolerance: float = PROVED) -> Comparison:
    """Compares two folders of trace files.

    Raises:
        InvalidInput: a folder or a file cannot be read, one has steps that the other lacks, or
            traces do not have the same tensors; the message names file or tensor.
    """
    files = steps_in(first), steps_in(second)
    for mine, theirs, lacking in (
        (files[0], files[1], second),
        (files[1], files[0], first),
    ):
        missing = [step for step in mine if step not in theirs]
        if missing:
            raise InvalidInput(f"{lacking}: expected step {missing[0]}, {mine[missing[0]]} has it")
    comparison = Comparison(str(first), str(second), tolerance)
    for step, file in files[0].items():
        comparison.add(step, _stacked(read_trace(file)), _stacked(read_trace(files[1][step])))
    return comparison


def _stacked(trace: Mapping) -> Trace:
    return {name: np.asarray(array)[None] for name, array in trace.items()}


def _floors(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """The least magnitude that each tensor counts with, (S,): a share of the largest gradient."""
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
    """What a tensor's rounding comes with: the gradients of a step, or one kind of moments."""
    phase, _, tensor = name.partition("/")
    if phase in ("gradients", "clipped"):
        return phase
    return f"{phase}/{tensor.partition('.')[0]}" if phase == "moments" else ""


def _errors(name: str, a: np.ndarray, b: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Each element's error in the measure above, (S, …); infinite where a value is not finite."""
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


def _describe(
    step: int, name: str, a: np.ndarray, b: np.ndarray, error: np.ndarray, tolerance: float
) -> Difference:
    """The first element whose error is beyond the tolerance."""
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
    """How many numbers of their dtype lie from one to the other; for integers their difference."""
    return abs(_rank(a) - _rank(b))


def _rank(value: np.generic) -> int:
    """Consecutive numbers of a dtype have consecutive ranks; both zeros have 0."""
    if value.dtype.kind in "iub":
        return int(value)
    bits = int(np.asarray(value).view(f"u{value.dtype.itemsize}"))
    sign = 1 << (8 * value.dtype.itemsize - 1)
    return bits if bits < sign else sign - bits
