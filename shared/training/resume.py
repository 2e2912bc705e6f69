"""Start of a run: fresh weights, or its last checkpoint."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shared.config import Config
from shared.config.choices import moment_names
from shared.config.options import RESUMABLE, differing, flag
from shared.errors import DamagedFile, InvalidInput
from shared.protocol.batching import Batches
from shared.protocol.weights import network_shapes, state_shapes
from shared.runs import checkpoint, history, run_folder
from shared.runs.checkpoint import Checkpoint
from shared.runs.segments import covers, described, span
from shared.tasks.task import Task


def check_resumable(folder: Path, config: Config, before: Config | None = None) -> None:
    """Compares a resolved configuration with that of the run that it is to continue.

    Args:
        before: the run's configuration; None reads it in the folder.

    Raises:
        InvalidInput: settings differ that are not `RESUMABLE`.
    """
    before = before or run_folder.read_config(folder / run_folder.CONFIG)
    same = replace(config, **{name: getattr(before, name) for name in RESUMABLE})
    if same != before:
        raise InvalidInput(
            f"--resume {folder}: only {', '.join(map(flag, RESUMABLE))} may differ from the run's "
            f"{run_folder.CONFIG}; got another {', '.join(differing(before, same))}"
        )
    if config.epochs != before.epochs and config.optimization.schedule == "cosine":
        raise InvalidInput(
            f"--epochs: the cosine schedule of {folder} was laid out for {before.epochs} epochs, "
            f"got {config.epochs}; train anew with --epochs {config.epochs} into another --out, or "
            "with --schedule constant, whose runs can be prolonged"
        )


def last_position(config: Config, task: Task, batches: Batches, folder: Path) -> Checkpoint:
    """Returns the checkpoint to continue from. It reads and writes nothing.

    Raises:
        InvalidInput: the configuration or the data cannot have led to it, or a file that the rest
            of the run needs is missing or damaged; the message says from what else to go on.
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
    """Returns a checkpoint, compared with all that must fit it."""
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
    """Returns names and shapes of all that a checkpoint of a configuration holds."""
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
    """Returns one line that says from where a run goes on, what computed it so far, and what is
    left."""
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
