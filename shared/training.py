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
from typing import Any, NamedTuple, NoReturn

import numpy as np

from shared import checkpoint, environment, history
from shared.backend import Backend, Evaluation, Metrics, Snapshot, State, load_backend
from shared.batching import Batch, Batches, evaluation_batches, training_batches
from shared.checkpoint import BEST, LAST, Checkpoint, Segment
from shared.config import Config, resolve
from shared.errors import InvalidInput, TrainingDiverged
from shared.history import History
from shared.progress import Progress, shown
from shared.schedule import learning_rates
from shared.tasks import load_task
from shared.tasks.task import Split, Task
from shared.weights import initialize, network_shapes


def train(
    config: Config,
    folder: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains as configured and leaves a run folder.

    Args:
        config: what to do; it is resolved here.
        folder: where the run goes; with `resume`, where it lies.
        overwrite: replace a run that lies there.
        resume: go on from the last checkpoint in the folder, up to `config.epochs`.
        quiet: print nothing.

    Returns:
        What summary.json holds.

    Raises:
        InvalidInput: something given cannot be used; nothing was written.
        TrainingDiverged: a loss is not finite; the last good checkpoint stays.
    """
    started = time.perf_counter()
    config = resolve(config)
    if not resume:
        history.check_free(folder, overwrite)
    task = load_task(config)
    backend = load_backend(config, task.signature)
    batches = training_batches(config, task)
    if config.bptt is not None and not task.signature.per_step:
        raise InvalidInput(
            f"--bptt {config.bptt} needs a target at every step, which task {task.name} has not"
        )
    position = _last(config, task, folder / LAST) if resume else _first(config, task)
    total = config.epochs * batches.per_epoch
    if position.snapshot.step >= total:
        epochs = position.snapshot.step // batches.per_epoch
        raise InvalidInput(
            f"--resume {folder}: already trained for {epochs} epochs; expected --epochs above, "
            f"got {config.epochs}"
        )
    state = backend.init(position.snapshot)
    if resume:
        history.save_config(folder, config)
    else:
        history.create(folder, config)
    progress = Progress(position.snapshot.step, total, task.metric, quiet)
    writer = History(folder, task.metric, config.log_every, keep=position.snapshot.step)
    with writer, progress:
        loop = _Loop(config, task, backend, batches, folder, writer, progress, position, total)
        state = loop.run(state)
        test, tested = _test(config, task, backend, state, folder)
        writer.add(tested, config.epochs, "test", test.loss, test.metric)
    summary = {
        "task": config.task,
        "backend": config.backend,
        "implementation": config.implementation,
        "path": backend.path,
        "notes": backend.notes,
        "cell": config.network.cell,
        "precision": config.precision,
        "device": backend.device,
        "versions": environment.versions(config.backend),
        "parameters": sum(array.size for array in position.snapshot.weights.values()),
        "seed": config.seed,
        "steps": total,
        "segments": [segment._asdict() for segment in loop.segments(total)],
        "compile_s": backend.compile_s,
        "step_ms": loop.timing.step_ms,
        "total_s": time.perf_counter() - started,
        "peak_memory_mb": environment.peak_memory_mb(),
        "metric": task.metric,
        "train": {"loss": loop.last_loss, task.metric: loop.last_metric},
        "valid": loop.best,
        "test": _scores(task, test) | {"held_out": task.held_out, "step": tested},
        "baseline": None
        if task.baseline is None
        else {"name": task.baseline.name}
        | _scores(task, Evaluation(task.baseline.loss, task.baseline.metric)),
        "source": task.source,
        "sample": _sample(task, backend, state),
    }
    history.save_summary(folder, summary)
    return summary


@dataclass
class _Timing:
    """Milliseconds a step, from calls that compiled nothing."""

    per_step: list[float] = field(default_factory=list)
    first: float = math.nan

    def add(self, seconds: float, steps: int, compiled: float) -> None:
        milliseconds = 1000 * (seconds - compiled) / steps
        if compiled or math.isnan(self.first):
            self.first = milliseconds
        else:
            self.per_step.append(milliseconds)

    @property
    def step_ms(self) -> float:
        """Median; a run of a single call has only its first one, less the compilation."""
        return float(np.median(self.per_step)) if self.per_step else self.first


class _Call(NamedTuple):
    """A call of the backend whose results have not been read yet."""

    start: int
    count: int
    metrics: Metrics
    began: float
    compiled: float


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
    total: int
    timing: _Timing = field(default_factory=_Timing)
    best: dict[str, float] | None = None
    last_loss: float = math.nan
    last_metric: float = math.nan

    def run(self, state: State) -> State:
        """Trains to the last step; checkpoints on the way."""
        step = self.position.snapshot.step
        self.best = self.position.best
        period = self.config.eval_every * self.batches.per_epoch
        while step < self.total:
            end = min(step - step % period + period, self.total)
            state = self._steps(state, step, end)
            step = end
            self._evaluate(state, step)
        return state

    def segments(self, step: int) -> list[Segment]:
        """Which backend took which steps, up to this one."""
        earlier, start = self.position.segments, self.position.snapshot.step
        return [*earlier, Segment(self.config.backend, self.config.implementation, start, step)]

    def _steps(self, state: State, start: int, end: int) -> State:
        pending: _Call | None = None
        losses: list[np.ndarray] = []
        metrics: list[np.ndarray] = []
        for first, count in _chunks(start, end, self.batches.chunk):
            # The device may still be at the call before: prepare first, then wait for it.
            batch = self.batches.take(first, count)
            rates = self._rates(first, count)
            self._read(pending, losses, metrics)
            began, compiled = time.perf_counter(), self.backend.compile_s
            state, taken = self.backend.advance(state, batch, rates)
            pending = _Call(first, count, taken, began, self.backend.compile_s - compiled)
        self._read(pending, losses, metrics)
        self.last_loss = float(np.concatenate(losses).mean(dtype=np.float64))
        self.last_metric = float(np.concatenate(metrics).mean(dtype=np.float64))
        return state

    def _read(self, call: _Call | None, losses: list, metrics: list) -> None:
        """Waits for a call, then writes and shows its steps."""
        if call is None:
            return
        loss, metric = np.asarray(call.metrics.loss), np.asarray(call.metrics.metric)
        self.timing.add(time.perf_counter() - call.began, call.count, call.compiled)
        for i in range(call.count):
            step, epoch = call.start + i + 1, (call.start + i) // self.batches.per_epoch + 1
            if not math.isfinite(loss[i]):
                self._diverged(f"the training loss is {loss[i]}", step, epoch)
            self.history.train(step, epoch, float(loss[i]), float(metric[i]))
        losses.append(loss)
        metrics.append(metric)
        self.progress.advance(call.count, float(loss[-1]), float(metric[-1]))

    def _evaluate(self, state: State, step: int) -> None:
        epoch = step // self.batches.per_epoch
        line = f"epoch {epoch}/{self.config.epochs}  train loss {self.last_loss:.4f}  "
        line += shown(self.task.metric, self.last_metric)
        snapshot = self.backend.export(state)
        if self.task.valid is not None:
            valid = evaluate(self.config, self.task, self.backend, state, self.task.valid)
            if not math.isfinite(valid.loss):
                self._diverged(f"the validation loss is {valid.loss}", step, epoch)
            self.history.add(step, epoch, "valid", valid.loss, valid.metric)
            line += f"  valid loss {valid.loss:.4f}  {shown(self.task.metric, valid.metric)}"
            if self.best is None or valid.loss < self.best["loss"]:
                self.best = {"loss": valid.loss, self.task.metric: valid.metric, "step": step}
                self._save(BEST, snapshot)
        self.history.flush()
        self._save(LAST, snapshot)
        self.progress.line(line + f"  {self.timing.step_ms:.2f} ms/step")

    def _save(self, name: str, snapshot: Snapshot) -> None:
        segments = self.segments(snapshot.step)
        checkpoint.write(self.folder / name, Checkpoint(snapshot, self.best, segments))

    def _rates(self, start: int, count: int) -> np.ndarray:
        per_epoch = self.batches.per_epoch
        return learning_rates(self.config.optimization, start, count, per_epoch, self.total)

    def _diverged(self, what: str, step: int, epoch: int) -> NoReturn:
        rate = self._rates(step - 1, 1)[0]
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


def _first(config: Config, task: Task) -> Checkpoint:
    signature = task.signature
    weights = initialize(
        config.network, signature.input_size, signature.output_size, config.seed, config.precision
    )
    return Checkpoint(Snapshot.of(weights), None, [])


def _last(config: Config, task: Task, file: Path) -> Checkpoint:
    """The checkpoint to continue from, refused if the configuration cannot have written it."""
    position = checkpoint.read(file)
    weights, signature = position.snapshot.weights, task.signature
    expected = network_shapes(config.network, signature.input_size, signature.output_size)
    for name in sorted(expected.keys() | weights.keys()):
        want = f"{config.precision} {expected[name]}" if name in expected else "no such tensor"
        got = f"{weights[name].dtype} {weights[name].shape}" if name in weights else "none"
        if want != got:
            raise InvalidInput(
                f"{file}: the configuration beside it expects {want} as {name}, got {got}"
            )
    return position


def _test(
    config: Config, task: Task, backend: Backend, state: State, folder: Path
) -> tuple[Evaluation, int]:
    """Scores the test part, once, with the best checkpoint; returns also that checkpoint's step."""
    chosen = checkpoint.read(folder / (LAST if task.valid is None else BEST)).snapshot
    if task.valid is not None:
        state = backend.init(chosen)
    return evaluate(config, task, backend, state, task.test), chosen.step


def _scores(task: Task, scores: Evaluation) -> dict[str, Any]:
    named: dict[str, Any] = {"loss": scores.loss, task.metric: scores.metric}
    if task.streams:
        named["bits_per_character"] = scores.loss / math.log(2)
        named["perplexity"] = math.exp(scores.loss)
    return named


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
