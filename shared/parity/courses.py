"""Courses: how a side gets from gradients to weights, followed in NumPy along a recorded run.

Each step begins with the weights that the run had: only what one step does is predicted, and errors
do not add up. What the rule remembers comes from the run's own gradients.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from shared.parity.clipping import UNCLIPPED, Clipping, Norms, clip
from shared.parity.updates import Memory, applied, decayed
from shared.protocol.trace import Trace
from shared.protocol.update_rule import UpdateRule

ROUNDING = 4 * np.finfo(np.float64).eps
"""Share of a weight that rounding may change when an update is added, with a decay of its own."""


@dataclass(frozen=True)
class Course:
    """How a side gets from gradients to weights."""

    rules: tuple[UpdateRule, ...]
    rates: Sequence[Mapping[str, float]]
    """By step and parameter."""
    clipping: Clipping = UNCLIPPED
    accumulate: int = 1
    """Batches of which one update is made."""
    summed: bool = False
    """Whether their gradients are added up; else their mean is taken."""
    single: bool = False
    """Whether what has been accumulated is kept in float32, as `optax.MultiSteps` does."""
    shift: int = 0
    """Batches by which updates come earlier than after each `accumulate`."""
    skipped: frozenset[tuple[int, str]] = frozenset()
    """(step from 0, parameter) at which there is no gradient, so that nothing is done."""
    still: frozenset[str] = frozenset()
    """Parameters that stay as they are."""

    def rule_of(self, name: str) -> UpdateRule | None:
        return next((rule for rule in self.rules if name in rule.names), None)

    def window(self, step: int) -> int | None:
        """Returns the first batch of the update that is made at a step from 0, if one is."""
        if (step + 1 + self.shift) % self.accumulate:
            return None
        return max(0, step + 1 - self.accumulate)

    def changed(self, **values: object) -> "Course":
        """Returns the course with other values in every rule."""
        rules = tuple(replace(rule, **values) for rule in self.rules)  # pyright: ignore
        return replace(self, rules=rules)


class Part(NamedTuple):
    """Tensors that are treated alike, or elements of them, one behind the other in flat arrays."""

    names: tuple[str, ...]
    sizes: np.ndarray
    """How many elements of each tensor there are."""
    before: list[np.ndarray]
    gradients: list[np.ndarray]
    after: list[np.ndarray]

    def spread(self, values: Mapping[str, float]) -> np.ndarray | float:
        """Returns a value for each element, from one for each tensor."""
        if len(self.names) == 1:
            return values[self.names[0]]
        return np.repeat([values[name] for name in self.names], self.sizes)

    def largest(self, size: np.ndarray) -> dict[str, float]:
        """Returns the largest value of each tensor's elements."""
        starts = np.cumsum(self.sizes) - self.sizes
        return dict(zip(self.names, np.maximum.reduceat(size, starts), strict=True))


class Run:
    """The steps of one side, whole and as a sample of few elements."""

    def __init__(self, traces: Sequence[Trace], names: Sequence[str]):
        self.names = tuple(names)
        self.steps = len(traces)
        self._flat = {
            (phase, name): [
                np.asarray(t[f"{phase}/{name}"], np.float64).reshape(-1) for t in traces
            ]
            for phase in ("before", "gradients", "weights")
            for name in names
        }
        self.ranks = {name: np.asarray(traces[0][f"weights/{name}"]).ndim for name in names}
        self.whole = [self._part((n,), {}) for n in names if self._flat["before", n][0].size]
        self._norms: dict[tuple, Norms] = {}

    def moves(self, name: str, step: int) -> bool:
        before, after = (self._flat[p, name][step] for p in ("before", "weights"))
        return not np.array_equal(before, after)

    def is_zero(self, name: str, step: int) -> bool:
        return not self._flat["gradients", name][step].any()

    def sample(self, groups: Sequence[Sequence[str]], count: int = 16) -> list[Part]:
        """Returns a part for each group of names: of each tensor `count` elements at equal
        distances, and those that moved most."""
        chosen = {}
        for name in (n for group in groups for n in group):
            before, after = self._flat["before", name], self._flat["weights", name]
            size = before[0].size
            chosen[name] = np.arange(size)
            if size > 4 * count:
                moved = np.sum([np.abs(b - a) for a, b in zip(before, after, strict=True)], axis=0)
                most = np.argpartition(moved, -count)[-count:]
                chosen[name] = np.union1d(np.linspace(0, size - 1, count).astype(int), most)
        full = [tuple(n for n in group if chosen[n].size) for group in groups]
        return [self._part(group, chosen) for group in full if group]

    def _part(self, names: tuple[str, ...], chosen: Mapping[str, np.ndarray]) -> Part:
        def taken(phase: str) -> list[np.ndarray]:
            return [
                np.concatenate([self._flat[phase, n][t][chosen[n]] for n in names])
                if chosen
                else self._flat[phase, names[0]][t]
                for t in range(self.steps)
            ]

        before, gradients, after = map(taken, ("before", "gradients", "weights"))
        sizes = [len(chosen[n]) for n in names] if chosen else [len(before[0])]
        return Part(names, np.array(sizes), before, gradients, after)

    def gradient(self, name: str, first: int, last: int, course: Course) -> np.ndarray:
        """Returns the flat gradient that some batches give together."""
        return _joined(course, self._flat["gradients", name][first : last + 1])

    def norms(self, first: int, last: int, course: Course) -> dict[str, Norms]:
        """Returns the norms of the gradients of some batches, or of what decay makes of them if
        that is what the course clips."""
        found = {}
        for name in self.names:
            rule = course.rule_of(name) if course.clipping.place == "decayed" else None
            decay = rule and (rule.decay, rule.maximize)
            alone = course.clipping.place == "batch"
            key = (name, first, last, alone, course.summed, course.single, decay)
            if key not in self._norms:
                raw = self._flat["gradients", name][last]
                gradient = raw if alone else self.gradient(name, first, last, course)
                if rule is not None:
                    gradient = decayed(rule, self._flat["before", name][last], gradient)
                largest = float(np.abs(gradient).max(initial=0.0))
                self._norms[key] = Norms(float(gradient @ gradient), largest)
            found[name] = self._norms[key]
        return found


