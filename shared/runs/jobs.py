"""Runs that are still to be trained: each task in each framework from each seed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from shared.config import Config, resolve
from shared.errors import InvalidInput
from shared.runs import run_folder
from shared.runs.run import read_run
from shared.runs.run_folder import read_config
from shared.tasks.registry import WITH_DATA, row

BACKENDS: tuple[Literal["jax", "torch"], ...] = ("jax", "torch")


@dataclass(frozen=True)
class Job:
    """One run of the suite."""

    config: Config
    folder: Path

    @property
    def state(self) -> Literal["done", "stopped", "new"]:
        """State of the run's training; "stopped" if it has begun but is not finished.

        Raises:
            InvalidInput: its folder holds a run with other settings, or a damaged one.
        """
        status = run_folder.status(self.folder)
        if not status.begun:
            return "new"
        found = read_config(self.folder / run_folder.CONFIG)
        if found != self.config:
            raise InvalidInput(
                f"{self.folder}: expected a run with the settings of this version, got another; "
                "move it away"
            )
        if status.finished:
            read_run(self.folder)  # what is damaged is known before others are trained
            return "done"
        return "stopped"


def jobs(tasks: Sequence[str], seeds: Sequence[int], folder: Path) -> list[Job]:
    """Returns all runs, task by task.

    Raises:
        InvalidInput: an unknown task, a task or seed named twice, or none.
    """
    for task in tasks:
        if task not in WITH_DATA:
            raise InvalidInput(f"--tasks: expected any of {', '.join(WITH_DATA)}, got {task}")
    for name, given in (("--tasks", tasks), ("--seeds", seeds)):
        if not given or len(set(given)) < len(given):
            got = " ".join(map(str, given)) or "none"
            raise InvalidInput(f"{name}: expected one or more, each once, got {got}")
    return [
        Job(
            resolve(replace(row(task).defaults, backend=backend, seed=seed)),
            folder / f"{task}-{backend}-{seed}",
        )
        for task in tasks
        for seed in seeds
        for backend in BACKENDS
    ]
