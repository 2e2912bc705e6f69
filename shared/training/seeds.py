"""The same configuration trained from several seeds.

summaries = train_seeds(config, [0, 1, 2], Path("runs/hello-2"))   # a folder as in seeds.py
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

from shared.config import Config, resolve
from shared.errors import InvalidInput
from shared.protocol import Backend
from shared.protocol.processes import joined
from shared.runs import run_folder
from shared.runs.seeds import (
    FILE,
    NAME,
    are_in,
    read_seeds,
    read_shared_config,
    save_seeds,
    seed_folder,
)
from shared.runs.summary import Summary
from shared.system import lock
from shared.system.files import TEMPORARY
from shared.system.folders import occupants, remove, reserved
from shared.system.signals import Interrupted, number_of
from shared.system.team import Team
from shared.tasks.task import Task
from shared.training import calls
from shared.training.prepare import Ready, prepare
from shared.training.resume import check_resumable
from shared.training.train import UNTOUCHED, check_purpose, train_together


def train_seeds(
    config: Config,
    seeds: Iterable[int],
    folder: Path | str,
    *,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
    task: Task | None = None,
) -> list[Summary]:
    """Trains from several seeds, each in a run folder of its own.

    Where the backend is faster so (`Backend.together`), the steps of all seeds are taken in one
    program; elsewhere one seed is trained after the other.

    Args:
        config: shared by all; its own seed does not count.
        seeds: one or more, each once; with `resume`, those of the folder.
        folder: where the runs go; with `resume`, where they lie.
        overwrite: replace the runs that lie there.
        quiet: print nothing.
        resume: finish the seeds of a folder; those that are finished stay as they are.
        task: the data of all seeds, if it is in memory already; None loads it for each.

    Returns:
        The summary of each seed that was trained now.

    Raises:
        InvalidInput: something given cannot be used; nothing was written.
        TrainingDiverged: a loss or a gradient is not finite.
        Interrupted: a signal came; the message says how to go on.
        OSError: a file cannot be written; the message says how to go on. The seeds that are done
            by then stay, whatever is raised.
    """
    folder = Path(folder)
    config, seeds = resolve(config), _integers(seeds)
    with joined(config) as team:
        left = None
        with team.agreed():
            if team.first:
                left = _left(config, seeds, folder, overwrite, resume)
        left = team.of_first(left)
        assert left is not None
        how = _Purpose(folder, seeds, config, overwrite, resume, quiet, team)
        return _train(how, left, task)


class _Purpose(NamedTuple):
    """What `train_seeds` was asked for."""

    folder: Path
    seeds: Sequence[int]
    config: Config
    overwrite: bool
    resume: bool
    quiet: bool
    team: Team


def _train(how: _Purpose, left: dict[int, Config], task: Task | None) -> list[Summary]:
    """Trains the seeds that are left, group after group."""
    folder, begun = how.folder, False
    summaries: list[Summary] = []
    try:
        while left:
            started = time.perf_counter()
            with ExitStack() as stack:
                group = _group(how, [*left.values()], stack, task)
                if not begun:
                    with how.team.agreed():
                        if how.team.first:
                            _begin(how, stack)
                    begun = True
                summaries += train_together(group, how.overwrite, how.quiet, started, stack)
            for run in group:
                del left[run.config.seed]
    except KeyboardInterrupt as stop:
        advice = f"; --resume {folder} finishes the seeds that are not done"
        message = f"interrupted{advice}" if begun else UNTOUCHED
        raise Interrupted(number_of(stop), message) from stop
    except OSError as error:
        if not begun or error.errno is None:
            raise
        raise _advised(error, folder) from error
    return summaries


def _begin(how: _Purpose, stack: ExitStack) -> None:
    """Makes the folder of the seeds."""
    stack.enter_context(reserved(how.folder, "--out"))
    if not how.resume:
        _clear(how.folder)
    save_seeds(how.folder, how.seeds, how.config)


def _left(
    config: Config, seeds: Sequence[int], folder: Path, overwrite: bool, resume: bool
) -> dict[int, Config]:
    """Returns the seeds that are to be trained, each with its configuration.

    Raises:
        InvalidInput: the folder holds something else than these seeds of this configuration.
    """
    check_purpose(folder, overwrite, resume)
    left = {seed: replace(config, seed=seed) for seed in seeds}
    if not resume:
        check_free(folder, overwrite)
        return left
    if not are_in(folder):
        raise InvalidInput(f"--resume {folder}: expected a folder of several seeds, with a {FILE}")
    check_resumable(folder, config, read_shared_config(folder))
    if {*seeds} != {*read_seeds(folder)}:
        expected, got = (" ".join(map(str, some)) for some in (read_seeds(folder), seeds))
        raise InvalidInput(
            f"--resume {folder}: expected its own seeds {expected}, got {got}; other seeds go to a "
            "folder of their own"
        )
    return {seed: own for seed, own in left.items() if not _finished(folder, own)}


def _integers(seeds: Iterable[int]) -> list[int]:
    """Returns seeds as integers, also those of NumPy.

    Raises:
        InvalidInput: none, one twice, or anything else.
    """
    several = not isinstance(seeds, str) and isinstance(seeds, Iterable)  # pyright: ignore
    given: list[Any] = [*seeds] if several else [seeds]
    right = [not isinstance(seed, bool) and hasattr(seed, "__index__") for seed in given]
    found = [index(seed) for seed in given] if several and all(right) else []
    if not found or len({*found}) < len(found) or not all(0 <= seed < 2**63 for seed in found):
        got = repr(given if several else seeds)
        expected = "one or more integers from 0 to 2^63 - 1, each once"
        raise InvalidInput(f"seeds: expected {expected}, got {got}")
    return found


def _advised(error: OSError, folder: Path) -> OSError:
    """Returns the error of one seed's run with the advice that holds for the folder."""
    failure = error.__cause__ if isinstance(error.__cause__, OSError) else error
    advice = f"when it can be, --resume {folder} finishes the seeds that are not done"
    return OSError(error.errno, f"{failure.strerror}; {advice}", error.filename)


