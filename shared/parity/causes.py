"""Why two programs differ: the step that differed is taken again, with one thing changed at a time.

Where outputs differ, the original is made to do what wrong ports do (`rnn_torch/alterations.py`),
and the port is given weights as a port that misreads them would need (`shared/parity/misreadings`).
Where weights differ, the updates tell (`shared/parity/optimizer_causes.py`). What makes the
difference vanish is the cause.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from shared.errors import InvalidInput
from shared.parity.both import REPLAY_FIRST, Both
from shared.parity.comparable import comparable
from shared.parity.comparison import Comparison, deviation
from shared.parity.diagnosis import VANISHED, Diagnosis, Finding, ranked
from shared.parity.misreadings import misreadings
from shared.parity.optimizer_causes import optimizer_causes
from shared.parity.where import divergence, facts_of, pattern, rhythm
from shared.protocol.draws import Draw
from shared.protocol.program import Example, Program, Start
from shared.protocol.trace import Trace, phase_of
from shared.protocol.weights import Weights

GROUPS = {
    "forward": ("inputs", "before", "embedded", "layers", "logits"),
    "loss": ("loss",),
    "gradients": ("gradients", "norm", "clipped"),
    "updates": ("moments", "weights"),
    "buffers": ("buffers",),
    "evaluation": ("evaluation",),
}
"""What is looked for, by the phases in which the difference shows first."""
COMPARED = {
    "forward": ("embedded", "layers", "logits", "loss"),
    "loss": ("embedded", "layers", "logits", "loss"),
    "gradients": ("logits", "loss", "gradients"),
    "buffers": ("logits", "loss", "buffers"),
    "evaluation": ("evaluation",),
}
"""Phases that must agree again when the cause is switched."""
STEPS = 10
"""Steps of an optimizer that are looked at, at least."""
BYTES = 2**31
"""Approximate size of the traces of these steps, at most."""
HINTS = {
    "forward": "the inputs and weights agree and the outputs do not: the forward pass differs",
    "loss": "the outputs agree and the loss does not: look at its reduction, weights and masks",
    "gradients": (
        "outputs and loss agree and gradients do not: look for stop_gradient or detach, tied "
        "weights, rows that are frozen, and functions with gradients of their own"
    ),
    "updates": (
        "outputs and gradients agree, so look at the optimizer: its settings, clipping, schedule; "
        "what you suspect can be tried with suspects="
    ),
    "buffers": "all that trains agrees and a buffer does not: look at how it is updated",
    "evaluation": (
        "training agrees and evaluation does not: look at what evaluation mode changes, such as "
        "running statistics and dropout"
    ),
}


class Case(NamedTuple):
    """A comparison that found a difference."""

    both: Both
    start: Start
    before: Start
    """The second program's state before the step that differed first."""
    examples: Sequence[Example]
    """All up to that step."""
    evaluated: Any
    """Inputs of the evaluation."""
    comparison: Comparison
    batches: Sequence[Example]
    """Those of an epoch, which are taken again and again."""
    group: str = ""
    """One of `GROUPS`."""
    quiet: bool = False
    """Whether the step is one in evaluation mode, on the inputs of the last example."""


def group_of(phase: str) -> str:
    return next((group for group, phases in GROUPS.items() if phase in phases), "forward")


def explain(case: Case, suspects: Mapping[str, Program], same: float) -> Diagnosis:
    """Returns where the programs differ and why.

    Args:
        suspects: as for `compare_programs`.
        same: largest deviation of a single step between programs that do the same.
    """
    assert case.comparison.difference is not None
    case = case._replace(group=group_of(case.comparison.difference.phase))
    alone = list(_step_by_step(case.both, case, same))
    whole, name, step, _ = max(alone)
    # What differs first may be what earlier updates have brought about.
    groups = [one.group for one in (alone[-1], *alone) if one.group]
    case = case._replace(group=groups[0] if groups else group_of(phase_of(name)))
    findings = []
    for suspect, program in suspects.items():
        try:
            left = max(_step_by_step(case.both._replace(first=program), case, same)).deviation
        except InvalidInput as error:
            raise InvalidInput(f"suspects: {suspect}: {error}") from error
        vanishes = left < min(VANISHED * whole, same)
        findings.append(Finding(suspect, "the program given for it", left, vanishes))
    tried, told = _of_updates(case) if case.group == "updates" else _of_a_step(case, same)
    findings += tried
    return Diagnosis(step, name, whole, ranked(findings), told, case.group)


