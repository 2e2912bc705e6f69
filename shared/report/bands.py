"""Curves of groups as they are drawn: means over seeds with their range. Curves of thousands of
steps are thinned."""

from functools import reduce
from typing import NamedTuple

import numpy as np

from shared.report.groups import Group
from shared.report.verdict import loss_difference, matched
from shared.runs.run import Curve


class Band(NamedTuple):
    """Arrays of equal length."""

    step: np.ndarray
    mean: np.ndarray
    """Mean over the seeds."""
    low: np.ndarray
    high: np.ndarray
    """The smallest and the largest of the seeds."""


def band(side: Group, split: str, column: str = "loss", size: int = 1) -> Band:
    """Returns a curve of a group, at the steps that all its seeds recorded.

    Args:
        split: "train", "valid" or "test".
        column: "loss" or "metric".
        size: draw means over so many steps, at the last of them.
    """
    curves = [run.curves[split] for run in side.runs]
    steps = reduce(np.intersect1d, [curve.step for curve in curves])
    rows = [getattr(curve, column)[np.isin(curve.step, steps)] for curve in curves]
    values = np.stack([_binned(row, size).mean(axis=1) for row in rows])
    at = _binned(steps, size)[:, -1]
    # The mean of a single run is the run, to the last bit.
    mean = values[0] if len(values) == 1 else values.mean(axis=0)
    return Band(at, mean, values.min(axis=0), values.max(axis=0))


def largest_difference(first: Group, second: Group, size: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Returns steps, and the largest relative difference of the training loss there over all seeds.

    Args:
        size: take the largest of so many steps, at the last of them.
    """
    found = [loss_difference(*both) for both in matched(first, second)]
    steps = reduce(np.intersect1d, [at for at, _ in found])
    rows = [values[np.isin(at, steps)] for at, values in found]
    return _binned(steps, size)[:, -1], _binned(np.max(rows, axis=0), size).max(axis=1)


def bin_size(curve: Curve, points: int) -> int:
    """Returns how many steps make one point, to get so many points or somewhat more; 1 for curves
    of up to 4 times as many."""
    return max(1, len(curve.step) // points) if len(curve.step) > 4 * points else 1


def _binned(values: np.ndarray, size: int) -> np.ndarray:
    """Cuts (N,) into (N // size, size), without the values left over at the end."""
    whole = len(values) // size * size
    return values[:whole].reshape(-1, size)
