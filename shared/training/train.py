"""The one way to train: configuration → task, batches, backend → a run folder.

    summary = train(config, Path("runs/hello-1"))

What can be refused is refused before anything is written; then `shared/training/loop.py` takes the
steps. `shared/runs/seeds.py` does the same for several seeds.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from shared.config import Config, resolve
from shared.errors import InvalidInput
from shared.inference import evaluation
from shared.inference.evaluation import written_on
from shared.protocol import Backend, load_backend
from shared.protocol.backend import State, first_snapshot, import_backend
from shared.protocol.batching import Batches
from shared.runs import checkpoint, predictions, run_folder
from shared.runs.checkpoint import Checkpoint
from shared.runs.history import History
from shared.runs.schema import save_schema, schema_of
from shared.runs.summary import Summary, summarize
from shared.runs.tensorboard import Events, check_available
from shared.system import lock
from shared.system.lock import Lock
from shared.system.signals import Interruption
from shared.tasks import load_task
from shared.tasks.batches import training_batches
from shared.tasks.task import Task
from shared.training.loop import Loop, drive
from shared.training.progress import Progress
from shared.training.resume import check_resumable, last_position, resumption

NOTICE = "stopping after the steps at hand, with a checkpoint; once more stops at once"


class Ready(NamedTuple):
    """A run that nothing speaks against. Nothing of it is written yet."""

    config: Config
    """Resolved."""
    folder: Path
    lock: Lock | None
    """Of a run that is resumed."""
    task: Task
    batches: Batches
    backend: Backend
    position: Checkpoint
    """Where it begins."""
    total: int
    """Optimizer steps in the end."""


def train(
    config: Config,
    folder: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
) -> Summary:
    """Trains as configured and leaves a run folder.

    A first SIGINT or SIGTERM lets the steps at hand finish and writes a checkpoint, a second one
    stops at once.

    Args:
        config: what to do; it is resolved here.
        folder: where the run goes; with `resume`, where it lies.
        overwrite: replace a run that lies there.
        resume: go on from the last checkpoint in the folder, up to `config.epochs`; a run that was
            stopped after its last step is scored, and one that has no checkpoint yet begins. Of the
            settings only those in `shared.training.resume.RESUMABLE` may be others.
        quiet: print nothing.

    Returns:
        What summary.json holds.

    Raises:
        InvalidInput: something given cannot be used; nothing was written.
        TrainingDiverged: a loss or a gradient is not finite; the last good checkpoint stays.
        Interrupted: a signal came; `resume` goes on.
        OSError: a file cannot be written, such as on a full disk; `resume` goes on.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        ready = prepare(resolve(config), folder, overwrite, resume, stack)
        (summary,) = train_together([ready], overwrite, quiet, started, stack)
        return summary


def prepare(
    config: Config,
    folder: Path,
    overwrite: bool,
    resume: bool,
    stack: ExitStack,
    backend: Backend | None = None,
) -> Ready:
    """Loads what a run needs and refuses what cannot be trained.

    Args:
        config: resolved.
        stack: holds the lock of a run that is resumed.
        backend: one that is loaded already, for a configuration that differs in its seed alone.

    Raises:
        InvalidInput: as `train`.
    """
    own = None
    if resume:
        own = stack.enter_context(lock.held(folder, "--resume"))
        check_resumable(folder, config)
    else:
        run_folder.check_free(folder, overwrite)
    Thread(target=import_backend, args=(config.backend,)).start()  # beside the data
    check_available(config)
    task = load_task(config)
    batches = training_batches(config, task)
    total = config.epochs * batches.per_epoch
    if config.log_every > total:
        raise InvalidInput(
            f"--log-every: expected at most the {total} steps of the run, got {config.log_every}"
        )
    # A daemon: nobody waits for it where the framework refuses.
    hashing = Thread(target=getattr, args=(task, "fingerprint"), daemon=True)
    hashing.start()
    backend = backend or load_backend(config, task.signature)
    hashing.join()
    begun = resume and bool(checkpoint.steps(folder))
    if resume and not begun and (folder / run_folder.SUMMARY).exists():
        raise InvalidInput(
            f"--resume {folder}: expected the checkpoints of a finished run, got none; "
            f"{checkpoint.anew(folder)}"
        )
    position = (
        last_position(config, task, batches, folder)
        if begun
        else Checkpoint(first_snapshot(config, task.signature), task.fingerprint)
    )
    reached, scored = position.snapshot.step, (folder / run_folder.SUMMARY).exists()
    if resume and (reached > total or (reached == total and scored)):
        raise InvalidInput(
            f"--resume {folder}: already trained for {reached // batches.per_epoch} epochs; "
            f"expected --epochs above, got {config.epochs}"
        )
    return Ready(config, folder, own, task, batches, backend, position, total)


def train_together(
    runs: Sequence[Ready], overwrite: bool, quiet: bool, started: float, stack: ExitStack
) -> list[Summary]:
    """Trains runs that differ in their seed alone, the steps of several in one call of the backend.

    Args:
        runs: at the same step, of one backend.
        started: the `time.perf_counter` of their beginning.
        stack: holds their locks and files.
    """
    backend = runs[0].backend
    states = [backend.init(run.position.snapshot) for run in runs]
    loops = [_begin(run, overwrite, quiet, run is runs[0], len(runs), stack) for run in runs]
    with Interruption("" if quiet else NOTICE) as interruption:
        steps = [loop.run(state, interruption) for loop, state in zip(loops, states, strict=True)]
        states = drive(backend, steps)
    return [_finish(loop, state, started) for loop, state in zip(loops, states, strict=True)]


def _begin(
    ready: Ready, overwrite: bool, quiet: bool, first: bool, together: int, stack: ExitStack
) -> Loop:
    """Makes the run's folder, or a finished run unfinished again.

    Args:
        first: it is the one that a terminal's bar is for.
        together: how many seeds take their steps in one call.
    """
    config, folder, own, task, batches, backend, position, total = ready
    if own is None:
        own = stack.enter_context(run_folder.created(folder, config, overwrite))
    else:
        run_folder.reopen(folder, config)
    save_schema(folder, schema_of(config, task))
    reached = position.snapshot.step
    writer = History(folder, task.metric, config.log_every, keep=reached)
    stack.enter_context(writer)
    events = stack.enter_context(Events(folder, config, keep=reached))
    prefix = f"seed {config.seed}: " if together > 1 else ""
    progress = Progress(reached, total, task.metric, quiet, prefix, bar=first)
    stack.enter_context(progress)
    if ready.lock is not None:
        if own.stale is not None:
            progress.line(f"taking over {lock.FILE} of {own.stale}: nobody holds it any more")
        progress.line(resumption(config, folder, position, total))
    return Loop(
        config, task, backend, batches, own, writer, events, progress, position, total, together
    )


def _finish(loop: Loop, state: State, started: float) -> Summary:
    """Scores the test part and writes the summary."""
    config, task, backend = loop.config, loop.task, loop.backend
    state, test = loop.test(state)
    found = evaluation.predict(task, backend, state)
    test |= predictions.scores(task, found)
    generated = written_on(task, backend, state)
    loop.lock.check()
    saved = predictions.save(loop.folder, found) if found else None
    digest = loop.history.sync()
    summary = summarize(
        config, task, backend, loop.reached, test, found, generated, started, loop.together,
        digest, saved,
    )  # fmt: skip
    run_folder.save_summary(loop.folder, summary)
    return summary
