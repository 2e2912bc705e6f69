"""The last thing that a run writes: summary.json, what it did and what came of it."""

import math
import time
from dataclasses import dataclass

from shared import allocator, environment
from shared.backend import Backend, Evaluation, State
from shared.checkpoint import Checkpoint
from shared.config import Config
from shared.segments import Segment
from shared.tasks.task import Task

Scores = dict[str, float]
"""By name: "loss" (nats or squared error) and the task's metric, "accuracy" or "mae"; with them the
step that was scored, or for text the bits per character."""


@dataclass(frozen=True)
class Summary:
    task: str
    source: str
    """Where the data comes from."""
    data: str
    """Its fingerprint: equal in runs that saw the same data."""
    backend: str
    implementation: str
    path: str
    """The implementation that really ran. Of a resumed run, this and what else names one backend
    are those of the process that finished it; `segments` says what computed which steps."""
    notes: list[str]
    """What a reader of the numbers must know, for all segments."""
    cell: str
    precision: str
    device: str
    versions: dict[str, str]
    parameters: int
    seed: int
    steps: int
    segments: list[Segment]
    """Which backend took which steps; one, unless the run was resumed."""
    compile_s: float
    """Seconds spent compiling, or loading from a cache what was compiled before."""
    compilation: str
    """What was compiled, and how much of it came from the cache."""
    allocator: str
    """How the process's memory allocator is set."""
    step_ms: float
    """Milliseconds of a steady step of the last segment, its batch included: the median over calls
    of the backend."""
    total_s: float
    """Seconds from reading the data to the test, of a resumed run since its last resumption; so are
    compilation and memory."""
    peak_memory_mb: float
    """Most memory that the process had resident, in MB of 10^6 bytes."""
    metric: str
    train: Scores
    """Means over the training steps since the last evaluation but one."""
    valid: Scores | None
    """The best validation."""
    test: Scores
    """Scored once, with the best checkpoint."""
    held_out: bool
    """False where the test part is the training part."""
    baseline: dict[str, float | str] | None
    """What a predictor without a network reaches on the test part, and its name."""
    sample: dict[str, str] | None
    """Input, prediction and target of the first test sequence, for tasks that spell sequences."""


def summarize(
    config: Config,
    task: Task,
    backend: Backend,
    state: State,
    final: Checkpoint,
    test: Scores,
    started: float,
) -> Summary:
    """What a finished run did.

    Args:
        config: resolved.
        state: the state that was scored.
        final: the checkpoint after the last step.
        test: its scores.
        started: the `time.perf_counter` of the run's beginning.
    """
    assert final.train is not None  # at least one step was taken
    sample = _sample(task, backend, state)  # first: it may compile a program, too
    return Summary(
        task=config.task,
        source=task.source,
        data=task.fingerprint,
        backend=config.backend,
        implementation=config.implementation,
        path=backend.path,
        notes=list(dict.fromkeys(note for part in final.segments for note in part.notes)),
        cell=config.network.cell,
        precision=config.precision,
        device=backend.device,
        versions=environment.versions(config.backend),
        parameters=sum(array.size for array in final.snapshot.weights.values()),
        seed=config.seed,
        steps=final.snapshot.step,
        segments=list(final.segments),
        compile_s=backend.compile_s,
        compilation=backend.compilation,
        allocator=allocator.described(),
        step_ms=final.segments[-1].step_ms,
        total_s=time.perf_counter() - started,
        peak_memory_mb=environment.peak_memory_mb(),
        metric=task.metric,
        train=final.train,
        valid=final.best,
        test=test,
        held_out=task.held_out,
        baseline=_baseline(task),
        sample=sample,
    )


def located_notes(summary: Summary) -> list[tuple[str, str]]:
    """Each note after the steps that it is about: "steps 1–1000", or "" where it is all of them."""
    located = []
    for note in summary.notes:
        spans = [part.span for part in summary.segments if note in part.notes]
        everywhere = len(spans) in (0, len(summary.segments))
        located.append(("" if everywhere else ", ".join(spans), note))
    return located


def named(task: Task, scores: Evaluation) -> Scores:
    """Loss and metric by their names; for text the loss in bits per character too."""
    by_name = {"loss": scores.loss, task.metric: scores.metric}
    return by_name | ({"bits_per_character": scores.loss / math.log(2)} if task.streams else {})


def _baseline(task: Task) -> dict[str, float | str] | None:
    if task.baseline is None:
        return None
    scores = Evaluation(task.baseline.loss, task.baseline.metric)
    return {"name": task.baseline.name, **named(task, scores)}


def _sample(task: Task, backend: Backend, state: State) -> dict[str, str] | None:
    """Input, prediction and target of the first test sequence, for tasks that spell sequences."""
    if not task.vocabulary or task.streams:
        return None
    length = None if task.test.lengths is None else task.test.lengths[0]
    inputs, targets = task.test.inputs[:1, :length], task.test.targets[:1, :length]
    predicted = backend.predict(state, inputs).argmax(-1)
    spelled = {"input": inputs, "predicted": predicted, "target": targets}
    return {
        name: "".join(task.vocabulary[token] for token in tokens[0])
        for name, tokens in spelled.items()
    }
