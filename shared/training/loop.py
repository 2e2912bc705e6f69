"""Steps, and what happens between them: order, learning rates, evaluation, checkpoints, history.

    loop = Loop(config, task, backend, batches, lock, history, progress, position, total)
    (state,) = drive(backend, [loop.run(state, interruption)])

`Loop.run` is a generator: it asks for each call of the backend and is sent what came of it, so that
the loops of several seeds can go side by side and have their calls taken in one.
"""

import math
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np

from shared.config import Config
from shared.config.interval import Every
from shared.errors import TrainingDiverged
from shared.inference.evaluation import evaluate
from shared.protocol import Backend, Batch, Snapshot
from shared.protocol.backend import Evaluation, Metrics, State
from shared.protocol.batching import Batches
from shared.protocol.schedule import learning_rates
from shared.runs import checkpoint
from shared.runs.checkpoint import Checkpoint, Retention, Running
from shared.runs.history import History
from shared.runs.scores import Scores, derived, named, shown
from shared.runs.segments import Segment
from shared.runs.tensorboard import Events
from shared.system.lock import Lock
from shared.system.signals import Interrupted, Interruption
from shared.tasks.task import Task
from shared.training import anomaly, calls
from shared.training.anomaly import Anomaly
from shared.training.calls import Call
from shared.training.clock import Due, Timing
from shared.training.progress import Progress


class Asked(NamedTuple):
    """Steps that a backend shall take, as `Backend.advance` has them."""

    state: State
    batch: Batch[np.ndarray]
    rates: np.ndarray


Steps = Generator[Asked, tuple[State, Metrics], State]
"""What asks for steps until it returns the state after the last one."""


def drive(backend: Backend, loops: Sequence[Steps]) -> list[State]:
    """Takes the steps that one or more loops ask for, those of several in one call.

    Args:
        loops: they ask for as many steps of the same shapes at a time, and as often.

    Returns:
        What each returns.
    """
    answers: list[Any] = [None] * len(loops)  # which starts a generator
    while True:
        asked: dict[int, Asked] = {}
        ended: list[State] = []
        interrupted = None
        for i, loop in enumerate(loops):
            try:
                asked[i] = loop.send(answers[i])
            except StopIteration as end:
                ended.append(end.value)
            except Interrupted as stop:
                interrupted = stop
        if interrupted is not None:
            for i in asked:  # those that had not seen the signal yet
                with suppress(Interrupted):
                    loops[i].throw(Interrupted(interrupted.number))
            raise interrupted
        if not asked:
            return ended
        if ended:
            raise ValueError(
                f"expected loops of as many calls, {len(ended)} ended before the others"
            )
        if len(loops) == 1:
            answers = [backend.advance(*asked[0])]
        else:
            states, batches, (rates, *_) = zip(*asked.values(), strict=True)
            answers = list(zip(*backend.advance_seeds(states, batches, rates), strict=True))


class _Taken(NamedTuple):
    """A call of the backend whose results have not been read yet."""

    call: Call
    metrics: Metrics
    anomaly: Anomaly | None


