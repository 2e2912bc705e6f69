"""A training step over several devices: each takes a part of the batch, and gradients are summed.

The devices are those of this process, and in a team those of all processes.

On a CPU the devices are threads of this process, one for each core. XLA's own threads share only
the large products of a step, devices share all of it: where a step is long enough to pay for the
sums, two devices take about half the time of one.
"""

import math
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, Sharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from shared.protocol import Batch

AXIS = "rows"

WHOLE = P()
"""Specification of an array that is the same on all devices."""
CARRY = P(None, AXIS)
"""Specification of a carry, (L·D, B, H)."""
OF_STEPS = P(None, AXIS)
"""Specification of arrays by step, (S, B, …)."""
BATCHES = Batch(OF_STEPS, OF_STEPS, OF_STEPS, WHOLE, P(None, None, AXIS), OF_STEPS)
"""S batches, as `shared/protocol/batching.py` stacks them."""

LEAST_WORK = 7_500_000
LEAST_ROWS = 8
"""Least floating-point operations of a step, and least rows, with which a device's share pays."""
MOST_UNITS_A_ROW = 16
"""Most hidden units for each row of a device with which its share pays: in every time step each
device reads all of W_hh, however few its rows. Measured on two cores (`docs/speed.md`): with that
many units, a second device brings 0.9 to 1.4 times the speed, with half as many 1.0 to 1.5
times."""


ALWAYS = "RNN_PARITY_SHARE"
"""Variable that, once it is set, has small batches shared, too: for proofs."""


def mesh_for(device: Any, batch_size: int, hidden_size: int, work: int) -> Mesh | None:
    """Returns the devices among which to share batches in equal parts; None for one device alone.

    Args:
        device: the device of the run.
        batch_size: B, rows of a batch; of several processes those of one.
        hidden_size: H.
        work: floating-point operations of a step.
    """
    count = _count(device, batch_size, hidden_size, work)
    if count == 1 and jax.process_count() == 1:
        return None
    devices: list[Any] = []
    for process in range(jax.process_count()):
        of_process = (d for d in jax.devices(device.platform) if d.process_index == process)
        devices += [*of_process][:count]
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def _count(device: Any, batch_size: int, hidden_size: int, work: int) -> int:
    """Returns among how many devices a process shares its rows: those that pay, the same number in
    every process."""
    if device.platform != "cpu":
        return 1
    by_process = Counter(d.process_index for d in jax.devices(device.platform))
    most = min(by_process.values())
    if os.environ.get(ALWAYS) is None:
        rows = max(LEAST_ROWS, math.ceil(hidden_size / MOST_UNITS_A_ROW))
        most = min(most, work // LEAST_WORK, batch_size // rows)
    return max((n for n in range(2, most + 1) if batch_size % n == 0), default=1)


def shared_among(
    mesh: Mesh | None, function: Callable, inputs: tuple[Any, ...], outputs: Any
) -> Callable:
    """Returns the function, each device computing its part; specifications as for
    `jax.shard_map`."""
    if mesh is None:
        return function
    return jax.shard_map(function, mesh=mesh, in_specs=inputs, out_specs=outputs)


def total(mesh: Mesh | None, tree: Any) -> Any:
    """Returns the sum over all devices of what each computed of its part; arrays of one dtype.

    None of the arrays may itself be a sum over rows. XLA would fuse it with the joining of all
    arrays and evaluate it for each element of each, which takes up to four times a whole step. A
    product is allowed.
    """
    if mesh is None:
        return tree
    # As one array: for each further one the devices meet again, which takes some 40 µs.
    flat, back = jax.flatten_util.ravel_pytree(tree)
    return back(jax.lax.psum(flat, AXIS))


def own(mesh: Mesh | None, tree: Any) -> Any:
    """Returns a device's own copy of what is the same on all, whose gradient is not yet a sum."""
    if mesh is None:
        return tree
    return jax.tree.map(lambda leaf: jax.lax.pcast(leaf, (AXIS,), to="varying"), tree)


def place(mesh: Mesh | None, device: Any, tree: Any, specification: Any) -> Any:
    """Puts arrays where a compiled function expects them. In a team, those that have rows are the
    rows of this process."""

    def put(to: Sharding, part: Any) -> Any:
        # Most are there already, which device_put would take longer to see.
        def one(leaf: Any) -> Any:
            if getattr(leaf, "sharding", None) == to:
                return leaf
            if to.is_fully_addressable:
                return jax.device_put(local(leaf), to)
            return jax.make_array_from_process_local_data(to, np.asarray(local(leaf)))

        return jax.tree.map(one, part)

    if mesh is None:
        return put(SingleDeviceSharding(device), tree)

    def put_as(spec: P, part: Any) -> Any:
        return put(NamedSharding(mesh, spec), part)

    return jax.tree.map(put_as, specification, tree, is_leaf=lambda leaf: isinstance(leaf, P))


def local(leaf: Any) -> Any:
    """Returns of an array on the devices of all processes what this one has: all of it where it is
    the same on all, else its rows."""
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
        return leaf
    if leaf.is_fully_replicated:
        return leaf.addressable_data(0)
    axis = list(leaf.sharding.spec).index(AXIS)  # pyright: ignore[reportAttributeAccessIssue]
    own = sorted(leaf.addressable_shards, key=lambda shard: shard.index[axis].start)
    return np.concatenate([np.asarray(shard.data) for shard in own], axis)


def rows(tree: Any, axis: int, count: int) -> Any:
    """Returns arrays that are shared among all processes as NumPy arrays of the whole batch.

    Args:
        axis: that of the rows.
        count: of them, the first that are real.
    """
    whole = multihost_utils.process_allgather(tree, tiled=True)
    return jax.tree.map(lambda leaf: np.take(leaf, range(count), axis), whole)