def _joined(course: Course, batches: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the mean or the sum of gradients, as a running one that is rounded if the course says
    so: after each batch but the last. Batches that a first window lacks count as zeros."""
    total = np.zeros_like(batches[0])
    for count, batch in enumerate(batches, 1 + course.accumulate - len(batches)):
        kept = total.astype(np.float32).astype(np.float64) if course.single else total
        total = kept + (batch if course.summed else (batch - kept) / count)
    return total


def predicted(course: Course, run: Run, parts: Sequence[Part]) -> Iterator[list[np.ndarray]]:
    """Yields, for each step, the update of each part."""
    memories: list[Memory] = [{} for _ in parts]
    counts = [0] * len(parts)
    clipping = course.clipping
    for step in range(run.steps):
        first = course.window(step)
        changes = [np.zeros_like(part.before[step]) for part in parts]
        span = range(0) if first is None else range(first, step + 1)
        factors = {b: _factors(course, run, b, step, first) for b in span}
        for i, part in enumerate(parts):
            rule = course.rule_of(part.names[0])
            if (
                not span
                or rule is None
                or part.names[0] in course.still
                or (step, part.names[0]) in course.skipped
            ):
                continue
            counts[i] += 1
            rate = course.rates[step][part.names[0]]
            gradient = _gradient(course, part, span, factors)
            gradient = decayed(rule, part.before[step], gradient)
            if clipping.place == "decayed":
                gradient = clip(clipping, gradient, part.spread(factors[step]))
            changes[i] = applied(rule, memories[i], counts[i], rate, part.before[step], gradient)
        if clipping.place in ("direction", "update"):
            changes = _clipped_updates(course, step, parts, changes)
        yield changes


def _factors(
    course: Course, run: Run, batch: int, step: int, first: int | None
) -> dict[str, float]:
    """Returns by what the gradient of a batch is scaled: in itself, or as part of the mean."""
    kind, place = course.clipping.kind, course.clipping.place
    if kind in ("none", "value") or place in ("direction", "update") or first is None:
        return dict.fromkeys(run.names, 1.0)
    span = (batch, batch) if place == "batch" else (first, step)
    return course.clipping.factors(run.norms(*span, course))


def _gradient(
    course: Course, part: Part, span: range, factors: Mapping[int, Mapping[str, float]]
) -> np.ndarray:
    """Returns the gradient of an update, clipped unless that comes later."""
    clipping = course.clipping
    batches = [part.gradients[b] for b in span]
    if clipping.place == "batch":
        spreads = [part.spread(factors[b]) for b in span]
        batches = [clip(clipping, g, f) for g, f in zip(batches, spreads, strict=True)]
    gradient = _joined(course, batches)
    if clipping.place == "gradient":
        gradient = clip(clipping, gradient, part.spread(factors[span[-1]]))
    return gradient


def _clipped_updates(
    course: Course, step: int, parts: Sequence[Part], changes: list[np.ndarray]
) -> list[np.ndarray]:
    """Clips updates. The parts must be whole tensors, for their norms."""
    by_rate = course.clipping.place == "direction"
    rates = [course.rates[step].get(part.names[0], 1.0) if by_rate else 1.0 for part in parts]
    scaled = [change / (rate or 1.0) for change, rate in zip(changes, rates, strict=True)]
    norms = {
        part.names[0]: Norms(float(s @ s), float(np.abs(s).max(initial=0.0)))
        for part, s in zip(parts, scaled, strict=True)
    }
    factors = course.clipping.factors(norms)
    return [
        clip(course.clipping, s, factors[part.names[0]]) * (rate or 1.0)
        for part, s, rate in zip(parts, scaled, rates, strict=True)
    ]


def residuals(course: Course, run: Run, parts: Sequence[Part]) -> Iterator[np.ndarray]:
    """Yields, for each step and part, what is left of each element's update beyond the rounding of
    the weights, as a share of the largest update of its tensor at this step."""
    for step, changes in enumerate(predicted(course, run, parts)):
        for part, change in zip(parts, changes, strict=True):
            before, after = part.before[step], part.after[step]
            left = before + change - after
            allowed = ROUNDING * np.maximum(np.abs(before), np.abs(after))
            left = np.sign(left) * np.maximum(np.abs(left) - allowed, 0.0)
            size = np.maximum(np.abs(change), np.abs(after - before))
            scale = {name: most or 1.0 for name, most in part.largest(size).items()}
            yield left / part.spread(scale)


def left_over(course: Course, run: Run, parts: Sequence[Part]) -> float:
    """Returns the largest share of an update that a course does not explain; infinite where it is
    not finite."""
    with np.errstate(all="ignore"):
        most = [np.abs(r).max(initial=0.0) for r in residuals(course, run, parts)]
    return float(max((m if np.isfinite(m) else np.inf for m in most), default=0.0))
