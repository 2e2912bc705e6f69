"""Facts about the data that a network was trained on, for its card."""

import numpy as np

from shared.protocol.windows import Windows
from shared.tasks.task import Column, Scale, Task


def facts(task: Task) -> dict[str, str]:
    """Returns what a task says of its data, and the range of the numbers to predict in training.

    Series of several groups have scales of their own, so that no range is told of them.
    """
    series, measured = task.series, task.measured
    if series is not None and len(series.scales) == 1:
        (scales,) = series.scales.values()
        return task.about | _ranges(series.predicted, scales, _of_series(task, series.targets))
    if measured is not None and measured.targets:
        return task.about | _ranges(measured.targets, measured.target_scales, _counted(task))
    return dict(task.about)


def _ranges(columns: list[Column], scales: list[Scale], values: np.ndarray) -> dict[str, str]:
    """Names the least and the largest value of each column.

    Args:
        values: (N, O) in the network's scale.
    """
    found = {}
    for i, (column, scale) in enumerate(zip(columns, scales, strict=False)):
        ends = np.array([values[:, i].min(), values[:, i].max()]) * scale.std + scale.mean
        low, high = np.expm1(ends) if column.log else ends
        unit = f" {column.unit}" * bool(column.unit)
        found[f"{column.name} in training"] = f"{low:.6g} to {high:.6g}{unit}"
    return found


def _of_series(task: Task, count: int) -> np.ndarray:
    """Returns the values that the network learns to predict, (N, count)."""
    targets = task.train.targets
    if isinstance(targets, Windows):  # of a single group, so that its rows follow each other
        rows = targets.rows[targets.starts.min() : targets.starts.max() + targets.steps]
        return rows[np.isfinite(rows).all(axis=1)]
    difference = task.series is not None and task.series.difference
    last = np.asarray(task.train.inputs[:, -1:, :count]) if difference else 0.0
    return (targets.reshape(len(targets), -1, count) + last).reshape(-1, count)


def _counted(task: Task) -> np.ndarray:
    """Returns the targets of sequences without their padding, (N, O)."""
    targets, lengths = np.asarray(task.train.targets), task.train.lengths
    if targets.ndim == 2:
        return targets
    rows, steps, count = targets.shape
    ends = np.full(rows, steps) if lengths is None else lengths
    return targets[np.arange(steps) < ends[:, None]].reshape(-1, count)
