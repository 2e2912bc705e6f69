"""Ridge regression from the last steps of sequences to their targets: the beginning of a linear
highway, and the linear baselines of a forecast."""

import numpy as np

from shared.protocol.dataset import Split
from shared.protocol.windows import Windows

LARGEST = 5_000
"""Most numbers that a regression reads; beyond, fitting it would take minutes and much memory."""
MOST = 200_000
"""Most sequences to fit to, evenly spaced; more would change the coefficients only a little."""
OPERATIONS = 4e11
"""Most operations of a fit, but for five sequences for each number that it reads."""
CHUNK = 4096
"""Sequences that are read at once."""


def fit(part: Split, steps: int, ridge: float, features: np.ndarray | None = None) -> np.ndarray:
    """Fits ridge regression to the last steps of a part, (1 + N·F, O), the constant first.

    Args:
        steps: N, how many of the last steps are read, the oldest first.
        ridge: penalty of a squared coefficient, in multiples of the number of sequences. The
            constant costs nothing.
        features: (I,) True for the F features to read; None reads all.
    """
    inputs, targets = part.inputs, part.targets
    count = len(inputs)
    width = inputs.shape[2] if features is None else int(features.sum())
    size = 1 + steps * width
    most = min(count, MOST, max(5 * size, int(OPERATIONS / size**2)))
    rows = np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))
    squares, products = np.zeros((size, size)), np.zeros((size, targets.shape[1]))
    for start in range(0, len(rows), CHUNK):
        which = rows[start : start + CHUNK]
        found = read(inputs, which, steps, features)
        squares += found.T @ found
        products += found.T @ targets[which]
    penalty = np.full(size, ridge * len(rows))
    penalty[0] = 0.0
    return np.linalg.solve(squares + np.diag(penalty), products)


def read(
    inputs: np.ndarray | Windows,
    which: np.ndarray | slice,
    steps: int,
    features: np.ndarray | None = None,
) -> np.ndarray:
    """Returns 1 and the features of the last steps of some sequences, (N, 1 + N·F) float64."""
    found = np.asarray(inputs[which], np.float64)[:, -steps:]
    found = (found if features is None else found[..., features]).reshape(len(found), -1)
    return np.column_stack([np.ones(len(found)), found])
