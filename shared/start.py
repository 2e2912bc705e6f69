"""Where a run starts: at fresh weights, or where its last checkpoint lies."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from shared import checkpoint, environment, history
from shared.backend import Snapshot
from shared.batching import Batches
from shared.checkpoint import Checkpoint
from shared.config import Config, differing, flag, moment_names
from shared.errors import DamagedFile, InvalidInput
from shared.segments import covers, described, span
from shared.tasks.task import Task
from shared.validation import resolve
from shared.weights import initialize, network_shapes, state_shapes

RESUMABLE = (
    "epochs", "backend", "implementation", "device", "log_every", "checkpoint_every",
    "keep_checkpoints", "logger", "detect_anomaly",
)  # fmt: skip
"""Settings that a resumed run may change."""


def check_fits(config: Config, task: Task) -> None:
    """Compares a configuration with what its task has.

    Raises:
        InvalidInput: an option needs something that the task has not.
    """
    if config.bptt is not None and not task.signature.per_step:
        raise InvalidInput(
            f"--bptt {config.bptt} needs a target at every step, which task {task.name} has not"
        )
    if config.bptt is not None and (
        task.train.lengths is not None or task.train.weights is not None
    ):
        raise InvalidInput(
            f"--bptt {config.bptt} needs sequences of one length whose every step counts, which "
            f"task {task.name} has not"
        )
    if config.network.embedding_size is not None and not task.signature.tokens:
        raise InvalidInput(
            f"--embedding-size {config.network.embedding_size} needs tokens to embed, which task "
            f"{task.name} has not"
        )
    inputs, outputs = task.signature.input_size, task.signature.output_size
    if config.network.tied and inputs != outputs:
        raise InvalidInput(
            f"--tied needs as many outputs as tokens, of which task {task.name} has {outputs} and "
            f"{inputs}"
        )


def first_position(config: Config, task: Task) -> Checkpoint:
    """Step 0: weights drawn from the seed, no moments, no scores.

    Raises:
        InvalidInput: the machine has no memory for them.
    """
    signature = task.signature
    shapes = network_shapes(config.network, signature.input_size, signature.output_size)
    parameters = sum(map(math.prod, shapes.values()))
    tensors = 2 + len(moment_names(config.optimization))  # weights, gradients and moments
    environment.check_memory(
        parameters * tensors * np.dtype(config.precision).itemsize,
        f"{parameters} parameters (--hidden-size, --num-layers), their gradients and moments",
    )
    weights = initialize(
        config.network, signature.input_size, signature.output_size, config.seed, config.precision
    )
    return Checkpoint(Snapshot.of(weights), task.fingerprint)


def check_resumable(folder: Path, config: Config, before: Config | None = None) -> None:
    """Compares a resolved configuration with that of the run it shall continue.

    Args:
        before: that of the run; None reads it in the folder.

    Raises:
        InvalidInput: settings differ that are not `RESUMABLE`.
    """
    before = resolve(before or history.read_config(folder / history.CONFIG))
    same = replace(config, **{name: getattr(before, name) for name in RESUMABLE})
    if same != before:
        raise InvalidInput(
            f"--resume {folder}: only {', '.join(map(flag, RESUMABLE))} may differ from the run's "
            f"{history.CONFIG}; got another {', '.join(differing(before, same))}"
        )
    if config.epochs != before.epochs and config.optimization.schedule == "cosine":
        raise InvalidInput(
            f"--epochs: the cosine schedule of {folder} was laid out for {before.epochs} epochs, "
            f"got {config.epochs}"
        )


def last_position(config: Config, task: Task, batches: Batches, folder: Path) -> Checkpoint:
    """The checkpoint to continue from. Reads, writes nothing.

    Raises:
        InvalidInput: the configuration or the data cannot have led to it, or a file that the rest
            of the run needs is missing or damaged; the message says what else can be gone on from.
    """
    newest, *others = reversed(checkpoint.steps(folder))
    try:
        return _position(config, task, batches, folder, newest)
    except DamagedFile as error:
        for step in others:
            try:
                _position(config, task, batches, folder, step)
            except InvalidInput:
                continue
            raise InvalidInput(f"{error}; {checkpoint.offer(folder, step)}") from error
        raise InvalidInput(f"{error}; {checkpoint.anew(folder)}") from error


def _position(config: Config, task: Task, batches: Batches, folder: Path, step: int) -> Checkpoint:
    """A checkpoint, compared with all that must fit it."""
    position, best = checkpoint.read_with_best(folder, step)
    reached = position.snapshot.step
    file = checkpoint.path(folder, reached)
    if not covers(position.segments, reached):
        raise InvalidInput(
            f"{file}: expected segments that cover its {reached} steps, "
            f"got {described(position.segments) or 'none'}"
        )
    if position.data != task.fingerprint:
        raise InvalidInput(
            f"--resume {folder}: expected the data that the run began with "
            f"({position.data}), got other data ({task.fingerprint}) from: {task.source}"
        )
    expected = _expected_tensors(config, task, batches)
    _check_tensors(position, expected, config.precision, file)
    evaluated = position.running.steps < reached  # before it, there are no scores
    if evaluated:
        _check_scores("train", position.train, ("loss", task.metric), file)
    if evaluated and task.valid is not None:
        _check_scores("best", position.best, ("loss", task.metric, "step"), file)
    if best is not position:  # the test at the end needs it: better to fail now
        best_file = checkpoint.path(folder, best.snapshot.step)
        if best.data != task.fingerprint:
            raise InvalidInput(
                f"{best_file}: expected a checkpoint of the run's data ({task.fingerprint}), "
                f"got one of other data ({best.data})"
            )
        _check_tensors(best, expected, config.precision, best_file)
    history.check_history(folder, reached, task.metric, position.history, file)
    return position


def _expected_tensors(config: Config, task: Task, batches: Batches) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all that a checkpoint of a configuration holds."""
    shapes = network_shapes(config.network, task.signature.input_size, task.signature.output_size)
    expected = {f"weights/{name}": shape for name, shape in shapes.items()}
    for moment in moment_names(config.optimization):
        expected |= {f"moments/{moment}.{name}": shape for name, shape in shapes.items()}
    carried = state_shapes(config.network, batches.batch_size)
    return expected | {f"carry/{k}": shape for k, shape in enumerate(carried)}


