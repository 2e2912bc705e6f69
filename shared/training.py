"""The one training loop: configuration + task + backend → a run folder.

    summary = train(config, Path("runs/hello-1"))

The loop owns order, learning rates, evaluation, checkpoints and history; a backend takes steps.
Evaluation and checkpoints happen after every `eval_every` epochs and at the end.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import NamedTuple, NoReturn

import numpy as np

from shared import checkpoint, history, predictions
from shared.backend import Backend, Evaluation, Metrics, State, import_backend, load_backend
from shared.batching import Batch, Batches, evaluation_batches, training_batches
from shared.checkpoint import BEST, LAST, Checkpoint
from shared.config import Config
from shared.errors import InvalidInput, TrainingDiverged
from shared.history import History
from shared.progress import Progress
from shared.sampling import Sampling, stream
from shared.schedule import learning_rates
from shared.schema import joined, save_schema, schema_of
from shared.scores import Scores, derived, named, shown
from shared.segments import Segment
from shared.start import check_fits, check_resumable, first_position, last_position, resumption
from shared.summary import Summary, summarize
from shared.tasks import load_task
from shared.tasks.task import Split, Task
from shared.timing import Timing
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
    Thread(target=import_backend, args=(config.backend,)).start()  # beside the data
    task = load_task(config)
    check_fits(config, task)
    batches = training_batches(config, task)
    total = config.epochs * batches.per_epoch
    if config.log_every > total:
        raise InvalidInput(
            f"--log-every: expected at most the {total} steps of the run, got {config.log_every}"
        )
    # A daemon: nobody waits for it where the framework refuses.
    hashing = Thread(target=getattr, args=(task, "fingerprint"), daemon=True)
    hashing.start()
    backend = load_backend(config, task.signature)
    hashing.join()
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
    save_schema(folder, schema_of(config, task))
    writer = History(folder, task.metric, config.log_every, keep=position.snapshot.step)
    progress = Progress(position.snapshot.step, total, task.metric, quiet)
    with writer, progress:
        if resume:
            progress.line(resumption(config, folder, position, total))
        loop = _Loop(config, task, backend, batches, folder, writer, progress, position, total)
        state = loop.run(state)
        state, test = loop.test(state)
    found = predictions.predict(task, backend, state)
    test |= predictions.scores(task, found)
    generated = _generated(config, task, backend, state)
    if found:
        predictions.save(folder, found)
    summary = summarize(config, task, backend, loop.reached, test, found, generated, started)
    history.save_summary(folder, summary)
    return summary


PROMPT, LENGTH = 64, 512
"""Tokens of a text that the network goes on from, and that it generates."""
GENERATED = Sampling(temperature=0.8)


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
        self.timing = Timing(self.backend)
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

    def test(self, state: State) -> tuple[State, Scores]:
        """Scores the test part, once, with the best checkpoint; returns also its state."""
        step = self.total
        if self.task.valid is not None:
            chosen = checkpoint.read(self.folder / BEST).snapshot
            state, step = self.backend.init(chosen), chosen.step
        scores = evaluate(self.config, self.task, self.backend, state, self.task.test)
        epoch = -(-step // self.batches.per_epoch)
        if not math.isfinite(scores.loss):
            self._diverged(f"the test loss is {scores.loss}", step)
        self.history.add(step, epoch, "test", scores.loss, scores.metric)
        return state, derived(self.task, "test", scores) | {"step": step}

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
            line += f"  valid loss {valid.loss:.4f}  {self._shown(valid)}"
            improved = best is None or valid.loss < best["loss"]
            if improved:
                best = named(self.task, valid) | {"step": step}
        self.history.flush()
        self.reached = Checkpoint(
            snapshot, self.task.fingerprint, train, best, self._segments(step)
        )
        if improved:
            checkpoint.write(self.folder / BEST, self.reached)
        checkpoint.write(self.folder / LAST, self.reached)
        self.progress.line(line + f"  {self.timing.step_ms:.2f} ms/step")

    def _shown(self, valid: Evaluation) -> str:
        """The score of the validation part that says most."""
        found = derived(self.task, "valid", valid)
        name = self.task.score
        if name not in found or name == "loss":  # which stands before it
            name = self.task.metric
        return shown(name, found[name])

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
    total, size = batches.per_epoch, batches.evaluation_chunk

    def stacked() -> Iterator[Batch[np.ndarray]]:
        for start in range(0, total, size):
            batch = batches.take(start, size)
            # What fills the last call up begins the part anew, and does not count.
            batch.weights[total - start :] = 0
            yield batch

    return backend.evaluate(state, stacked())


def _generated(config: Config, task: Task, backend: Backend, state: State) -> dict[str, str] | None:
    """A prompt from the beginning of a text's test part, and how the network goes on."""
    if not task.streams:
        return None
    prompt = task.test.inputs[0, :PROMPT]
    size = task.signature.output_size
    drawn = np.concatenate([*stream(backend, state, prompt, size, GENERATED, LENGTH)])
    text = {"prompt": prompt, "continuation": drawn}
    return {
        name: joined([task.vocabulary[token] for token in tokens], task.unit)
        for name, tokens in text.items()
    }


def _chunks(start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Splits steps into calls of nearly equal size, so that few sizes have to be compiled."""
    calls = -(-(end - start) // most)
    size = -(-(end - start) // calls)
    for first in range(start, end, size):
        yield first, min(size, end - first)
