"""The one training loop: configuration + task + backend → a run folder.

    summary = train(config, Path("runs/hello-1"))

The loop owns order, learning rates, evaluation, checkpoints and history; a backend takes steps.
Evaluation and checkpoints happen after every `eval_every` epochs and at the end.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from shared import checkpoint, environment, history
from shared.backend import Backend, Evaluation, Metrics, State, load_backend
from shared.batching import Batch, Batches, evaluation_batches, training_batches
from shared.checkpoint import BEST, LAST, Checkpoint, Segment
from shared.config import Config
from shared.errors import InvalidInput, TrainingDiverged
from shared.history import History
from shared.progress import Progress, shown
from shared.schedule import learning_rates
from shared.start import check_fits, check_resumable, first_position, last_position
from shared.summary import Scores, Summary
from shared.tasks import load_task
from shared.tasks.task import Split, Task
from shared.validation import resolve


def train(
    config: Config,
    folder: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
) -> Summary:
    """Trains as configured and leaves a run folder.

    Args:
        config: what to do; it is resolved here.
        folder: where the run goes; with `resume`, where it lies.
        overwrite: replace a run that lies there.
        resume: go on from the last checkpoint in the folder, up to `config.epochs`; a run that was
            stopped after its last step is scored. Of the settings only those in
            `shared.start.RESUMABLE` may be others.
        quiet: print nothing.

    Returns:
        What summary.json holds.

    Raises:
        InvalidInput: something given cannot be used; nothing was written.
        TrainingDiverged: a loss is not finite; the last good checkpoint stays.
    """
    started = time.perf_counter()
    config = resolve(config)
    if resume:
        check_resumable(folder, config)
    else:
        history.check_free(folder, overwrite)
    task = load_task(config)
    check_fits(config, task)
    batches = training_batches(config, task)
    total = config.epochs * batches.per_epoch
    if config.log_every > total:
        raise InvalidInput(
            f"--log-every: expected at most the {total} steps of the run, got {config.log_every}"
        )
    backend = load_backend(config, task.signature)
    position = (
        last_position(config, task, batches, folder) if resume else first_position(config, task)
    )
    reached, scored = position.snapshot.step, (folder / history.SUMMARY).exists()
    if reached > total or (reached == total and scored):
        raise InvalidInput(
            f"--resume {folder}: already trained for {reached // batches.per_epoch} epochs; "
            f"expected --epochs above, got {config.epochs}"
        )
    state = backend.init(position.snapshot)
    (history.reopen if resume else history.create)(folder, config)
    writer = History(folder, task.metric, config.log_every, keep=position.snapshot.step)
    progress = Progress(position.snapshot.step, total, task.metric, quiet)
    with writer, progress:
        loop = _Loop(config, task, backend, batches, folder, writer, progress, position, total)
        state = loop.run(state)
        test = loop.test(state)
    summary = _summarize(loop, state, test, started)
    history.save_summary(folder, summary)
    return summary


@dataclass
class _Timing:
    """Milliseconds a step, between two calls of the backend whose results have come.

    That is what a step costs the user: preparing its batch counts where it isn't done while the
    device computes, compiling doesn't.
    """

    backend: Backend
    per_step: list[float] = field(default_factory=list)
    first: float = math.nan
    mark: float = math.nan
    compiled: float = 0.0

    def start(self) -> None:
        self.mark, self.compiled = time.perf_counter(), self.backend.compile_s

    def stop(self, steps: int) -> None:
        compiling = self.backend.compile_s - self.compiled
        milliseconds = 1000 * (time.perf_counter() - self.mark - compiling) / steps
        if compiling or math.isnan(self.first):
            self.first = milliseconds
        else:
            self.per_step.append(milliseconds)
        self.start()

    @property
    def step_ms(self) -> float:
        """Median; a run of a single call has only its first one, less the compilation."""
        return float(np.median(self.per_step)) if self.per_step else self.first


class _Call(NamedTuple):
    """A call of the backend whose results have not been read yet."""

    start: int
    count: int
    metrics: Metrics


@dataclass
class _Loop:
    """Steps, and what happens between them."""

    config: Config
    task: Task
    backend: Backend
    batches: Batches
    folder: Path
    history: History
    progress: Progress
    position: Checkpoint
    """Where it begins."""
    total: int

    def __post_init__(self) -> None:
        self.timing = _Timing(self.backend)
        self.reached = self.position

    def run(self, state: State) -> State:
        """Trains to the last step; checkpoints on the way."""
        step = self.position.snapshot.step
        period = self.config.eval_every * self.batches.per_epoch
        while step < self.total:
            end = min(step - step % period + period, self.total)
            state, train = self._steps(state, step, end)
            step = end
            self._evaluate(state, step, train)
        return state

    def test(self, state: State) -> Scores:
        """Scores the test part, once, with the best checkpoint."""
        step = self.total
        if self.task.valid is not None:
            chosen = checkpoint.read(self.folder / BEST).snapshot
            state, step = self.backend.init(chosen), chosen.step
        scores = evaluate(self.config, self.task, self.backend, state, self.task.test)
        epoch = -(-step // self.batches.per_epoch)
        if not math.isfinite(scores.loss):
            self._diverged(f"the test loss is {scores.loss}", step)
        self.history.add(step, epoch, "test", scores.loss, scores.metric)
        return _named(self.task, scores) | {"step": step}

    def _steps(self, state: State, start: int, end: int) -> tuple[State, Scores]:
        """Takes steps; returns also the mean of their losses and metrics."""
        pending: _Call | None = None
        losses: list[np.ndarray] = []
        metrics: list[np.ndarray] = []
        self.timing.start()
        for first, count in _chunks(start, end, self.batches.chunk):
            # The device may still be at the call before: prepare first, then wait for it.
            batch = self.batches.take(first, count)
            rates = self._rates(first, count)
            self._read(pending, losses, metrics)
            state, taken = self.backend.advance(state, batch, rates)
            pending = _Call(first, count, taken)
        self._read(pending, losses, metrics)
        loss, metric = (
            float(np.concatenate(parts).mean(dtype=np.float64)) for parts in (losses, metrics)
        )
        return state, {"loss": loss, self.task.metric: metric}

    def _read(self, call: _Call | None, losses: list, metrics: list) -> None:
        """Waits for a call, then writes and shows its steps."""
        if call is None:
            return
        loss, metric = np.asarray(call.metrics.loss), np.asarray(call.metrics.metric)
        self.timing.stop(call.count)
        for i in range(call.count):
            step, epoch = call.start + i + 1, (call.start + i) // self.batches.per_epoch + 1
            if not math.isfinite(loss[i]):
                self._diverged(f"the training loss is {loss[i]}", step)
            self.history.train(step, epoch, float(loss[i]), float(metric[i]))
        losses.append(loss)
        metrics.append(metric)
        self.progress.advance(call.count, float(loss[-1]), float(metric[-1]))

    def _evaluate(self, state: State, step: int, train: Scores) -> None:
        """Scores the validation part and writes the checkpoints."""
        metric, epoch = self.task.metric, step // self.batches.per_epoch
        line = f"epoch {epoch}/{self.config.epochs}  train loss {train['loss']:.4f}  "
        line += shown(metric, train[metric])
        snapshot = self.backend.export(state)
        # The loss of a step is that of the weights before it: the last update is still unchecked.
        for name, array in checkpoint.flatten(snapshot).items():
            if not np.isfinite(array).all():
                self._diverged(f"{name} is no longer finite", step)
        best, improved = self.reached.best, False
        if self.task.valid is not None:
            valid = evaluate(self.config, self.task, self.backend, state, self.task.valid)
            if not math.isfinite(valid.loss):
                self._diverged(f"the validation loss is {valid.loss}", step)
            self.history.add(step, epoch, "valid", valid.loss, valid.metric)
            line += f"  valid loss {valid.loss:.4f}  {shown(metric, valid.metric)}"
            improved = best is None or valid.loss < best["loss"]
            if improved:
                best = _named(self.task, valid) | {"step": step}
        self.history.flush()
        self.reached = Checkpoint(
            snapshot, self.task.fingerprint, train, best, self._segments(step)
        )
        if improved:
            checkpoint.write(self.folder / BEST, self.reached)
        checkpoint.write(self.folder / LAST, self.reached)
        self.progress.line(line + f"  {self.timing.step_ms:.2f} ms/step")

    def _segments(self, step: int) -> list[Segment]:
        """Which backend took which steps, up to this one."""
        current = Segment(
            self.config.backend,
            self.config.implementation,
            self.position.snapshot.step,
            step,
            self.timing.step_ms,
            self.backend.notes,
        )
        return [*self.position.segments, current]

    def _rates(self, start: int, count: int) -> np.ndarray:
        per_epoch = self.batches.per_epoch
        return learning_rates(self.config.optimization, start, count, per_epoch, self.total)

    def _diverged(self, what: str, step: int) -> NoReturn:
        rate = self._rates(step - 1, 1)[0]
        epoch = (step - 1) // self.batches.per_epoch + 1
        last = self.folder / LAST
        kept = (
            f"the last good checkpoint is {last}" if last.exists() else "no checkpoint was due yet"
        )
        raise TrainingDiverged(
            f"{what} at step {step} (epoch {epoch}, learning rate {rate:g}); {kept}"
        )


def evaluate(
    config: Config, task: Task, backend: Backend, state: State, split: Split
) -> Evaluation:
    """Loss and metric of a state on one part of a task's data."""
    batches = evaluation_batches(config, task, split)

    def stacked() -> Iterator[Batch[np.ndarray]]:
        for start, count in _chunks(0, batches.per_epoch, batches.chunk):
            yield batches.take(start, count)

    return backend.evaluate(state, stacked())


