"""Configuration → task, batches, backend and place to begin: a run that can be trained."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread

from shared.config import Config
from shared.errors import InvalidInput
from shared.protocol import Backend, load_backend
from shared.protocol.backend import import_backend
from shared.protocol.batching import Batches
from shared.runs import checkpoint, run_folder
from shared.runs.checkpoint import Checkpoint
from shared.runs.tensorboard import check_available
from shared.system import lock
from shared.system.lock import Lock
from shared.system.team import ALONE, Team
from shared.tasks import load_task
from shared.tasks.batches import training_batches
from shared.tasks.fits import check_fits
from shared.tasks.start import first_position
from shared.tasks.task import Task
from shared.tasks.together import load_together
from shared.training.resume import check_resumable, last_position
from shared.training.same import check_same_data, check_same_program


@dataclass(frozen=True)
class Ready:
    """A run that is ready to train; nothing of it is written yet."""

    config: Config
    """Configuration, resolved."""
    folder: Path
    lock: Lock | None
    """Lock of a run that is resumed, in the process that writes its files."""
    task: Task
    batches: Batches
    backend: Backend
    position: Checkpoint
    """Place where it begins."""
    total: int
    """Optimizer steps at the end."""


def prepare(
    config: Config,
    folder: Path,
    overwrite: bool,
    resume: bool,
    stack: ExitStack,
    team: Team = ALONE,
    backend: Backend | None = None,
    task: Task | None = None,
) -> Ready:
    """Loads what a run needs and refuses what cannot be trained.

    Args:
        config: resolved.
        folder, overwrite, resume, task: as in `shared.training.train`.
        stack: holds the lock of a run that is resumed.
        team: processes that train it. Only the first one looks at the folder.
        backend: one that is loaded already, for a configuration that differs in its seed alone.

    Raises:
        InvalidInput: as `train`.
    """
    check_same_program(team, config, {"--resume": resume, "--overwrite": overwrite})
    own, before = None, None
    with team.agreed():
        if team.first:
            own, before = _look(config, folder, overwrite, resume, stack)
    before = team.of_first(before)
    assert before is not None
    Thread(target=import_backend, args=(config.backend,)).start()  # beside the data
    task = load_together(partial(_data, config, folder, resume, task), team)
    # A daemon: nobody waits for it where the framework refuses.
    hashing = Thread(target=getattr, args=(task, "fingerprint"), daemon=True)
    hashing.start()
    with team.agreed():
        batches = training_batches(config, task, team)
        total = _total(config, batches)
        backend = backend or load_backend(config, task.signature, team, batches.batch_size)
    hashing.join()
    check_same_data(team, task)
    position = None
    with team.agreed():
        if team.first:
            position = _position(config, task, batches, folder, resume, before, total)
    position = team.of_first(position)
    assert position is not None
    return Ready(config, folder, own, task, batches, backend, position, total)


def _look(
    config: Config, folder: Path, overwrite: bool, resume: bool, stack: ExitStack
) -> tuple[Lock | None, run_folder.Status]:
    """Refuses a folder that the run must not go to; returns the lock of one that is resumed, and
    its progress."""
    if resume:
        run_folder.check_run(folder, "--resume")
    own = stack.enter_context(lock.held(folder, "--resume")) if resume else None
    before = run_folder.status(folder)
    if resume:
        check_resumable(folder, config)
    else:
        run_folder.check_free(folder, overwrite)
    check_available(config)
    return own, before


def _total(config: Config, batches: Batches) -> int:
    """Returns the optimizer steps at the end."""
    total = config.epochs * batches.per_epoch
    if config.log_every > total:
        raise InvalidInput(
            f"--log-every: expected at most the {total} steps of the run, got {config.log_every}"
        )
    return total


def _position(
    config: Config,
    task: Task,
    batches: Batches,
    folder: Path,
    resume: bool,
    before: run_folder.Status,
    total: int,
) -> Checkpoint:
    """Returns the place where a run begins.

    Args:
        before: its progress so far.
    """
    if resume and before.finished and before.step is None:
        raise InvalidInput(
            f"--resume {folder}: expected the checkpoints of a finished run, got none; "
            f"{checkpoint.anew(folder)}"
        )
    if resume and before.step is not None:
        position = last_position(config, task, batches, folder)
    else:
        position = Checkpoint(first_position(config, task), task.fingerprint)
    reached = position.snapshot.step
    if resume and (reached > total or (reached == total and before.finished)):
        raise InvalidInput(
            f"--resume {folder}: already trained for {reached // batches.per_epoch} epochs; "
            f"expected --epochs above, got {config.epochs}"
        )
    return position


def _data(config: Config, folder: Path, resume: bool, task: Task | None) -> Task:
    """Returns the data that was given, or else loads it.

    Raises:
        InvalidInput: data and configuration do not fit, or the data of the run was given in Python
            and is not given again.
    """
    if task is None:
        if resume and getattr(config.data, "path", None) == ():
            raise InvalidInput(
                f"--resume {folder}: the data of this run was given in Python; resume it there: "
                f"rnn_parity.fit(task, folder={str(folder)!r}, resume=True)"
            )
        return load_task(config)
    if task.name != config.task:
        raise InvalidInput(f"expected data of task {config.task}, got that of {task.name}")
    check_fits(config, task)
    return task
