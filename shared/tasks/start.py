"""The beginning of a run: weights drawn from the seed, the linear highway at least squares.

Gradient descent would take long to find what least squares has at once: the neighbouring steps of a
window are nearly the same. So the network begins at the linear model and learns what that misses.
"""

import numpy as np

from shared.config import Config
from shared.protocol import Snapshot
from shared.protocol.backend import first_snapshot
from shared.tasks import regression
from shared.tasks.task import Task

RIDGE = 1e-3
"""Penalty of a squared coefficient, in multiples of the number of sequences."""
HEAD = 0.1
"""Factor of the head's drawn weights beside a highway, so that what it adds begins small."""


def first_position(config: Config, task: Task) -> Snapshot:
    """Returns the state of a run at step 0, the same in every framework.

    A highway over more than `regression.LARGEST` numbers starts from the weights that are drawn.

    Raises:
        InvalidInput: the machine has no memory for the weights, their gradients and moments.
    """
    start = first_snapshot(config, task.signature)
    steps = config.network.highway
    if not steps or steps * task.signature.input_size > regression.LARGEST:
        return start
    weights = dict(start.weights)
    coefficients = regression.fit(task.train, steps, RIDGE)
    fitted = {"head.bias": coefficients[0], "highway.weight": coefficients[1:].T}
    for name, values in fitted.items():
        weights[name] = np.ascontiguousarray(values).astype(config.precision)
    weights["head.weight"] = weights["head.weight"] * weights["head.weight"].dtype.type(HEAD)
    return start._replace(weights=weights)
