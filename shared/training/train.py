"""The way to train: configuration → data, backend, steps, evaluations → a run folder.

    summary = train(config, Path("runs/hello-1"))

What can be refused is refused before anything is written (`prepare.py`); then the steps are taken
(`loop.py`), and what comes of them is written (`record.py`). `seeds.py` does it for several seeds.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from shared.config import Config, resolve
from shared.errors import InvalidInput, LostProcess
from shared.inference import evaluation
from shared.protocol.backend import State
from shared.protocol.processes import is_lost, joined, lost
from shared.runs import predictions, run_folder
from shared.runs.history import History
from shared.runs.schema import save_schema, schema_of
from shared.runs.scores import Scores
from shared.runs.summary import Summary, summarize
from shared.runs.tensorboard import Events
from shared.system import lock
from shared.system.signals import Interrupted, Interruption, number_of
from shared.tasks.task import Task
from shared.training.loop import take_steps
from shared.training.prepare import Ready, prepare
from shared.training.progress import Progress
from shared.training.record import Files, Record
from shared.training.resume import resumption

NOTICE = "stopping after the steps at hand, with a checkpoint; once more stops at once"
UNTOUCHED = "interrupted before anything was written"


def train(
    config: Config,
    folder: Path | str,
    *,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
    task: Task | None = None,
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
            settings only those in `shared.config.options.RESUMABLE` may be others.
        quiet: print nothing.
        task: the data, if it is in memory already; None loads it.

    Returns:
        What summary.json holds.

    Raises:
        InvalidInput: something given cannot be used; nothing was written.
        TrainingDiverged: a loss or a gradient is not finite; the last good checkpoint stays.
        Interrupted: a signal came; the message says how to go on.
        OSError: a file cannot be written, such as on a full disk; the message says how to go on.
    """
    folder = Path(folder)
    check_purpose(folder, overwrite, resume)
    started = time.perf_counter()
    with ExitStack() as stack:
        config = resolve(config)
        team = stack.enter_context(joined(config))
        try:
            ready = prepare(config, folder, overwrite, resume, stack, team, task=task)
        except KeyboardInterrupt as stop:
            raise Interrupted(number_of(stop), UNTOUCHED) from stop
        (summary,) = train_together([ready], overwrite, quiet, started, stack)
        return summary


def check_purpose(folder: Path, overwrite: bool, resume: bool) -> None:
    """Refuses to continue a run and to replace it at once.

    Raises:
        InvalidInput: both are wanted.
    """
    if overwrite and resume:
        raise InvalidInput(f"{folder}: expected overwrite or resume, got both")


def train_together(
    runs: Sequence[Ready], overwrite: bool, quiet: bool, started: float, stack: ExitStack
) -> list[Summary]:
    """Trains runs that differ in their seed alone, the steps of several in one call of the backend.

    Args:
        runs: runs at the same step, of one backend.
        started: the `time.perf_counter` of their beginning.
        stack: holds their locks and files.
    """
    config, backend = runs[0].config, runs[0].backend
    records: list[Record] = []
    try:
        states = [backend.init(run.position.snapshot) for run in runs]
        for run in runs:
            records.append(_begin(run, overwrite, quiet, run is runs[0], len(runs), stack))
        with Interruption("" if quiet or not backend.team.first else NOTICE) as interruption:
            states = take_steps(records, states, interruption)
        return [_finish(one, state, started) for one, state in zip(records, states, strict=True)]
    except KeyboardInterrupt as stop:
        advice = _advice(runs[0], records)
        message = f"interrupted; {advice}" if advice else UNTOUCHED
        raise Interrupted(number_of(stop), message) from stop
    except OSError as error:
        advice = _advice(runs[0], records)
        if error.errno is None or advice is None:
            raise
        reason = f"{error.strerror}; when it can be, {advice}"
        raise OSError(error.errno, reason, error.filename) from error
    except (RuntimeError, ValueError) as error:
        if not is_lost(config, error):
            raise
        advice = _advice(runs[0], records)
        message = lost(backend.team) + (f"; {advice}" if advice else "")
        raise LostProcess(message) from error


def _begin(
    ready: Ready, overwrite: bool, quiet: bool, first: bool, together: int, stack: ExitStack
) -> Record:
    """Makes the run's folder, or a finished run unfinished again.

    Args:
        first: True for the run that a terminal's bar shows.
        together: how many seeds take their steps in one call.
    """
    config, folder, reached = ready.config, ready.folder, ready.position.snapshot.step
    metric, total = ready.task.metric, ready.total
    prefix = f"seed {config.seed}: " if together > 1 else ""
    files, written = None, ready.backend.team.first
    quiet = quiet or not written
    progress = stack.enter_context(Progress(reached, total, metric, quiet, prefix, bar=first))
    if written:
        files = _files(ready, overwrite, progress, stack)
    return Record(
        config=config,
        task=ready.task,
        backend=ready.backend,
        batches=ready.batches,
        folder=folder,
        files=files,
        progress=progress,
        position=ready.position,
        total=total,
        together=together,
    )


def _files(ready: Ready, overwrite: bool, progress: Progress, stack: ExitStack) -> Files:
    """Opens the files of a run."""
    config, folder, reached = ready.config, ready.folder, ready.position.snapshot.step
    if ready.lock is None:
        own = stack.enter_context(run_folder.created(folder, config, overwrite))
    else:
        own = ready.lock
        run_folder.reopen(folder, config)
    save_schema(folder, schema_of(config, ready.task))
    metric, log_every = ready.task.metric, config.log_every
    history = stack.enter_context(History(folder, metric, log_every, keep=reached))
    events = stack.enter_context(Events(folder, config, keep=reached))
    if ready.lock is not None:
        if own.stale is not None:
            progress.line(f"taking over {lock.FILE} of {own.stale}: nobody holds it any more")
        progress.line(resumption(config, folder, ready.position, ready.total))
    return Files(own, history, events)


def _finish(record: Record, state: State, started: float) -> Summary:
    """Scores the test part; the first process writes the summary, and all return it."""
    state, test = record.test(state)
    summary = None
    if record.files is not None:
        summary = _write_summary(record, record.files, state, test, started)
    summary = record.backend.team.of_first(summary)
    assert summary is not None
    return summary


def _write_summary(
    record: Record, files: Files, state: State, test: Scores, started: float
) -> Summary:
    task, backend = record.task, record.backend
    found = evaluation.predict(task, backend, state)
    test |= predictions.scores(task, found)
    generated = evaluation.written_on(task, backend, state)
    files.lock.check()
    saved = predictions.save(record.folder, found) if found else None
    digest = files.history.sync()
    summary = summarize(
        record.config,
        task,
        backend,
        final=record.reached,
        test=test,
        found=found,
        generated=generated,
        started=started,
        together=record.together,
        history=digest,
        saved=saved,
    )
    run_folder.save_summary(record.folder, summary)
    return summary


def _advice(run: Ready, records: Sequence[Record]) -> str | None:
    """Tells how a run that stops goes on; None if nothing of it is written yet."""
    folder, saved = run.folder, run.position.snapshot.step or None
    if records:
        saved = records[0].saved
    elif run.lock is None and not _is_written(run):
        return None
    if saved is None:
        return f"--resume {folder} begins anew: no checkpoint was due"
    return f"--resume {folder} goes on after step {saved}"


def _is_written(run: Ready) -> bool:
    """Tells whether the configuration in a new run's folder is already its own, and not that of
    the run that it replaces."""
    try:
        return run_folder.read_config(run.folder / run_folder.CONFIG) == run.config
    except InvalidInput:
        return False
