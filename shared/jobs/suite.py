"""The runs of a suite: each task in each framework from each seed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from shared.config import resolve
from shared.errors import InvalidInput
from shared.jobs.job import Job
from shared.tasks.registry import WITH_DATA, row

BACKENDS: tuple[Literal["jax", "torch"], ...] = ("jax", "torch")


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
