"""Two backends side by side: the same steps, every phase compared, and why they differ if they do.

    first, second = (side(config, task, name) for name in ("jax/handcrafted", "torch/handcrafted"))
    lockstep = run(config, first, second, steps=1000)
    lockstep.comparison.sentence

Each side goes on from its own state, so that what is compared is a whole run and not its steps one
by one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared.backend import Backend, Snapshot, load_backend
from shared.batching import Batches, training_batches
from shared.config import Config
from shared.parity import PROVED, Comparison, deviation, in_both
from shared.schedule import learning_rates
from shared.start import first_position
from shared.tasks.task import Task
from shared.trace import Trace, split_steps, write_trace

CALL_BYTES = 64 * 2**20
"""About how large the traces of one call may become."""
CALL_STEPS = 100
SAME = 1e-10
"""A single step of two programs that do the same in float64 deviates less, long as its sums are."""
ROUNDING = 1e-13
"""A single step in float64 that deviates less than this does the same algebra."""
VANISHED = 1e-2
"""What is left of a step's difference when its cause is gone; rounding leaves far less."""


@dataclass(frozen=True)
class Side:
    """One program of a lockstep run."""

    name: str
    backend: Backend
    batches: Batches
    start: Snapshot
    """Where it begins."""


class Lockstep(NamedTuple):
    comparison: Comparison
    losses: tuple[np.ndarray, np.ndarray]
    """Of both sides, at every step."""
    before: Snapshot | None
    """The second side's state before the first step that differs."""


class Suspect(NamedTuple):
    """Something that the first side may do in another way than the second."""

    name: str
    about: str
    side: Callable[[], Side]
    """The first side with that one thing switched."""


class Finding(NamedTuple):
    """What a suspect's switch makes of the difference."""

    name: str
    about: str
    deviation: float
    """Largest deviation of the step that differed, after the switch."""
    vanishes: bool


class Diagnosis(NamedTuple):
    """A look at a single step, taken by the first side from the state of the second one."""

    step: int
    """The one that differed first; or if it agrees when it is taken alone, the one of those before
    that deviates most."""
    name: str
    """The tensor that deviates most there."""
    deviation: float
    """By how much."""
    findings: list[Finding]

    @property
    def rounding(self) -> bool:
        """Whether no step does anything else in the first side than in the second."""
        return self.deviation < ROUNDING

    @property
    def causes(self) -> list[str]:
        found = [finding.name for finding in self.findings if finding.vanishes]
        return [] if self.rounding else found


def side(config: Config, task: Task, contender: str) -> Side:
    """A backend/implementation of a resolved configuration, at its first step."""
    backend, _, implementation = contender.partition("/")
    config = replace(config, backend=backend, implementation=implementation)
    loaded = load_backend(config, task.signature)
    start = first_position(config, task).snapshot
    return Side(contender, loaded, training_batches(config, task), start)


def run(
    config: Config,
    first: Side,
    second: Side,
    steps: int,
    tolerance: float = PROVED,
    traces: Sequence[Path] = (),
) -> Lockstep:
    """Takes steps in both sides and compares every one.

    Args:
        config: resolved.
        steps: how many, from the first.
        tolerance: largest deviation that counts as equal.
        traces: a folder for the traces of every step of each side; none writes none.
    """
    comparison = Comparison(first.name, second.name, tolerance)
    native = any(side.name.endswith("/native") for side in (first, second))
    losses: list[tuple[np.ndarray, np.ndarray]] = []
    before, moments = None, dict(second.start.moments)
    pairs = zip(_traces(config, first, steps), _traces(config, second, steps), strict=True)
    for (start, mine), (_, theirs) in pairs:
        # torch.nn's layers keep the outputs of all but the last to themselves.
        shown = in_both(mine, theirs) if native else (mine, theirs)
        comparison.left_out |= mine.keys() ^ theirs.keys() if native else set()
        comparison.add(start + 1, *shown)
        for folder, trace in zip(traces, (mine, theirs), strict=bool(traces)):
            for i, step in enumerate(split_steps(trace)):
                write_trace(folder, start + 1 + i, step)
        losses.append((mine["loss/loss"], theirs["loss/loss"]))
        if before is None and comparison.difference is not None:
            at = comparison.difference.step - 1
            before = _before(at, at - start, theirs, moments)
        moments = {name: array[-1] for name, array in _phase(theirs, "moments").items()}
    a, b = (np.concatenate(parts) for parts in zip(*losses, strict=True))
    return Lockstep(comparison, (a, b), before)


