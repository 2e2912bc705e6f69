"""Runs of several seeds as jobs for a cluster; their folders are those that one program leaves."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from shared.config import Config
from shared.errors import InvalidInput
from shared.jobs import Job, ready, run_jobs
from shared.runs.seeds import FILE, are_in, read_shared_config, save_seeds, seed_folder
from shared.system.folders import reserved
from shared.system.signals import Interrupted, number_of
from shared.training.resume import check_resumable
from shared.training.seeds import check_free, remove_runs
from shared.training.train import check_purpose


class Seeds(NamedTuple):
    """A configuration to train from several seeds, or from its own."""

    config: Config
    """Resolved."""
    seeds: Sequence[int]
    """None is a single run, from the configuration's own seed."""
    folder: Path
    overwrite: bool
    resume: bool

    @property
    def jobs(self) -> list[Job]:
        if not self.seeds:
            return [Job(self.config, self.folder, self.overwrite, self.resume)]
        return [
            Job(
                replace(self.config, seed=seed),
                seed_folder(self.folder, seed),
                self.overwrite,
                self.resume,
            )
            for seed in self.seeds
        ]


def train_over_cluster(
    several: Sequence[Seeds], cluster: str, tune_allocator: bool, later: str
) -> None:
    """Trains all runs that are not done, each as a job.

    Args:
        cluster: as `run_jobs` has it.
        later: how an interrupted training goes on.

    Raises:
        InvalidInput: a folder or the cluster cannot be used; nothing was written.
        SystemExit, Interrupted: as `run_jobs`.
    """
    for one in several:
        _check(one)
    plan = [job for one in several for job in one.jobs]
    with ExitStack() as stack:
        stack.enter_context(ready(plan, cluster))
        for one in several:
            if one.seeds:
                stack.enter_context(reserved(one.folder, "--out"))
                if one.overwrite:
                    remove_runs(one.folder)
                    one.folder.mkdir(parents=True, exist_ok=True)
                save_seeds(one.folder, one.seeds, one.config)
        try:
            run_jobs(plan, cluster=cluster, tune_allocator=tune_allocator)
        except KeyboardInterrupt as stop:
            raise Interrupted(number_of(stop), f"interrupted; {later}") from stop


def _check(one: Seeds) -> None:
    """Refuses a folder that these runs must not write to.

    Raises:
        InvalidInput: it holds other runs, or anything else.
    """
    check_purpose(one.folder, one.overwrite, one.resume)
    if not one.seeds:
        return  # run_jobs does it
    if not one.resume:
        check_free(one.folder, one.overwrite)
    elif not are_in(one.folder):
        raise InvalidInput(
            f"--resume {one.folder}: expected a folder of several seeds, with a {FILE}"
        )
    else:
        check_resumable(one.folder, one.config, read_shared_config(one.folder))