def _group(
    how: _Purpose, left: Sequence[Config], stack: ExitStack, task: Task | None
) -> list[Ready]:
    """Returns the first seed that is left, and the seeds whose steps are taken together with its
    own."""
    first = _prepare(how, left[0], stack, task)
    group = [first]
    for other in left[1:]:
        if _may_join(first, how.folder, other, how.overwrite):
            one = _prepare(how, other, stack, task, first.backend)
            group += [one] * _alike(first, one)
    return group


def _prepare(
    how: _Purpose,
    config: Config,
    stack: ExitStack,
    task: Task | None,
    backend: Backend | None = None,
) -> Ready:
    own = seed_folder(how.folder, config.seed)
    resume = how.team.of_first(not how.overwrite and run_folder.status(own).begun)
    return prepare(config, own, how.overwrite, resume, stack, how.team, backend, task)


def _finished(folder: Path, config: Config) -> bool:
    """Tells whether a seed is trained for as many epochs as this configuration has.

    Raises:
        InvalidInput: its run has other settings than the folder's.
    """
    own = seed_folder(folder, config.seed)
    status = run_folder.status(own)
    if not status.begun:
        return False
    before = run_folder.read_config(own / run_folder.CONFIG)
    check_resumable(own, config, before)
    return status.finished and before.epochs == config.epochs


def _may_join(first: Ready, folder: Path, other: Config, overwrite: bool) -> bool:
    """Tells whether another seed's steps belong into one call with the first's."""
    if first.backend.team.several:  # whose folders only one of them sees
        return False
    if first.config.detect_anomaly or other.seed == first.config.seed:
        return False
    kept = None if overwrite else run_folder.status(seed_folder(folder, other.seed)).step
    reached = kept or 0
    operations = calls.operations(first.config, first.task.signature, first.batches)
    return reached == first.position.snapshot.step and first.backend.together(operations)


def _alike(first: Ready, other: Ready) -> bool:
    """Tells whether the batches of two seeds have the same shapes."""

    def shapes(run: Ready) -> list[object]:
        taken = run.batches.take(0, 1)
        return [None if part is None else (part.shape, part.dtype) for part in taken]

    return first.total == other.total and shapes(first) == shapes(other)


def check_free(folder: Path, overwrite: bool) -> None:
    """Refuses a folder that new runs must not write to.

    Raises:
        InvalidInput: it holds runs of other seeds and overwrite is False, or anything else.
    """
    names = {name for name in occupants(folder) if not TEMPORARY.fullmatch(name)}
    if not names:
        return
    strange = {name for name in names - {FILE, run_folder.CURVES} if not NAME.fullmatch(name)}
    if strange or (FILE not in names and not overwrite):
        raise InvalidInput(
            f"--out {folder}: expected a new or empty folder, got one with other files"
        )
    if not overwrite:
        raise InvalidInput(
            f"--out {folder}: holds other runs; continue them with --resume {folder}, replace them "
            "with --overwrite, or name another folder"
        )


def _clear(folder: Path) -> None:
    """Removes all runs of a folder, and first the file that names it as one of seeds. If this is
    interrupted, what is left is taken for nothing else."""
    remove(folder, (FILE, run_folder.CURVES))
    for name in occupants(folder):
        if NAME.fullmatch(name):
            _remove_run(folder / name)


def remove_runs(folder: Path) -> None:
    """Removes a run, or those of several seeds, and the folder if nothing else is in it."""
    if are_in(folder):
        _clear(folder)
        if not occupants(folder):
            folder.rmdir()
    elif folder.is_dir():
        _remove_run(folder)


def _remove_run(folder: Path) -> None:
    with lock.held(folder, "--overwrite"):
        run_folder.clear(folder)
    if not occupants(folder):
        folder.rmdir()