def diagnose(
    config: Config, lockstep: Lockstep, first: Side, second: Side, suspects: Iterable[Suspect]
) -> Diagnosis:
    """Takes the step that differed again, once as it was and once for each suspect with its switch,
    and sees which of them makes the difference vanish.

    At the first step each side begins with its own weights. Later both begin with the second side's
    state, so that only what this one step does differently is left, and nothing of what earlier
    steps have added up. If that is nothing, the cause is in an earlier step that deviated by less
    than the tolerance: of all of them, the one that deviates most is looked at.
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
    """Of several that leave little of the difference, those that leave no more than rounding or a
    hundred times the least: another may come close by chance."""
    least = min((finding.deviation for finding in findings), default=0.0)
    most = max(ROUNDING, 100 * least)
    return [f._replace(vanishes=f.vanishes and f.deviation <= most) for f in findings]


def _taken(config: Config, side: Side, before: Snapshot) -> Trace:
    """The step after a state, of the other side or its own; the first step from its own start."""
    at = before.step
    state = side.backend.init(before if at else side.start)
    return side.backend.trace(state, side.batches.take(at, 1), rates(config, side, at, 1))[1]


def _states(config: Config, side: Side, steps: int) -> Iterator[Snapshot]:
    """The state before each of the first steps."""
    moments = dict(side.start.moments)
    for start, trace in _traces(config, side, steps):
        for i in range(len(trace["loss/loss"])):
            yield _before(start + i, i, trace, moments)
        moments = {name: array[-1] for name, array in _phase(trace, "moments").items()}


def _traces(config: Config, side: Side, steps: int) -> Iterator[tuple[int, Trace]]:
    """Number of the first step, from 0, and traces with a leading axis, a call at a time."""
    state = side.backend.init(side.start)
    parameters = sum(array.nbytes for array in side.start.weights.values())
    states = side.batches.batch_size * side.batches.steps * config.network.hidden_size * 8
    most = max(1, min(CALL_STEPS, CALL_BYTES // (8 * parameters + 8 * states)))
    size = -(-steps // -(-steps // most))
    for start in range(0, steps, size):
        count = min(size, steps - start)
        batch, now = side.batches.take(start, count), rates(config, side, start, count)
        state, trace = side.backend.trace(state, batch, now)
        yield start, trace


def rates(config: Config, side: Side, start: int, count: int) -> np.ndarray:
    per_epoch = side.batches.per_epoch
    total = config.epochs * per_epoch
    return learning_rates(config.optimization, start, count, per_epoch, total)


def _before(step: int, i: int, trace: Trace, moments: dict[str, np.ndarray]) -> Snapshot:
    """The state before the i-th step of a call; `moments` are those before the call."""
    state = {name: array[i] for name, array in _phase(trace, "before").items()}
    carry = tuple(state.pop(name) for name in ("carry.h", "carry.c") if name in state)
    if i > 0:
        moments = {name: array[i - 1] for name, array in _phase(trace, "moments").items()}
    return Snapshot(state, moments if step else {}, carry, step)


def _phase(trace: Trace, phase: str) -> Trace:
    prefix = f"{phase}/"
    return {n.removeprefix(prefix): array for n, array in trace.items() if n.startswith(prefix)}
