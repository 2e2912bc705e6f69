"""One run of two contenders: the same steps in both, and a diagnosis where they differ.

    config, task = load(settings)
    sides = contenders(config, task, ("jax/handcrafted", "torch/handcrafted"))
    lockstep, diagnosis = run(config, task, sides, planted=[], steps=1000, tolerance=1e-9)

`shared/lockstep.py` takes the steps; here is what a configuration must be for it, and where a
framework is loaded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shared import lockstep
from shared.config import Config
from shared.errors import InvalidInput
from shared.lockstep import Diagnosis, Lockstep, Side
from shared.start import check_fits
from shared.tasks import load_task
from shared.tasks.task import Task
from shared.validation import resolve

if TYPE_CHECKING:
    from rnn_jax.traps import Switch

MOST_STEPS = 1000


def load(settings: Config) -> tuple[Config, Task]:
    """The configuration, resolved, and its task; imports torch before anyone imports JAX.

    Raises:
        InvalidInput: the task has not what the configuration needs.
    """
    config = resolve(settings)
    task = load_task(config)
    check_fits(config, task)

    import torch

    torch.set_num_threads(1)  # a second thread only waits where tensors are small
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


def run(
    config: Config,
    task: Task,
    sides: tuple[Side, Side],
    planted: Sequence["Switch"],
    steps: int,
    tolerance: float,
    traces: Sequence[Path] = (),
) -> tuple[Lockstep, Diagnosis | None]:
    """The lockstep run, with what is planted in its first side; and a diagnosis if they differ."""
    first, second = sides
    observed = first
    if planted:
        from rnn_jax import traps

        observed = traps.switched(first, config, task, planted)
    ran = lockstep.run(config, observed, second, steps, tolerance, traces)
    if ran.comparison.equal or first.name != "jax/handcrafted":
        return ran, None
    from rnn_jax import traps

    suspects = traps.suspects(first, config, task, planted)
    return ran, lockstep.diagnose(config, ran, observed, second, suspects)


def title(config: Config) -> str:
    """Task and cell, such as "hello: rnn (tanh)"."""
    network = config.network
    cell = f"rnn ({network.nonlinearity})" if network.cell == "rnn" else network.cell
    return f"{config.task}: {cell}"
