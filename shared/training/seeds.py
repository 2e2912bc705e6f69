"""The same configuration trained from several seeds.

summaries = train_seeds(config, [0, 1, 2], Path("runs/hello-2"))   # a folder as in seeds.py
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from shared.config import Config, resolve
from shared.errors import InvalidInput
from shared.protocol import Backend
from shared.runs import checkpoint, run_folder
from shared.runs.seeds import FILE, NAME, are_in, read_shared_config, save_seeds, seed_folder
from shared.runs.summary import Summary
from shared.system import lock
from shared.system.files import TEMPORARY
from shared.system.folders import occupants, remove, reserved
from shared.training import calls
from shared.training.resume import check_resumable
from shared.training.train import Ready, prepare, train_together


def train_seeds(
    config: Config,
    seeds: Sequence[int],
    folder: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
) -> list[Summary]:
    """Trains from several seeds, each in a run folder of its own.

    Where the backend is faster so (`Backend.together`), the steps of all seeds are taken in one
    program; elsewhere one seed is trained after the other.

    Args:
        config: of all; its own seed does not count.
        seeds: one or more, each once.
        folder, overwrite, quiet: as in `shared.training.train.train`.
        resume: finish the seeds of a folder; those that are finished stay as they are.

    Returns:
        Of each seed that was trained now.

    Raises:
        As `shared.training.train.train`; the seeds that are done by then stay.
    """
    left = {seed: resolve(replace(config, seed=seed)) for seed in seeds}
    if resume:
        check_resumable(folder, resolve(config), read_shared_config(folder))
        left = {seed: own for seed, own in left.items() if not _finished(folder, own)}
    else:
        check_free(folder, overwrite)
    begun = False
    summaries = []
    while left:
        started = time.perf_counter()
        with ExitStack() as stack:
            first, *others = left.values()
            group = [_prepare(folder, first, overwrite, stack)]
            for other in others:
                if _may_join(group[0], folder, other, overwrite):
                    one = _prepare(folder, other, overwrite, stack, group[0].backend)
                    group += [one] * _alike(group[0], one)
            if not begun:
                stack.enter_context(reserved(folder, "--out"))
                if not resume:
                    _clear(folder)
                save_seeds(folder, seeds, resolve(config))
                begun = True
            summaries += train_together(group, overwrite, quiet, started, stack)
        for run in group:
            del left[run.config.seed]
    return summaries


def _prepare(
    folder: Path,
    config: Config,
    overwrite: bool,
    stack: ExitStack,
    backend: Backend | None = None,
) -> Ready:
    own = seed_folder(folder, config.seed)
    resume = not overwrite and (own / run_folder.CONFIG).is_file()
    return prepare(config, own, overwrite, resume, stack, backend)


def _finished(folder: Path, config: Config) -> bool:
    """Whether a seed is trained as far as that.

    Raises:
        InvalidInput: its run has other settings than the folder's.
    """
    own = seed_folder(folder, config.seed)
    if not (own / run_folder.CONFIG).exists():
        return False
    check_resumable(own, config)
    reached = run_folder.read_config(own / run_folder.CONFIG).epochs
    return (own / run_folder.SUMMARY).exists() and reached == config.epochs


def _may_join(first: Ready, folder: Path, other: Config, overwrite: bool) -> bool:
    """Whether another seed's steps belong into one call with the first's."""
    if first.config.detect_anomaly or other.seed == first.config.seed:
        return False
    kept = [] if overwrite else checkpoint.steps(seed_folder(folder, other.seed))
    reached = kept[-1] if kept else 0
    operations = calls.operations(first.config, first.task.signature, first.batches)
    return reached == first.position.snapshot.step and first.backend.together(operations)


def _alike(first: Ready, other: Ready) -> bool:
    """Whether the batches of two seeds have the same shapes."""

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
    """Removes all runs of a folder, first what names it as one of seeds: what is left, if this is
    interrupted, is taken for nothing else."""
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
