"""All that steps compute, operation by operation, or of all devices that share a batch."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from rnn_jax import scans, sharding
from rnn_jax.sharding import AXIS, WHOLE
from rnn_jax.step import State, Step
from shared.protocol import Batch
from shared.protocol.trace import row_axis


def by_operation(
    step: Step, device: Any, state: State, batch: Batch[np.ndarray], rates: np.ndarray
) -> tuple[State, dict[str, jax.Array]]:
    """Does the same as `scans.trace`, without compiling it as a whole."""
    steps = []
    with jax.default_matmul_precision("highest"), jax.default_device(device):
        for i in range(len(rates)):
            of_step = jax.tree.map(lambda part: part[i], (batch, rates))  # noqa: B023
            now, rate = jax.device_put(of_step)
            count = step.algebra.divisor(now.weights)
            state, seen = step.take(state, now, rate, count)
            steps.append(seen)
    return state, {name: jnp.stack([seen[name] for seen in steps]) for name in steps[0]}


def axes(
    step: Step, state: State, batch: Batch[np.ndarray], rates: np.ndarray
) -> dict[str, int | None]:
    """Returns the axis of the batch's rows in each array of a trace; None if it has none."""
    shapes = jax.eval_shape(
        partial(scans.trace, step, None), jax.tree.map(sharding.local, state), batch, rates
    )
    found = {name: row_axis(name) for name in shapes[1]}
    return {name: None if axis is None else axis + 1 for name, axis in found.items()}  # after S


def places(axes: dict[str, int | None]) -> dict[str, P]:
    """Returns where the arrays of a trace are, as for `jax.shard_map`."""
    return {name: WHOLE if axis is None else P(*[None] * axis, AXIS) for name, axis in axes.items()}


def whole(traced: dict[str, Any], axes: dict[str, int | None], rows: int) -> dict[str, Any]:
    """Returns a trace of all processes.

    Args:
        rows: of the whole batch.
    """
    return {
        name: array if (axis := axes[name]) is None else sharding.rows(array, axis, rows)
        for name, array in traced.items()
    }
