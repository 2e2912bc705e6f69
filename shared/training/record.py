"""The record of one run while it trains: its history, evaluations, checkpoints and progress."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from shared.config import Config
from shared.errors import TrainingDiverged
from shared.inference.evaluation import evaluate
from shared.protocol import Backend, Snapshot
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
from shared.tasks.task import Task
from shared.training.anomaly import Anomaly, norm
from shared.training.calls import Call
from shared.training.clock import Timing
from shared.training.progress import Progress


@dataclass(frozen=True)
class Files:
    """The files of a run to which its course is written."""

    lock: Lock
    history: History
    events: Events


@dataclass
class Record:
    """The files and the progress of one run, from its first step to its test.

    Every process of a team has one, whose numbers are the same. Only the first writes files.
    """

    config: Config
    task: Task
    backend: Backend
    batches: Batches
    folder: Path
    files: Files | None
    """None in a process that writes none."""
    progress: Progress
    position: Checkpoint
    """Place where this process begins."""
    total: int
    """Optimizer steps at the end."""
    together: int
    """Runs whose steps are taken in one call, this one among them."""

    def __post_init__(self) -> None:
        self.timing = Timing(self.backend, self.together)
        self.reached = self.position
        """The last checkpoint."""
        self.saved = self.position.snapshot.step or None
        """The step of the last checkpoint that is on the disk."""
        self.running = self.position.running
        step, best = self.position.snapshot.step, self.position.best_step
        self.retention = Retention(self.folder, self.config.keep_checkpoints, {step: best})
        if self.files is not None:
            self.retention.clean()  # a run that was killed may not have come to it

    def read(self, call: Call, metrics: Metrics, anomaly: Anomaly | None) -> None:
        """Waits for a call, then writes and shows its steps.

        Raises:
            TrainingDiverged: a loss or a gradient's norm is not finite.
        """
        loss, metric, norms = (np.asarray(values) for values in metrics)
        self.timing.stop(call.steps)
        wrong = ~(np.isfinite(loss) & np.isfinite(norms).all(axis=1))
        good = int(wrong.argmax()) if wrong.any() else len(loss)
        for i in range(good):
            step, epoch = call.start + i + 1, (call.start + i) // self.batches.per_epoch + 1
            if self.files is not None:
                self.files.history.train(step, epoch, float(loss[i]), float(metric[i]))
            self.running = self.running.add(float(loss[i]), float(metric[i]))
        if self.files is not None:
            self.files.history.flush()
            if self.files.events.written:
                self._note(self.files.events, call, loss[:good], metric[:good], norms[:good])
        if anomaly is not None:
            self._diverged(str(anomaly), call.start + len(loss), norms[-1], found=True)
        if wrong.any():
            what: list[str] = []
            if not math.isfinite(loss[good]):
                what.append(f"the training loss is {loss[good]}")
            bad = np.flatnonzero(~np.isfinite(norms[good]))
            if len(bad):
                name = self.backend.parameters[int(bad[0])]
                what.append(f"the norm of the gradient of {name} is {norms[good][bad[0]]}")
            self._diverged(" and ".join(what), call.start + good + 1, norms[good])
        self.progress.advance(call.steps, float(loss[-1]), float(metric[-1]))

    def _note(
        self,
        events: Events,
        call: Call,
        loss: np.ndarray,
        metric: np.ndarray,
        norms: np.ndarray,
    ) -> None:
        """Writes steps to the events: what the history has of them, the rate and the gradient
        norm."""
        rates = self.rates(call.start, call.steps)
        for i in range(len(loss)):
            if (call.start + i + 1) % self.config.log_every == 0:
                values = {"loss": loss[i], self.task.metric: metric[i]}
                values |= {"learning_rate": rates[i], "gradient_norm": norm(norms[i])}
                events.add("train", call.start + i + 1, values)

    def evaluate(self, state: State, step: int) -> None:
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
            self._add(step, epoch, "valid", valid)
            line += f"  valid loss {valid.loss:.4f}  {self._shown(valid)}"
            if best is None or valid.loss < best["loss"]:
                best = named(self.task, valid) | {"step": step}
        self.running = Running()
        self.reached = self.reached._replace(train=train, best=best)
        self._write(snapshot)
        self.progress.line(line + f"  {self.timing.step_ms:.2f} ms/step")

    def save(self, state: State, step: int) -> None:
        """Writes a checkpoint between two evaluations."""
        self._write(self._exported(state, step))

    def _write(self, snapshot: Snapshot) -> None:
        """Writes a checkpoint. The history that it refers to is on the disk before."""
        digest = ""
        if self.files is not None:
            self.files.lock.check()
            self.files.events.flush()
            digest = self.files.history.sync()
        self.reached = Checkpoint(
            snapshot,
            self.task.fingerprint,
            self.reached.train,
            self.reached.best,
            self._segments(snapshot.step),
            self.running,
            digest,
        )
        if self.files is not None:
            self.retention.write(self.reached)
        self.saved = snapshot.step

    def _add(self, step: int, epoch: int, part: str, found: Evaluation) -> None:
        """Writes the scores of a part of the data."""
        if self.files is not None:
            self.files.history.add(step, epoch, part, found.loss, found.metric)
            self.files.events.add(part, step, named(self.task, found))

    def _exported(self, state: State, step: int) -> Snapshot:
        """Returns the state as a snapshot, and checks it. The loss of a step is that of the weights
        before it, so the last update is not checked yet."""
        snapshot = self.backend.export(state)
        for name, array in checkpoint.flatten(snapshot).items():
            if not np.isfinite(array).all():
                self._diverged(f"{name} is no longer finite", step)
        return snapshot

    def _shown(self, valid: Evaluation) -> str:
        """Returns the score of the validation part that says most."""
        found = derived(self.task, "valid", valid)
        name = self.task.score
        if name not in found or name == "loss":  # which stands before it
            name = self.task.metric
        return shown(name, found[name])

    def _segments(self, step: int) -> list[Segment]:
        """Returns which backend took which steps, up to this one."""
        current = Segment(
            self.config.backend,
            self.config.implementation,
            self.position.snapshot.step,
            step,
            self.timing.step_ms,
            self.backend.notes,
            self.backend.team.count,
            self.backend.devices,
        )
        return [*self.position.segments, current]

    def rates(self, start: int, count: int) -> np.ndarray:
        per_epoch = self.batches.per_epoch
        return learning_rates(self.config.optimization, start, count, per_epoch, self.total)

    def _diverged(
        self, what: str, step: int, norms: np.ndarray | None = None, found: bool = False
    ) -> NoReturn:
        """Ends the run.

        Args:
            norms: norms of the step's gradients.
            found: True if a look at the step itself would tell no more.
        """
        rate = self.rates(step - 1, 1)[0]
        where = [
            f"epoch {(step - 1) // self.batches.per_epoch + 1}",
            f"learning rate {rate:g}",
        ]
        if norms is not None:
            where.append(f"gradient norm {norm(norms):g}")
        last = "no checkpoint was due yet"
        if self.saved is not None:
            last = f"the last good checkpoint is {checkpoint.path(self.folder, self.saved)}"
        if not (found or self.config.detect_anomaly):
            last += f"; --resume {self.folder} --detect-anomaly finds where it begins"
        raise TrainingDiverged(f"{what} at step {step} ({', '.join(where)}); {last}")

    def test(self, state: State) -> tuple[State, Scores]:
        """Scores the test part, once, with the best checkpoint; also returns its state."""
        step = self.total
        if self.reached.best_step is not None:
            chosen = self._chosen(self.reached.best_step)
            state, step = self.backend.init(chosen), chosen.step
        scores = evaluate(self.config, self.task, self.backend, state, self.task.test)
        epoch = -(-step // self.batches.per_epoch)
        if not math.isfinite(scores.loss):
            self._diverged(f"the test loss is {scores.loss}", step, found=True)
        self._add(step, epoch, "test", scores)
        return state, derived(self.task, "test", scores) | {"step": step}

    def _chosen(self, step: int) -> Snapshot:
        """Returns the best checkpoint, which only the first process has."""
        team, chosen = self.backend.team, None
        with team.agreed():
            if team.first:
                chosen = checkpoint.read(checkpoint.path(self.folder, step)).snapshot
        chosen = team.of_first(chosen)
        assert chosen is not None
        return chosen