def hint(diagnosis: Diagnosis, others: Sequence[str]) -> list[str]:
    """Returns where to look, if no cause was found and nobody else tells more.

    Args:
        others: hints that the programs gave.
    """
    known = diagnosis.rounding or diagnosis.causes or (others and diagnosis.group != "updates")
    return [] if known else [HINTS[diagnosis.group]]


class _Alone(NamedTuple):
    """A step that both take from the second program's state."""

    deviation: float
    name: str
    """The tensor that deviates most."""
    step: int
    group: str
    """The first part of the step that deviates by more than rounding; empty if none does."""


def _step_by_step(both: Both, case: Case, rounding: float) -> Iterator[_Alone]:
    """Yields how far each step deviates if the first program takes it from the second's state. It
    has nothing of what earlier steps have added up, but all that the optimizers remember."""
    both.begin(case.start)
    for step, example in enumerate(case.examples, 1):
        both.first.load(both.second.now())
        mine, theirs, *_ = both.step(example)
        if case.group == "evaluation" and step == len(case.examples):
            outputs = both.evaluate(case.evaluated)
            mine, theirs = mine | outputs[0], theirs | outputs[1]
        mine, theirs = comparable(mine, theirs, case.start)
        yield _Alone(*deviation(mine, theirs), step, _first_group(mine, theirs, rounding))


def _first_group(mine: Trace, theirs: Trace, rounding: float) -> str:
    for group, phases in GROUPS.items():
        names = [name for name in mine if phase_of(name) in phases]
        sides = ({name: trace[name] for name in names} for trace in (mine, theirs))
        if any(mine[name].size for name in names) and deviation(*sides)[0] > rounding:
            return group
    return ""