@dataclass
class Loop:
    """Of one run."""

    config: Config
    task: Task
    backend: Backend
    batches: Batches
    lock: Lock
    history: History
    events: Events
    progress: Progress
    position: Checkpoint
    """Where it begins."""
    total: int
    together: int
    """Loops whose calls are taken in one, this one among them."""

    def __post_init__(self) -> None:
        self.folder = self.lock.folder
        self.timing = Timing(self.backend, self.together)
        self.reached = self.position
        self.every = Every.of(self.config.checkpoint_every)
        self.most = calls.most_steps(self.config, self.task.signature, self.batches)
        step, best = self.position.snapshot.step, self.position.best_step
        self.retention = Retention(self.folder, self.config.keep_checkpoints, {step: best})
        self.running = self.position.running

    def run(self, state: State, interruption: Interruption) -> Steps:
        """Trains to the last step; checkpoints on the way.

        Raises:
            Interrupted: a signal has come; there is a checkpoint of the last step that was taken.
        """
        self.retention.clean()  # a run that was killed may not have come to it
        step = self.position.snapshot.step
        period = self.config.eval_every * self.batches.per_epoch
        while step < self.total:
            begin = step - step % period
            end = min(begin + period, self.total)
            state = yield from self._steps(state, begin, end, step, interruption)
            step = end
            self._evaluate(state, step)
            self._check_interrupted(interruption)
        return state

    def test(self, state: State) -> tuple[State, Scores]:
        """Scores the test part, once, with the best checkpoint; returns also its state."""
        step = self.total
        if self.reached.best_step is not None:
            chosen = checkpoint.read(checkpoint.path(self.folder, self.reached.best_step)).snapshot
            state, step = self.backend.init(chosen), chosen.step
        scores = evaluate(self.config, self.task, self.backend, state, self.task.test)
        epoch = -(-step // self.batches.per_epoch)
        if not math.isfinite(scores.loss):
            self._diverged(f"the test loss is {scores.loss}", step, found=True)
        self.history.add(step, epoch, "test", scores.loss, scores.metric)
        self.events.add("test", step, named(self.task, scores))
        return state, derived(self.task, "test", scores) | {"step": step}

    def _steps(
        self, state: State, begin: int, end: int, position: int, interruption: Interruption
    ) -> Steps:
        """Takes the steps between two evaluations, from a position on."""
        pending: _Taken | None = None
        due = Due(self.every, begin)
        self.timing.start()
        for call in calls.calls(begin, end, self.most, self.every.steps, position):
            # The device may still be at the call before: prepare first, then wait for it.
            batch = self.batches.take(call.start, call.count)
            rates = self._rates(call.start, call.count)
            if pending is not None:
                self._read(pending)
                if due.after(call.start) or interruption.received is not None:
                    self._save(self._exported(state, call.start))
                    due.written()
                    self._check_interrupted(interruption)
                    self.timing.start()
            found = None
            if self.config.detect_anomaly:
                state, taken, found = anomaly.advance(self.backend, state, batch, rates)
            else:
                try:
                    state, taken = yield Asked(state, batch, rates)
                except Interrupted:  # another loop has seen the signal first
                    self._save(self._exported(state, call.start))
                    raise
            pending = _Taken(call, taken, found)
        if pending is not None:
            self._read(pending)
        return state

    def _read(self, taken: _Taken) -> None:
        """Waits for a call, then writes and shows its steps."""
        call = taken.call
        loss, metric, norms = (np.asarray(values) for values in taken.metrics)
        self.timing.stop(call.count)
        wrong = ~(np.isfinite(loss) & np.isfinite(norms).all(axis=1))
        good = int(wrong.argmax()) if wrong.any() else len(loss)
        for i in range(good):
            step, epoch = call.start + i + 1, (call.start + i) // self.batches.per_epoch + 1
            self.history.train(step, epoch, float(loss[i]), float(metric[i]))
            self.running = self.running.add(float(loss[i]), float(metric[i]))
        self.history.flush()
        if self.events.written:
            self._note(call, loss[:good], metric[:good], norms[:good])
        if taken.anomaly is not None:
            self._diverged(str(taken.anomaly), call.start + len(loss), norms[-1], found=True)
        if wrong.any():
            what = []
            if not math.isfinite(loss[good]):
                what.append(f"the training loss is {loss[good]}")
            bad = np.flatnonzero(~np.isfinite(norms[good]))
            if len(bad):
                name = self.backend.parameters[bad[0]]
                what.append(f"the norm of the gradient of {name} is {norms[good][bad[0]]}")
            self._diverged(" and ".join(what), call.start + good + 1, norms[good])
        self.progress.advance(call.count, float(loss[-1]), float(metric[-1]))

    def _note(self, call: Call, loss: np.ndarray, metric: np.ndarray, norms: np.ndarray) -> None:
        """Writes steps to the events: what the history has of them, rate and gradient norm."""
        rates = self._rates(call.start, call.count)
        for i in range(len(loss)):
            if (call.start + i + 1) % self.config.log_every == 0:
                values = {"loss": loss[i], self.task.metric: metric[i]}
                values |= {"learning_rate": rates[i], "gradient_norm": anomaly.norm(norms[i])}
                self.events.add("train", call.start + i + 1, values)

    def _evaluate(self, state: State, step: int) -> None:
        """Scores the validation part and writes a checkpoint."""
        metric, epoch = self.task.metric, step // self.batches.per_epoch
        steps = self.running.steps
        train = {"loss": self.running.loss / steps, metric: self.running.metric / steps}
        line = f"epoch {epoch}/{self.config.epochs}  train loss {train['loss']:.4f}  "
        line += shown(metric, train[metric])
        snapshot = self._exported(state, step)
        best = self.reached.best
        if self.task.valid is not None:
            valid = evaluate(self.config, self.task, self.backend, state, self.task.valid)
            if not math.isfinite(valid.loss):
                self._diverged(f"the validation loss is {valid.loss}", step, found=True)
            self.history.add(step, epoch, "valid", valid.loss, valid.metric)
            self.events.add("valid", step, named(self.task, valid))
            line += f"  valid loss {valid.loss:.4f}  {self._shown(valid)}"
            if best is None or valid.loss < best["loss"]:
                best = named(self.task, valid) | {"step": step}
        self.running = Running()
        self.reached = self.reached._replace(train=train, best=best)
        self._save(snapshot)
        self.progress.line(line + f"  {self.timing.step_ms:.2f} ms/step")

    def _save(self, snapshot: Snapshot) -> None:
        """Writes a checkpoint; what it says of the history is on the disk before."""
        self.lock.check()
        self.events.flush()
        self.reached = Checkpoint(
            snapshot,
            self.task.fingerprint,
            self.reached.train,
            self.reached.best,
            self._segments(snapshot.step),
            self.running,
            self.history.sync(),
        )
        self.retention.write(self.reached)

    def _exported(self, state: State, step: int) -> Snapshot:
        """The loss of a step is that of the weights before it: the last update is unchecked yet."""
        snapshot = self.backend.export(state)
        for name, array in checkpoint.flatten(snapshot).items():
            if not np.isfinite(array).all():
                self._diverged(f"{name} is no longer finite", step)
        return snapshot

    def _check_interrupted(self, interruption: Interruption) -> None:
        if interruption.received is not None:
            raise Interrupted(interruption.received)

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

    def _diverged(
        self, what: str, step: int, norms: np.ndarray | None = None, found: bool = False
    ) -> NoReturn:
        """Ends the run.

        Args:
            norms: those of the step's gradients.
            found: a look at the step itself would tell no more.
        """
        rate = self._rates(step - 1, 1)[0]
        where = [
            f"epoch {(step - 1) // self.batches.per_epoch + 1}",
            f"learning rate {rate:g}",
        ]
        if norms is not None:
            where.append(f"gradient norm {anomaly.norm(norms):g}")
        kept = checkpoint.steps(self.folder)
        last = (
            f"the last good checkpoint is {checkpoint.path(self.folder, kept[-1])}"
            if kept
            else "no checkpoint was due yet"
        )
        if not (found or self.config.detect_anomaly):
            last += f"; --resume {self.folder} --detect-anomaly finds where it begins"
        raise TrainingDiverged(f"{what} at step {step} ({', '.join(where)}); {last}")
