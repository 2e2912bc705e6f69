"""The summary of a run, summary.json, which is written last: its settings, course and results."""

import time
from dataclasses import dataclass

import numpy as np

from shared.config import Config
from shared.protocol import Backend
from shared.runs.checkpoint import Checkpoint
from shared.runs.predictions import Predictions, counted
from shared.runs.scores import Scores
from shared.runs.segments import Segment
from shared.system import allocator, environment
from shared.tasks.task import Task

SAMPLES = 8
"""Number of sequences that are spelled out."""


@dataclass(frozen=True)
class Reference:
    """A predictor without a network."""

    name: str
    scores: dict[str, float]


@dataclass(frozen=True)
class Summary:
    task: str
    source: str
    """Origin of the data."""
    data: str
    """Fingerprint of the data: equal in runs that saw the same data."""
    backend: str
    implementation: str
    path: str
    """Implementation that really ran. In a resumed run, this and the other fields that name one
    backend are those of the process that finished it; `segments` says what computed which steps."""
    notes: list[str]
    """Notes for a reader of the numbers, for all segments."""
    cell: str
    precision: str
    device: str
    versions: dict[str, str]
    parameters: int
    seed: int
    steps: int
    segments: list[Segment]
    """Record of which backend took which steps; one segment, unless the run was resumed."""
    compile_s: float
    """Seconds spent compiling, or loading earlier compilations from a cache."""
    compilation: str
    """Description of what was compiled, and of how much of it came from the cache."""
    allocator: str
    """Setting of the process's memory allocator."""
    step_ms: float
    """Milliseconds of a steady step of the last segment, its batch included: the median over calls
    of the backend."""
    total_s: float
    """Seconds from reading the data to the test; for a resumed run, since its last resumption. The
    same holds for compilation and memory. For several seeds in one program, its share of the
    seconds."""
    peak_memory_mb: float
    """Largest resident memory of the process, in MB of 10^6 bytes."""
    metric: str
    score: str
    """Name of the test score that says how good the network is, such as "accuracy" or "rmse"."""
    unit: str
    """Unit of an RMSE."""
    train: Scores
    """Means over the training steps since the last evaluation but one."""
    valid: Scores | None
    """Scores of the best validation."""
    test: Scores
    """Scores of the test, taken once, with the best checkpoint: by the names in
    `shared/runs/scores.py`, and the step."""
    held_out: bool
    """False if the test part is the training part."""
    baselines: list[Reference]
    """Scores of predictors without a network on the test part."""
    samples: list[dict[str, str]]
    """Input, prediction and target of the first test sequences, for tasks that spell sequences."""
    generated: dict[str, str] | None
    """For a text: a prompt from its test part, and the network's continuation."""
    tokens_per_s: float | None
    """For a text: number of tokens that a steady second of training reads."""
    history: str
    """SHA-256 of metrics.jsonl."""
    predictions: str | None
    """SHA-256 of predictions.npz, if the task has them."""


def summarize(
    config: Config,
    task: Task,
    backend: Backend,
    final: Checkpoint,
    test: Scores,
    found: Predictions,
    generated: dict[str, str] | None,
    started: float,
    together: int,
    history: str,
    saved: str | None,
) -> Summary:
    """Summarizes a finished run.

    Args:
        config: resolved.
        final: the checkpoint after the last step.
        test: the scores of the test.
        found: the predictions for the test part.
        generated: for a text, a prompt and the network's continuation.
        started: the `time.perf_counter` of the run's beginning.
        together: runs that were trained at once, including this one; its times are its share.
        history: SHA-256 of metrics.jsonl.
        saved: that of predictions.npz.
    """
    assert final.train is not None  # at least one step was taken
    step_ms = final.segments[-1].step_ms
    tokens = task.streams and config.bptt
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
        compile_s=backend.compile_s / together,
        compilation=backend.compilation,
        allocator=allocator.described(),
        step_ms=step_ms,
        total_s=(time.perf_counter() - started) / together,
        peak_memory_mb=environment.peak_memory_mb(),
        metric=task.metric,
        score=task.score or task.metric,
        unit=task.series.target.unit if task.series else "",
        train=final.train,
        valid=final.best,
        test=test,
        held_out=task.held_out,
        baselines=[Reference(*baseline) for baseline in task.baselines()],
        samples=_samples(task, found),
        generated=generated,
        tokens_per_s=1000 * config.batch_size * tokens / step_ms if tokens else None,
        history=history,
        predictions=saved,
    )


def located_notes(summary: Summary) -> list[tuple[str, str]]:
    """Returns each note after the steps that it is about: "steps 1–1000", or "" for all of them."""
    located = []
    for note in summary.notes:
        spans = [part.span for part in summary.segments if note in part.notes]
        everywhere = len(spans) in (0, len(summary.segments))
        located.append(("" if everywhere else ", ".join(spans), note))
    return located


def _samples(task: Task, found: Predictions) -> list[dict[str, str]]:
    """Returns input, prediction and target of the first test sequences, for tasks that spell
    them."""
    if not task.vocabulary or not found:
        return []
    counts = counted(found)
    samples = []
    for i in range(min(SAMPLES, len(found["inputs"]))):
        length = found["lengths"][i] if "lengths" in found else len(counts[i])
        read = found["inputs"][i, :length]
        if "weights" in found:  # it reads its target, too, but that is nothing to show
            read = read[: np.flatnonzero(counts[i])[0]]
            read = read[::-1] if task.reverse else read
        rows = {
            "input": read,
            "predicted": found["predicted"][i, counts[i]],
            "target": found["targets"][i, counts[i]],
        }
        samples.append(
            {name: "".join(task.vocabulary[token] for token in row) for name, row in rows.items()}
        )
    return samples