def _of_updates(case: Case) -> tuple[list[Finding], list[str]]:
    """Tries what an optimizer may do otherwise, on the steps up to the one that differed."""
    case.both.begin(case.start)
    mine, theirs = [], []
    # One step often fits several causes. What comes after the first difference counts as well.
    size = sum(array.nbytes for array in case.start.weights.values())
    steps = max(1, min(max(len(case.examples), STEPS), BYTES // max(1, 8 * size)))
    for example in itertools.islice(itertools.cycle(case.examples), steps):
        taken = case.both.step(example)
        mine.append(_of_an_update(taken.mine, case.start))
        theirs.append(_of_an_update(taken.theirs, case.start))
    for trace, other in zip(theirs, mine, strict=True):  # what is frozen has no gradients there
        for name in [n for n in other if phase_of(n) == "gradients" and n not in trace]:
            trace[name] = np.zeros_like(other[name])
    update = case.both.second.update()
    found = optimizer_causes(mine, theirs, update.rules, update.rates, update.accumulate)
    last = min(len(case.examples), steps) - 1
    return found, _patterns(case, mine[last], theirs[last])


def _of_a_step(case: Case, same: float) -> tuple[list[Finding], list[str]]:
    """Tries what a forward pass, a loss or a backward pass may do otherwise, on the step that
    differed alone."""
    trial = _Trial(case)
    whole = trial.deviation(*trial.plain)
    if whole <= same:
        return [], []
    findings = trial.findings(whole, same)
    if case.both.dropout is not None and not any(found.vanishes for found in findings):
        # What drops weights may hide how they are read: without dropout it shows.
        quiet = _Trial(case._replace(before=trial.state, quiet=True))
        whole = quiet.deviation(*quiet.plain)
        findings = quiet.findings(whole, same) if whole > same else findings
    told = _patterns(case, *trial.plain)
    if case.group == "forward":
        told = [*divergence(case.both, trial.state, case.examples[-1], same), *told]
    return findings, told


def _of_an_update(trace: Trace, start: Start) -> Trace:
    """Returns what tells an update. A tensor that has two names is one for its optimizer."""
    phases = ("before", "gradients", "clipped", "moments", "weights")
    return {
        n: a for n, a in trace.items() if phase_of(n) in phases and _tensor(n) not in start.tied
    }


def _tensor(name: str) -> str:
    return name.partition("/")[2]


def _patterns(case: Case, mine: Trace, theirs: Trace) -> list[str]:
    difference = case.comparison.difference
    if difference is None or difference.name not in mine or difference.name not in theirs:
        return []
    facts = facts_of(case.both, case.start, case.examples[-1])
    found = pattern(difference.name, mine, theirs, facts, case.comparison.tolerance)
    return found + rhythm(case.comparison, case.batches)


class _Trial:
    """The step that differed, as it was and with one thing changed."""

    def __init__(self, case: Case) -> None:
        self._case, self._both = case, case.both
        self._phases = COMPARED["evaluation" if case.quiet else case.group]
        self._drawn: list[Draw] = []
        self.state = case.before
        if case.group == "evaluation":
            self._both.begin(case.start)
            for example in case.examples:
                self._both.step(example)
            self.state = self._both.second.now()
        self.plain = self._taken()

    def deviation(self, mine: Trace, theirs: Trace) -> float:
        kept = (
            {
                n: a  # of a tensor with two names, the original shows the sum of both gradients
                for n, a in trace.items()
                if phase_of(n) in self._phases and _tensor(n) not in self._case.start.tied
            }
            for trace in comparable(mine, theirs, self._case.start)
        )
        return deviation(*kept)[0]

    def findings(self, whole: float, same: float) -> list[Finding]:
        """Tries all, and returns what each leaves of the deviation."""
        found = []
        for name, about, run in self.tries():
            try:
                left = self.deviation(*run())
            except InvalidInput:  # shapes do not fit: this is not what the port does
                continue
            found.append(Finding(name, about, left, left < min(VANISHED * whole, same)))
        return found

    def tries(self) -> Iterator[tuple[str, str, Callable[[], tuple[Trace, Trace]]]]:
        """Yields name, description and the step with that one thing changed in the original."""
        mine, _ = self.plain
        for one in self._both.second.alterations():
            if self._case.group in one.phases:
                yield one.name, one.about, lambda name=one.name: (mine, self._theirs(name))
        if self._case.group == "forward":
            for name, about, read in misreadings(self.state.weights, original=True):
                yield name, about, lambda read=read: (mine, self._theirs("", read))

    def _taken(self) -> tuple[Trace, Trace]:
        if self._both.dropout == REPLAY_FIRST:
            self._both.first.begin(self.state)
            mine = self._step(self._both.first, self._drawn)
            return mine, self._theirs("")
        theirs = self._theirs("")
        self._both.first.begin(self.state)
        draws = None if self._both.dropout is None else self._both.replay(self._drawn)
        return self._step(self._both.first, draws), theirs

    def _theirs(self, altered: str, read: Callable[[Weights], Weights] | None = None) -> Trace:
        weights = read(self.state.weights) if read else self.state.weights
        self._both.second.begin(replace(self.state, weights=weights))
        draws: Any = None
        if self._both.dropout == REPLAY_FIRST:
            draws = self._both.replay_first(self._drawn)
        elif self._both.dropout is not None:
            draws = [] if self._drawn else self._drawn
        return self._step(self._both.second, draws, altered)

    def _step(self, program: Program, draws: Any, altered: str = "") -> Trace:
        if self._case.quiet:
            inputs = self._case.examples[-1].inputs
            return program.evaluate(inputs, self.state.buffers, altered=altered)
        if self._case.group == "evaluation":
            return program.evaluate(self._case.evaluated, self.state.buffers, altered=altered)
        return program.step(self._case.examples[-1], draws, altered)
