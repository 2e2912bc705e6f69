"""Comparison of both frameworks over the same steps, and a text for them."""

import numpy as np

from shared.config import Config
from shared.parity import lockstep
from shared.parity.comparison import Comparison
from shared.protocol.trace import PHASES_OF_A_RUN, phase_of
from shared.tasks import load_task

TEXT = "".join(np.random.default_rng(5).choice(list("abcdefgh \n"), 400))


def compared(config: Config, steps: int) -> Comparison:
    task = load_task(config)
    sides = (lockstep.side(config, task, name) for name in ("jax/handcrafted", "torch/handcrafted"))
    comparison = lockstep.run(config, *sides, steps=steps).comparison
    phases = {phase_of(name) for name in comparison.deviations}
    without_moments = config.optimization.optimizer == "sgd" and not config.optimization.momentum
    assert phases == set(PHASES_OF_A_RUN) - ({"moments"} if without_moments else set())
    assert len(comparison.steps) == steps
    return comparison
