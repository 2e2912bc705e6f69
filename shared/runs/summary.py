"""The summary of a run, summary.json, which is written last: its settings, course and results."""

import time
from dataclasses import dataclass

import numpy as np

from shared.config import Config
from shared.protocol import Backend
from shared.runs.about import facts
from shared.runs.checkpoint import Checkpoint
from shared.runs.predictions import Predictions, counted
from shared.runs.scores import Scores
from shared.runs.segments import Segment
from shared.system import allocator, environment
from shared.tasks.task import Task

SAMPLES = 8
"""Number of sequences that are spelled out."""
LONGEST = 300
"""Characters of a spelled text; of a longer one, the beginning is shown."""
ROWS = {"predicted", "targets", "lengths", "weights"}


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
    processes: int
    """Processes that took the steps of the last segment together."""
    devices: int
    """Devices among which they shared a batch."""
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
    """Unit of errors in the data's units; none if several things are predicted."""
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
    about: dict[str, str]
    """Facts about the data, by their names: "rows" → "8 645"."""
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
        processes=final.segments[-1].processes,
        devices=final.segments[-1].devices,
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
        unit=_unit(task),
        train=final.train,
        valid=final.best,
        test=test,
        held_out=task.held_out,
        baselines=[Reference(*baseline) for baseline in task.baselines()],
        about=facts(task),
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


def _unit(task: Task) -> str:
    """Returns the unit of the single number that is predicted, if it is one and has one."""
    columns = task.series.predicted if task.series else []
    columns = task.measured.targets if task.measured else columns
    return columns[0].unit if len(columns) == 1 else ""


def _samples(task: Task, found: Predictions) -> list[dict[str, str]]:
    """Returns input, prediction and target of the first test sequences, for tasks that spell
    them."""
    if not task.vocabulary or not found:
        return []
    count = len(found["inputs"])
    if task.between is not None:
        spell, count = _answered, len(found["answers"])
    else:
        spell = _classified if task.classes else _spelled
    return [
        {name: _cut(text) for name, text in spell(task, found, i).items()}
        for i in range(min(SAMPLES, count))
    ]


def _answered(_: Task, found: Predictions, i: int) -> dict[str, str]:
    """Returns a source, what the network writes by itself, and what it should write."""
    names = {"input": "sources", "predicted": "answers", "target": "references"}
    return {name: str(found[of][i]) for name, of in names.items()}


def _spelled(task: Task, found: Predictions, i: int) -> dict[str, str]:
    """Spells a sequence, and what is predicted at its steps."""
    counts = counted({name: found[name][i : i + 1] for name in found.keys() & ROWS})[0]
    return {
        "input": _text(task, _read(found, i)),
        "predicted": _text(task, found["predicted"][i, counts]),
        "target": _text(task, found["targets"][i, counts]),
    }


def _classified(task: Task, found: Predictions, i: int) -> dict[str, str]:
    """Spells a text, and names the class that is predicted of it."""
    return {
        "input": _text(task, _read(found, i)),
        "predicted": task.classes[found["predicted"][i]],
        "target": task.classes[found["targets"][i]],
    }


def _read(found: Predictions, i: int) -> np.ndarray:
    """Returns the tokens of a sequence without its padding."""
    return found["inputs"][i, : found["lengths"][i] if "lengths" in found else None]


def _text(task: Task, tokens: np.ndarray) -> str:
    between = " " if task.unit == "word" else ""
    return between.join(task.vocabulary[token] for token in tokens)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
