"""Explains why two sides differ: takes the step that differed again, with one suspect switched at a
time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from shared.config import Config
from shared.parity.comparison import deviation, in_both
from shared.parity.lockstep import Lockstep, Side, rates, state_before, step_traces, tensors_of
from shared.protocol import Snapshot
from shared.protocol.trace import Trace

SAME = 1e-10
"""Largest deviation of a single step in float64 between two programs that do the same, however long
its sums are."""
ROUNDING = 1e-13
"""Deviation below which a single step in float64 does the same algebra."""
VANISHED = 1e-2
"""Share of a step's difference below which its cause is gone; rounding leaves far less."""


class Suspect(NamedTuple):
    """Something that the first side may do in another way than the second."""

    name: str
    about: str
    side: Callable[[], Side]
    """The first side with that one thing switched."""


class Finding(NamedTuple):
    """The effect of a suspect's switch on the difference."""

    name: str
    about: str
    deviation: float
    """Largest deviation of the step that differed, after the switch."""
    vanishes: bool


class Diagnosis(NamedTuple):
    """A look at a single step, taken by the first side from the state of the second one."""

    step: int
    """The step that differed first. If it agrees when it is taken alone: the earlier step that
    deviates most."""
    name: str
    """The tensor that deviates most there."""
    deviation: float
    """Deviation of that tensor."""
    findings: list[Finding]
    where: Sequence[str] = ()
    """Sentences that tell where in the program, and by what pattern, the sides differ."""
    group: str = ""
    """Part of a step in which they differ first (`shared.parity.causes.GROUPS`)."""

    @property
    def rounding(self) -> bool:
        """True if no step does anything else in the first side than in the second."""
        return self.deviation < ROUNDING

    @property
    def causes(self) -> list[str]:
        found = [finding.name for finding in self.findings if finding.vanishes]
        return [] if self.rounding else found


def diagnose(
    config: Config, lockstep: Lockstep, first: Side, second: Side, suspects: Iterable[Suspect]
) -> Diagnosis:
    """Takes the step that differed again: once as it was, and once for each suspect with its
    switch. So it finds which of them makes the difference vanish.

    At the first step each side begins with its own weights. Later both begin with the second side's
    state: then only the difference of this one step is left, and nothing that earlier steps have
    added up. If nothing is left, the cause is in an earlier step that deviated by less than the
    tolerance. Of those steps, the one that deviates most is looked at.
    """
    difference, before = lockstep.comparison.difference, lockstep.before
    assert difference is not None
    assert before is not None
    expected = _taken(config, second, before)
    largest, name = deviation(*in_both(_taken(config, first, before), expected))
    if largest < ROUNDING:
        for earlier in _states(config, second, difference.step - 1):
            theirs = _taken(config, second, earlier)
            found = deviation(*in_both(_taken(config, first, earlier), theirs))
            if found[0] > largest:
                (largest, name), before, expected = found, earlier, theirs
    findings = []
    for suspect in suspects if largest >= ROUNDING else ():
        left, _ = deviation(*in_both(_taken(config, suspect.side(), before), expected))
        vanishes = left < min(VANISHED * largest, SAME)
        findings.append(Finding(suspect.name, suspect.about, left, vanishes))
    return Diagnosis(before.step + 1, name, largest, ranked(findings))


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """Returns the findings, with `vanishes` only where one explains the difference. Of several that
    leave little of it, these leave no more than rounding or a hundred times the least: another may
    come close by chance."""
    least = min((finding.deviation for finding in findings), default=0.0)
    most = max(ROUNDING, 100 * least)
    return [f._replace(vanishes=f.vanishes and f.deviation <= most) for f in findings]


def _taken(config: Config, side: Side, before: Snapshot) -> Trace:
    """Takes one step from a state and returns its trace. The state is the other side's or its own;
    the first step is taken from the side's own start."""
    at = before.step
    state = side.backend.init(before if at else side.start)
    return side.backend.trace(state, side.batches.take(at, 1), rates(config, side, at, 1))[1]


def _states(config: Config, side: Side, steps: int) -> Iterator[Snapshot]:
    """Yields the state before each of the first steps."""
    moments = dict(side.start.moments)
    for start, trace in step_traces(config, side, steps):
        for i in range(len(trace["loss/loss"])):
            yield state_before(start + i, i, trace, moments)
        moments = {name: array[-1] for name, array in tensors_of(trace, "moments").items()}
