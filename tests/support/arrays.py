"""A part of a task whose inputs and targets are arrays, not windows of a table."""

from typing import NamedTuple

import numpy as np

from shared.protocol.dataset import Split


class Arrays(NamedTuple):
    """A `Split`, as a type checker should see it."""

    inputs: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray | None
    weights: np.ndarray | None


def arrays(part: Split) -> Arrays:
    """Returns the arrays of a part, the very same ones.

    Raises:
        AssertionError: they are windows of a table.
    """
    inputs, targets, lengths, weights = part
    assert isinstance(inputs, np.ndarray)
    assert isinstance(targets, np.ndarray)
    return Arrays(inputs, targets, lengths, weights)