def _check_tensors(
    found: Checkpoint, expected: dict[str, tuple[int, ...]], precision: str, file: Path
) -> None:
    got = checkpoint.flatten(found.snapshot)
    for name in [*expected, *got]:
        want = f"{precision} {expected[name]}" if name in expected else "no such tensor"
        have = f"{got[name].dtype} {got[name].shape}" if name in got else "none"
        if want != have:
            raise InvalidInput(
                f"{file}: the configuration beside it expects {want} as {name}, got {have}"
            )


def _check_scores(
    what: str, scores: dict[str, float] | None, names: Sequence[str], file: Path
) -> None:
    missing = [name for name in names if name not in (scores or {})]
    if missing:
        got = ", ".join(scores) if scores else "none"
        raise InvalidInput(f"{file}: {what}: expected {', '.join(missing)}, got {got}")


def resumption(config: Config, folder: Path, position: Checkpoint, total: int) -> str:
    """One line that says from where a run goes on, what computed it so far, and what is left."""
    reached, now = position.snapshot.step, f"{config.backend} {config.implementation}"
    if reached == 0:
        return f"beginning {folder} anew, {span(0, total)} in {now}: it has no checkpoint yet"
    left = "no step is left, only the test, in"
    if reached < total:
        left = f"{span(reached, total)} follow{'s' * (total - reached == 1)} in"
    return (
        f"resuming {folder} after step {reached} of {total} ({described(position.segments)}): "
        f"{left} {now}"
    )
