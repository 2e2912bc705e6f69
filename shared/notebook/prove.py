"""Proof in Python that both frameworks train the same on a task, or what differs first."""

import sys
from dataclasses import replace
from typing import Any

from shared.config import resolve
from shared.errors import InvalidInput
from shared.notebook.options import with_options
from shared.notebook.tasks import Problem, check_problem
from shared.parity import Findings, lockstep
from shared.parity.comparison import PROVED, check_tolerance
from shared.parity.planting import run_planted
from shared.protocol.backend import import_backend
from shared.tasks import load_task

OWN = ("backend", "implementation", "precision")


def prove(
    task: Problem,
    *,
    steps: int | None = None,
    contenders: tuple[str, str] = ("jax/handcrafted", "torch/handcrafted"),
    tolerance: float = PROVED,
    **options: Any,
) -> Findings:
    """Takes the same steps in both frameworks, in float64, and compares all that they compute.

    It is `rnn-parity parity` for a task that is in memory. Nothing is written:
    `write_parity_report` makes pages of the findings.

    Args:
        task: made by `forecast`, `sequences`, `labels`, `pairs` or `task`.
        steps: how many, from the first; None takes all of the run, but at most 1000.
        contenders: backend and implementation of both sides.
        tolerance: largest deviation that counts as equal.
        options: as in `fit`.

    Returns:
        Findings, whose `verdicts` are lines that say what was found.

    Raises:
        InvalidInput: an option cannot be used.
    """
    check_problem(task, "prove")
    check_tolerance(tolerance)
    for name in OWN:
        if name in options:
            raise InvalidInput(f"prove: expected contenders, in float64, got the option {name}")
    if steps is not None and steps < 1:
        raise InvalidInput(f"steps: expected a positive number, got {steps}")
    known = {
        f"{backend}/{kind}" for backend in ("jax", "torch") for kind in ("handcrafted", "native")
    }
    for name in contenders:
        if name not in known:
            raise InvalidInput(
                f"contenders: expected two of {', '.join(sorted(known))}, got {name}"
            )
    config = resolve(replace(with_options(task.config, options, "prove"), precision="float64"))
    data = task.data_for(config) or load_task(config)
    if "jax" not in sys.modules:
        import_backend("torch")  # importing it after JAX has crashed
    sides = lockstep.sides(config, data, contenders)
    count = lockstep.count_steps(steps, config, sides[0])
    ran, diagnosis = run_planted(config, data.signature, sides, (), count, tolerance)
    return Findings(ran.comparison, ran.losses, diagnosis, sides=sides, config=config)
