"""What a proof is made of: a configuration and its task, two contenders, a number of steps.

config, task = load(settings)
sides = contenders(config, task, ("jax/handcrafted", "torch/handcrafted"))
ran = lockstep.run(config, *sides, count_steps(None, config, sides[0]))
"""

from collections.abc import Sequence

from shared import lockstep
from shared.config import Config
from shared.errors import InvalidInput
from shared.lockstep import Side
from shared.start import check_fits
from shared.tasks import load_task
from shared.tasks.task import Task
from shared.validation import resolve

MOST_STEPS = 1000


def load(settings: Config) -> tuple[Config, Task]:
    """The configuration, resolved, and its task.

    Raises:
        InvalidInput: the task has not what the configuration needs.
    """
    config = resolve(settings)
    task = load_task(config)
    check_fits(config, task)
    return config, task


def contenders(config: Config, task: Task, names: Sequence[str]) -> tuple[Side, Side]:
    """Both sides.

    Raises:
        InvalidInput: one of them draws dropout masks of its own.
    """
    first, second = (lockstep.side(config, task, name) for name in names)
    for side in (first, second):
        if "torch.nn draws its own dropout masks" in " ".join(side.backend.notes):
            raise InvalidInput(f"--contenders: {side.name}: {side.backend.notes[0]}")
    return first, second


def count_steps(wanted: int | None, config: Config, side: Side) -> int:
    """How many steps to take: those wanted, else all of the run but at most `MOST_STEPS`.

    Raises:
        InvalidInput: the run has fewer.
    """
    total = config.epochs * side.batches.per_epoch
    if wanted is not None and wanted > total:
        raise InvalidInput(
            f"--steps: expected at most the {total} steps of the run (--epochs {config.epochs}), "
            f"got {wanted}"
        )
    return wanted or min(total, MOST_STEPS)


def title(config: Config) -> str:
    """Task and cell, such as "hello: rnn (tanh)"."""
    network = config.network
    cell = f"rnn ({network.nonlinearity})" if network.cell == "rnn" else network.cell
    return f"{config.task}: {cell}"
