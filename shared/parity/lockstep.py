"""Two backends side by side: the same steps, every phase compared, and why they differ if they do.

    first, second = (side(config, task, name) for name in ("jax/handcrafted", "torch/handcrafted"))
    lockstep = run(config, first, second, steps=1000)
    lockstep.comparison.sentence

Each side goes on from its own state, so that what is compared is a whole run and not its steps one
by one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from shared.config import Config
from shared.errors import InvalidInput
from shared.parity.comparison import PROVED, Comparison, in_both
from shared.parity.trace_files import write_trace
from shared.protocol import Batch, Snapshot, load_backend
from shared.protocol.backend import Metrics
from shared.protocol.batching import Batches
from shared.protocol.schedule import learning_rates
from shared.protocol.trace import Trace, split_steps
from shared.tasks.batches import training_batches
from shared.tasks.start import first_position
from shared.tasks.task import Task

if TYPE_CHECKING:
    from shared.parity.crew import Crew

CALL_BYTES = 64 * 2**20
"""Approximate largest size of the traces of one call."""
CALL_STEPS = 100


class Stepper(Protocol):
    """What a comparison needs of a backend: `Backend` in `shared/protocol/backend.py` has it, and
    so have several processes (`shared/parity/in_processes.py`)."""

    @property
    def device(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def notes(self) -> list[str]: ...
    @property
    def parameters(self) -> list[str]: ...
    @property
    def own_masks(self) -> bool: ...

    def init(self, snapshot: Snapshot) -> Any: ...

    def advance(
        self, states: Sequence[Any], batches: Sequence[Batch[np.ndarray]], rates: np.ndarray
    ) -> tuple[list[Any], list[Metrics]]: ...

    def trace(
        self, state: Any, batch: Batch[np.ndarray], rates: np.ndarray
    ) -> tuple[Any, Trace]: ...

    def export(self, state: Any) -> Snapshot: ...


@dataclass(frozen=True)
class Side:
    """One program of a lockstep run."""

    name: str
    backend: Stepper
    batches: Batches
    start: Snapshot
    """Place where it begins."""


class Lockstep(NamedTuple):
    comparison: Comparison
    losses: tuple[np.ndarray, np.ndarray]
    """Losses of both sides, at every step."""
    before: Snapshot | None
    """The second side's state before the first step that differs."""


def side(config: Config, task: Task, contender: str, crew: "Crew | None" = None) -> Side:
    """Makes a side from a backend/implementation of a resolved configuration, at its first step.

    Args:
        crew: processes that take its steps; None has this one take them.
    """
    backend, _, implementation = contender.partition("/")
    config = replace(config, backend=backend, implementation=implementation)
    if crew is None:
        name, loaded = contender, load_backend(config, task.signature)
    else:
        from shared.parity.in_processes import load

        name, loaded = f"{contender} {crew.described}", load(crew, config, task.fingerprint)
    start = first_position(config, task)
    return Side(name, loaded, training_batches(config, task), start)


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
    native = any("/native" in side.name for side in (first, second))
    losses: list[tuple[np.ndarray, np.ndarray]] = []
    before, moments = None, dict(second.start.moments)
    pairs = zip(step_traces(config, first, steps), step_traces(config, second, steps), strict=True)
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
            before = state_before(at, at - start, theirs, moments)
        moments = {name: array[-1] for name, array in tensors_of(theirs, "moments").items()}
    a, b = (np.concatenate(parts) for parts in zip(*losses, strict=True))
    return Lockstep(comparison, (a, b), before)


def step_traces(config: Config, side: Side, steps: int) -> Iterator[tuple[int, Trace]]:
    """Yields the number of the first step of a call, from 0, and the call's traces with a leading
    axis."""
    state = side.backend.init(side.start)
    parameters = sum(array.nbytes for array in side.start.weights.values())
    states = side.batches.batch_size * side.batches.steps * config.network.hidden_size * 8
    most = max(1, min(CALL_STEPS, CALL_BYTES // (8 * parameters + 8 * states)))
    size = -(-steps // -(-steps // most))
    start = 0
    while start < steps:
        count = side.batches.alike(start, min(size, steps - start))
        batch, now = side.batches.take(start, count), rates(config, side, start, count)
        state, trace = side.backend.trace(state, batch, now)
        yield start, trace
        start += count


def rates(config: Config, side: Side, start: int, count: int) -> np.ndarray:
    per_epoch = side.batches.per_epoch
    total = config.epochs * per_epoch
    return learning_rates(config.optimization, start, count, per_epoch, total)


def state_before(step: int, i: int, trace: Trace, moments: dict[str, np.ndarray]) -> Snapshot:
    """Returns the state before the i-th step of a call; `moments` are those before the call."""
    state = {name: array[i] for name, array in tensors_of(trace, "before").items()}
    carry = tuple(state.pop(name) for name in ("carry.h", "carry.c") if name in state)
    if i > 0:
        moments = {name: array[i - 1] for name, array in tensors_of(trace, "moments").items()}
    return Snapshot(state, moments if step else {}, carry, step)


def tensors_of(trace: Trace, phase: str) -> Trace:
    prefix = f"{phase}/"
    return {n.removeprefix(prefix): array for n, array in trace.items() if n.startswith(prefix)}


MOST_STEPS = 1000


def sides(
    config: Config, task: Task, names: Sequence[str], crew: "Crew | None" = None
) -> tuple[Side, Side]:
    """Makes both sides.

    Args:
        crew: processes that take the steps of the second one; None has this one take them.

    Raises:
        InvalidInput: one of them draws dropout masks of its own.
    """
    first, second = side(config, task, names[0]), side(config, task, names[1], crew)
    for own in (first, second):
        if own.backend.own_masks:
            raise InvalidInput(f"--contenders: {own.name}: {own.backend.notes[0]}")
    return first, second


def count_steps(wanted: int | None, config: Config, side: Side) -> int:
    """Returns how many steps to take: the number wanted, else all of the run but at most
    `MOST_STEPS`.

    Raises:
        InvalidInput: the run has fewer.
    """
    total = config.epochs * side.batches.per_epoch
    if wanted is not None and wanted > total:
        raise InvalidInput(
            f"--steps: expected at most the {total} steps of the run (--epochs {config.epochs}), "
            f"got {wanted}"
        )
    return wanted or min(total, MOST_STEPS)
