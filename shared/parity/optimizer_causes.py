"""Explains why weights differ although gradients agree: what a port's optimizer does otherwise.

Torch's rule is followed in NumPy, from the port's own gradients and weights, with one thing changed
at a time. What then makes the port's updates, at every step and in every element, is the cause. Any
optimizer of the port will do: nothing is read of it but what it did.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from shared.errors import InvalidInput
from shared.parity.courses import Course, Part, Run, left_over
from shared.parity.diagnosis import VANISHED, Finding
from shared.parity.optimizer_changes import Change, changes
from shared.parity.optimizer_rates import rate_changes
from shared.parity.optimizer_values import values
from shared.parity.torch_course import torch_course
from shared.protocol.trace import Trace
from shared.protocol.update_rule import UpdateRule

SAME = 1e-11
"""Share of an update below which two rules do the same. A rounding of gradients of 1e-13 changes
updates by little more."""
EXPLAINED = 1e-9
"""Share of an update that may be left by what explains it. Changes that matter leave more: rates in
float32 1e-8, another epsilon at least epsilon over the gradient's root."""
ALIKE = 1e-12
"""Share below which two explanations are equally good, as `ranked` counts a hundred times the
least."""
TENSORS = 32
"""How many tensors that are treated alike are looked at first."""
PAIRED = 8
"""The same for pairs of changes."""
ELEMENTS = 4
"""Fewer elements that move, over all steps, are no evidence for a number found from them."""


