"""Compares two programs step by step: equal within a tolerance, or the first thing that differs.

    comparison = compare_folders(Path("traces/jax"), Path("traces/torch"))
    comparison = compare([{"loss/loss": a}, …], [{"loss/loss": b}, …])     # a trace for each step
    print(comparison.sentence)
    comparison.check()                                                     # raises Diverged

A trace is what `shared/protocol/trace.py` describes. Whoever wrote it, this module sees arrays and
names. How far two tensors lie apart is measured in `shared/parity/deviation.py`.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.parity.deviation import Difference, Overshadowed, describe, errors, floors, overshadowed
from shared.parity.trace_files import read_trace, steps_in
from shared.protocol.gaps import counted
from shared.protocol.trace import PHASES, Trace, phase_of

PROVED = 1e-9
"""Largest deviation that float64 rounding explains over a run."""
NOT_ALWAYS = ("gradients", "norm", "moments", "evaluation")
"""Phases in which a tensor may be missing at some steps, such as a moment before an update."""


def check_tolerance(tolerance: float) -> None:
    """Raises InvalidInput unless it is a number in [0, 1)."""
    number = isinstance(tolerance, (int, float)) and not isinstance(tolerance, bool)
    if not number or not 0 <= tolerance < 1:
        raise InvalidInput(f"tolerance: expected a number in [0, 1), got {tolerance!r}")


class Diverged(AssertionError):
    """Two programs differ; the message names the first difference."""


@dataclass
class Comparison:
    """Steps of two programs, compared as they come.

    Args:
        first: what the first program is called.
        second: what the other is called.
        tolerance: largest deviation that counts as equal.
    """

    first: str
    second: str
    tolerance: float = PROVED
    steps: list[int] = field(default_factory=list)
    deviations: dict[str, list[float]] = field(default_factory=dict)
    """By tensor, its deviation at each step: infinite where a value is not finite, NaN where the
    tensor was not there yet."""
    difference: Difference | None = None
    precisions: set[str] = field(default_factory=set)
    """Dtypes of the real numbers that were compared."""
    overshadowed: Overshadowed | None = None
    empty: set[str] = field(default_factory=set)
    """Tensors that had no elements at some step."""
    left_out: set[str] = field(default_factory=set)
    """Tensors that only one program shows. The caller that leaves them out fills this in."""

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)

    def add(self, step: int, first: Mapping, second: Mapping) -> None:
        """Compares S steps, of which `step` is the first; every array has a leading axis S.

        Raises:
            InvalidInput: the traces have other names, shapes or dtypes than one another, or other
                names than the steps before, or something else than real numbers; the message names
                the tensor.
        """
        names = self._names(step, first, second)
        pairs = {name: (np.asarray(first[name]), np.asarray(second[name])) for name in names}
        self.empty |= {name for name, (a, _) in pairs.items() if not a.size}
        least = floors(pairs)
        found = {name: errors(name, *pair, least[name]) for name, pair in pairs.items()}
        self.precisions |= {a.dtype.name for a, _ in pairs.values() if a.dtype.kind not in "iub"}
        count = len(next(iter(found.values())))
        for name in self.deviations.keys() - found.keys():
            self.deviations[name] += [math.nan] * count
        for name, error in found.items():
            per_step = error.reshape(len(error), -1).max(1, initial=0.0)
            earlier = self.deviations.setdefault(name, [math.nan] * len(self.steps))
            earlier.extend(map(float, per_step))
            hidden = overshadowed(step, name, *pairs[name], error, least[name], self.tolerance)
            if hidden is not None:
                earlier = self.overshadowed
                self.overshadowed = hidden if earlier is None else earlier.and_more(hidden.elements)
        self.steps.extend(range(step, step + count))
        for i in range(count):
            for name, error in found.items():
                if self.difference is None and (error[i] > self.tolerance).any():
                    a, b = (side[i] for side in pairs[name])
                    self.difference = describe(step + i, name, a, b, error[i], self.tolerance)

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
        at = {name: int(np.nanargmax(values)) for name, values in self.deviations.items()}
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
            count = counted(len(self.steps), "step")
            tensors = counted(len(self.deviations), "tensor")
            return (
                f"equal within {self.tolerance:g}: {count}, {tensors} each "
                f"(largest deviation {deviation:.1e}{where})"
            )
        return f"first difference at step {d.step}: {d.described(self.first, self.second)}"

    @property
    def notes(self) -> list[str]:
        """Facts that a reader must know beside the verdict."""
        notes = []
        if self.overshadowed is not None:
            notes.append(self.overshadowed.described(self.first, self.second))
        phases = dict.fromkeys(map(phase_of, self.deviations))
        if unknown := [phase for phase in phases if phase not in PHASES]:
            notes.append(f"compared after the known phases: {_listed(unknown)}")
        if empty := sorted(self.empty):
            notes.append(f"nothing to compare, without elements: {_listed(empty)}")
        if self.left_out:
            notes.append(
                f"not compared, since only one side shows it: {_listed(sorted(self.left_out))}"
            )
        return notes

    @property
    def growth(self) -> list[tuple[int, float, str]]:
        """The growth of the deviation up to the first difference: step, largest deviation and its
        tensor, at some ten steps, closer and closer to it."""
        if not self.steps:
            return []
        last = len(self.steps) - 1
        if self.difference is not None:
            last = self.steps.index(self.difference.step)
        back = {0} | {last - (2**k - 1) for k in range(10)}
        rows = []
        for i in sorted(i for i in back if 0 <= i <= last):
            there = [n for n, values in self.deviations.items() if not math.isnan(values[i])]
            name = max(there, key=lambda name: self.deviations[name][i])
            rows.append((self.steps[i], self.deviations[name][i], name))
        return rows

    def _names(self, step: int, first: Mapping, second: Mapping) -> list[str]:
        """Returns the names of both traces, in the order of the first. They must be the same."""
        for side, mine, other, theirs in (
            (self.first, first, self.second, second),
            (self.second, second, self.first, first),
        ):
            for name in mine:
                if name not in theirs:
                    raise InvalidInput(f"step {step}: {name}: {side} has it, {other} has not")
        for name in first:
            a, b = np.asarray(first[name]), np.asarray(second[name])
            for side, array in ((self.first, a), (self.second, b)):
                if not array.ndim:
                    raise InvalidInput(
                        f"step {step}: {name}: expected a leading axis of steps, got a scalar in "
                        f"{side}"
                    )
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
        if not any(np.asarray(array).size for array in first.values()):
            what = "elements" if first else "tensors"
            raise InvalidInput(f"step {step}: expected {what} to compare, got none")
        for name in self.deviations if self.steps else ():
            if name not in first and phase_of(name) not in NOT_ALWAYS:
                raise InvalidInput(
                    f"step {step}: {name}: expected as at the steps before, got none"
                )
        for name in first if self.steps else ():
            if name not in self.deviations and phase_of(name) not in NOT_ALWAYS:
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
    pairs: Iterable[tuple[Any, Any]] = itertools.zip_longest(first, second, fillvalue=_END)
    for step, traces in enumerate(pairs, 1):
        for trace, side, other in zip(traces, names, names[::-1], strict=True):
            if trace is _END:
                raise InvalidInput(f"{side} ends after step {step - 1}, {other} goes on")
            if not isinstance(trace, Mapping):
                raise InvalidInput(
                    f"step {step}: expected a trace, arrays by name, got {trace!r} from {side}"
                )
        comparison.add(step, *map(_stacked, traces))
    if not comparison.steps:
        raise InvalidInput(f"{names[0]}, {names[1]}: expected steps to compare, got none")
    return comparison


def compare_folders(first: Path | str, second: Path | str, tolerance: float = PROVED) -> Comparison:
    """Compares two folders of trace files.

    Raises:
        InvalidInput: a folder or a file cannot be read, one has steps that the other lacks, or
            traces do not have the same tensors; the message names file or tensor.
    """
    first, second = Path(first), Path(second)
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


_END = object()


def deviation(first: Trace, second: Trace) -> tuple[float, str]:
    """Returns the largest deviation of one step, and its tensor.

    Raises:
        InvalidInput: as `Comparison.add`.
    """
    comparison = Comparison("first", "second", 0.0)
    comparison.add(1, _stacked(first), _stacked(second))
    return comparison.largest[:2]


def in_both(first: Trace, second: Trace, phases: Sequence[str] = PHASES) -> tuple[Trace, Trace]:
    """Returns the tensors of these phases that both programs show. Of other phases it returns
    all."""

    def kept(trace: Trace, other: Trace) -> Trace:
        return {n: a for n, a in trace.items() if n in other or phase_of(n) not in phases}

    return kept(first, second), kept(second, first)


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _stacked(trace: Mapping) -> Trace:
    return {name: np.asarray(array)[None] for name, array in trace.items()}
