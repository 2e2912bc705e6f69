"""Runs two sides in lockstep with traps planted in the JAX side, and diagnoses the difference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.config import Config, resolve
from shared.parity import lockstep
from shared.parity.diagnosis import Diagnosis, diagnose
from shared.parity.lockstep import Lockstep, Side
from shared.protocol.backend import part_of
from shared.protocol.dataset import Signature
from shared.tasks import load_task
from shared.tasks.task import Task

ABLE = "jax/handcrafted"
"""Contender in which traps can be planted, and so be suspected."""


def load(settings: Config) -> tuple[Config, Task]:
    """Returns the resolved configuration and its task; loads torch before anyone loads JAX.

    Raises:
        InvalidInput: a setting or the data cannot be used.
    """
    config = resolve(settings)
    task = load_task(config)
    part_of("torch", "devices").use_one_thread()
    return config, task


def find_switch(name: str, config: Config, side: Side) -> Any:
    """Returns a trap as code of the JAX backend: "gates" in its first variant, or
    "gates:transposed".

    Raises:
        InvalidInput: there is no such trap or variant, or it changes nothing in such a run.
    """
    return part_of("jax", "traps").find_switch(name, config, side.batches)


def run_planted(
    config: Config,
    signature: Signature,
    sides: tuple[Side, Side],
    planted: Sequence[Any],
    steps: int,
    tolerance: float,
    traces: Sequence[Path] = (),
) -> tuple[Lockstep, Diagnosis | None]:
    """Runs two sides in lockstep; where they differ, tries each trap as the cause.

    Args:
        config: resolved.
        planted: switches from `find_switch`, to be switched on in the first side; may be empty.
        steps, tolerance, traces: as `shared.parity.lockstep.run`.
    """
    first, second = sides
    observed = first
    if planted:
        observed = part_of("jax", "traps").switched(first, config, signature, planted)
    ran = lockstep.run(config, observed, second, steps, tolerance, traces)
    if ran.comparison.equal or first.name != ABLE:
        return ran, None
    suspects = part_of("jax", "traps").suspects(first, config, signature, planted)
    return ran, diagnose(config, ran, observed, second, suspects)
