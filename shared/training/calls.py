"""Training steps → calls of a backend, the same for a run and for one that is resumed in between.

A program of another number of steps may round otherwise. So where a call ends depends on the
configuration alone: neither on where this process began nor on when it wrote checkpoints.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from shared.config import Config
from shared.protocol.batching import Batches
from shared.protocol.dataset import Signature
from shared.protocol.weights import network_shapes

OPERATIONS = 3e11
"""Largest number of operations in a call: some seconds on two cores. A signal waits as long."""


class Call(NamedTuple):
    start: int
    steps: int

    @property
    def end(self) -> int:
        return self.start + self.steps


def operations(config: Config, signature: Signature, batches: Batches) -> int:
    """Estimates the floating-point operations of a step, in the mean: its products of matrices."""
    shapes = network_shapes(config.network, signature.input_size, signature.output_size)
    elements = sum(math.prod(shape) for shape in shapes.values() if len(shape) == 2)
    # Two operations with each element forth and four back, at every row and time step.
    return math.ceil(6 * elements * batches.batch_size * batches.mean_steps)


def most_steps(config: Config, signature: Signature, batches: Batches) -> int:
    """Returns the largest number of steps in a call: few enough for memory, for progress to show,
    and for a signal."""
    return max(1, min(batches.chunk, int(OPERATIONS / operations(config, signature, batches))))


def calls(
    begin: int,
    end: int,
    most: int,
    every: int | None,
    position: int,
    alike: Callable[[int, int], int] | None = None,
) -> Iterator[Call]:
    """Yields the calls between two evaluations, from a position on.

    Args:
        begin, end: steps of the two evaluations.
        most: steps of a call, at most.
        every: a call also ends after each multiple of this many steps.
        position: step from which to go on.
        alike: `Batches.alike`, which says where batches of another shape begin; None if there are
            none.
    """
    stride, start = every or end - begin, begin
    while start < end:
        count = min(stride - (start - begin) % stride, end - start)
        if alike is not None:
            count = alike(start, count)
        # Of nearly equal size, so that few sizes have to be compiled.
        size = -(-count // -(-count // most))
        for first in range(start, start + count, size):
            last = min(first + size, start + count)
            if last > position:
                yield Call(max(first, position), last - max(first, position))
        start += count