@np.errstate(all="ignore")  # what is supposed may divide by zero, and then explains nothing
def optimizer_causes(
    mine: Sequence[Trace],
    theirs: Sequence[Trace],
    rules: Sequence[UpdateRule],
    rates: Sequence[Mapping[str, float]],
    accumulate: int = 1,
) -> list[Finding]:
    """Returns what was tried, with `vanishes` for what explains the port's updates, those first.

    Args:
        mine: the port's traces of steps 1 … n, one for each batch, with before/, gradients/ and
            weights/ of each parameter, in float64. Each gradient is that of its batch alone.
        theirs: torch's of the same steps, also with clipped/: the gradients at an update, after
            `prepare` and of all its batches together; a parameter without one had no gradient.
        rules: of torch's param groups, with the names of their parameters.
        rates: torch's learning rate of each parameter, by name, at each step. More than n are
            welcome: they tell a schedule that is early.
        accumulate: batches whose mean gradient makes one of torch's updates.

    Returns:
        Findings whose deviation is the share of an update that is left, at most, with that one
        thing changed; empty if the port does as torch does, and in float32, where rounding hides
        what is looked for. If torch's own updates are not
        understood, one finding that does not vanish and says so.

    Raises:
        InvalidInput: no steps, traces of other steps or parameters than one another, no rules,
            fewer rates than steps.
    """
    names = _check(mine, theirs, rules, rates)
    if any(np.asarray(t[f"weights/{n}"]).dtype != np.float64 for t in theirs for n in names):
        return []
    ours = Run(theirs, names)
    course = torch_course(ours, theirs, rules, rates, accumulate)
    unknown = _not_understood(course, ours, rules)
    if course is None or unknown is not None:
        return [unknown] if unknown is not None else []
    course = _with_or_without_skips(course, ours)
    port = Run(mine, names)
    whole = left_over(course, port, port.whole)
    if whole <= SAME:
        return []
    groups = [names[:: -(-len(names) // TENSORS)] for names in _alike(course, port)]
    few = port.sample([names[:PAIRED] for names in groups], 4)
    trial = Trial(course, port, port.sample(groups), few, whole)
    found = [trial.tried(change) for change in trial.candidates()]
    if trial.evidence and not any(one.explains for one in found):
        found += trial.pairs()
    return _findings(found, trial.updates)


def _check(
    mine: Sequence[Trace],
    theirs: Sequence[Trace],
    rules: Sequence[UpdateRule],
    rates: Sequence[Mapping[str, float]],
) -> list[str]:
    """Returns the names of the parameters."""
    if not mine or len(mine) != len(theirs):
        raise InvalidInput(
            f"traces: expected as many steps of both sides, at least 1, got {len(mine)} and "
            f"{len(theirs)}"
        )
    if len(rates) < len(mine):
        raise InvalidInput(f"rates: expected those of {len(mine)} steps, got {len(rates)}")
    names = [n.removeprefix("weights/") for n in theirs[0] if n.startswith("weights/")]
    held = {name for rule in rules for name in rule.names}
    if not held or held - set(names):
        missing = ", ".join(sorted(held - set(names))) or "none"
        raise InvalidInput(f"rules: expected names of parameters in the traces, got {missing}")
    for step, sides in enumerate(zip(mine, theirs, strict=True), 1):
        for phase in ("before", "gradients", "weights"):
            for name in names:
                shapes = [np.shape(t[f"{phase}/{name}"]) for t in sides if f"{phase}/{name}" in t]
                if len(shapes) < 2 or shapes[0] != shapes[1]:
                    raise InvalidInput(
                        f"traces: expected {phase}/{name} of one shape in both at step {step}, "
                        f"got {shapes}"
                    )
        for name in held - rates[step - 1].keys():
            raise InvalidInput(f"rates: expected one of {name} at step {step}, got none")
    return names


def _not_understood(course: Course | None, run: Run, rules: Sequence[UpdateRule]) -> Finding | None:
    """Returns a finding that says why nothing can be said, if that is so."""
    source = rules[0].source
    if any(rule.kind == "unknown" for rule in rules):
        about = f"torch's {source} is not an optimizer whose rule is known here"
        return Finding("optimizer-unknown", about, np.inf, False)
    if course is None:
        about = "what torch's side does to its gradients before the step is no clipping known here"
        return Finding("prepare-unknown", about, np.inf, False)
    left = left_over(_with_or_without_skips(course, run), run, run.whole)
    if left > EXPLAINED:
        about = f"torch's {source} takes other steps than its class and its options say"
        return Finding("optimizer-unknown", about, left, False)
    return None


def _with_or_without_skips(course: Course, run: Run) -> Course:
    """Returns the course as it explains torch's updates better: with what seems to have no gradient
    left alone, or with zeros as its gradient."""
    if not course.skipped:
        return course
    both = course, replace(course, skipped=frozenset())
    return min(both, key=lambda one: left_over(one, run, run.whole))


def _alike(course: Course, run: Run) -> list[list[str]]:
    """Groups parameters that every change treats alike."""
    groups: dict[tuple, list[str]] = {}
    for name in run.names:
        rule = course.rule_of(name)
        skips = tuple(step for step, other in sorted(course.skipped) if other == name)
        moves = any(run.moves(name, step) for step in range(run.steps))
        key = (rule and course.rules.index(rule), run.ranks[name] < 2, skips, moves)
        groups.setdefault(key, []).append(name)
    return list(groups.values())


class Tried(NamedTuple):
    change: Change
    left: float
    explains: bool


class Trial(NamedTuple):
    """A port's run against torch's course."""

    course: Course
    run: Run
    sample: list[Part]
    few: list[Part]
    """A smaller sample, for pairs of changes, which are many."""
    whole: float
    """Share of the updates that torch's course leaves."""

    @property
    def updates(self) -> int:
        """How many updates torch makes in these steps."""
        return sum(self.course.window(step) is not None for step in range(self.run.steps))

    @property
    def evidence(self) -> bool:
        """Whether enough elements move for more than a switch."""
        steps = range(self.run.steps)
        moved = (np.count_nonzero(p.after[t] != p.before[t]) for p in self.sample for t in steps)
        return sum(map(int, moved)) >= ELEMENTS

    def candidates(self) -> Iterator[Change]:
        yield from changes(self.course, self.run)
        for change in rate_changes(self.course, self.run, self.sample):
            if self.evidence or not change.cost:
                yield change
        for value in values(self.course, self.run) if self.evidence else ():
            yield from value.fitted(self.course, self.run, self.sample)

    def tried(self, change: Change) -> Tried:
        """Follows a change in the sample; then, if that is explained, in every element."""
        course = change.of(self.course)
        left = np.inf if change.whole else left_over(course, self.run, self.sample)
        if change.whole or self._explains(left):
            left = left_over(course, self.run, self.run.whole)
        return Tried(change, left, self._explains(left))

    def _explains(self, left: float) -> bool:
        return left < min(VANISHED * self.whole, EXPLAINED)

    def pairs(self) -> list[Tried]:
        """Follows two changes at once, and returns those that explain everything: optax's defaults
        differ from torch's in two things for some optimizers."""
        forms = [one for one in changes(self.course, self.run) if not one.whole]
        common = [v.at(x) for v in values(self.course, self.run) for x in v.starts]
        found = []
        for i, first in enumerate(forms):
            base = first.of(self.course)
            # Of a single update too much can be explained by a rate beside something else.
            rates = rate_changes(base, self.run, self.few) if self.updates > 1 else ()
            ratios = [one for one in rates if one.cost < 2]
            for second in [*forms[i + 1 :], *common, *ratios]:
                both = Change(
                    f"{first.name} + {second.name}", f"{first.about}; and {second.about}",
                    lambda _, base=base, second=second: second.of(base),
                    cost=first.cost + second.cost,
                )  # fmt: skip
                if left_over(both.of(self.course), self.run, self.few) < EXPLAINED:
                    one = self.tried(both)
                    found += [one] if one.explains else []
        return found


def _findings(tried: Sequence[Tried], updates: int) -> list[Finding]:
    """Returns findings, the causes first. Of several that explain everything, causes are those with
    the cheapest; another may come close by chance, or by its numbers."""
    found = [one for one in tried if one.explains]
    most = max(ALIKE, 100 * min((one.left for one in found), default=0.0))
    close = [one for one in found if one.left <= most]
    cheapest = min((one.change.cost for one in close), default=0)
    if updates == 1 and found:  # which cannot tell a switch from a number: both are named
        cheapest = max(cheapest, 1)
    causes = [one for one in close if one.change.cost <= cheapest]
    best: dict[str, Finding] = {}
    for one in sorted(tried, key=lambda one: (one not in causes, one.change.cost, one.left)):
        name, about = one.change.name, one.change.about
        best.setdefault(name, Finding(name, about, one.left, one in causes))
    return list(best.values())