def _chunks(start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Splits steps into calls of nearly equal size, so that few sizes have to be compiled."""
    calls = -(-(end - start) // most)
    size = -(-(end - start) // calls)
    for first in range(start, end, size):
        yield first, min(size, end - first)


def _summarize(loop: _Loop, state: State, test: Scores, started: float) -> Summary:
    """What a finished run did; `started` is the `time.perf_counter` of its beginning."""
    config, task, backend = loop.config, loop.task, loop.backend
    final = loop.reached
    assert final.train is not None  # at least one step was taken
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
        steps=loop.total,
        segments=list(final.segments),
        compile_s=backend.compile_s,
        step_ms=final.segments[-1].step_ms,
        total_s=time.perf_counter() - started,
        peak_memory_mb=environment.peak_memory_mb(),
        metric=task.metric,
        train=final.train,
        valid=final.best,
        test=test,
        held_out=task.held_out,
        baseline=_baseline(task),
        sample=_sample(task, backend, state),
    )


def _named(task: Task, scores: Evaluation) -> Scores:
    named = {"loss": scores.loss, task.metric: scores.metric}
    return named | ({"bits_per_character": scores.loss / math.log(2)} if task.streams else {})


def _baseline(task: Task) -> dict[str, float | str] | None:
    if task.baseline is None:
        return None
    scores = Evaluation(task.baseline.loss, task.baseline.metric)
    return {"name": task.baseline.name, **_named(task, scores)}


def _sample(task: Task, backend: Backend, state: State) -> dict[str, str] | None:
    """Input, prediction and target of the first test sequence, for tasks that spell sequences."""
    if not task.vocabulary or task.streams:
        return None
    inputs, targets = task.test.inputs[:1], task.test.targets[:1]
    predicted = backend.predict(state, inputs).argmax(-1)
    spelled = {"input": inputs, "predicted": predicted, "target": targets}
    return {
        name: "".join(task.vocabulary[token] for token in tokens[0])
        for name, tokens in spelled.items()
    }
