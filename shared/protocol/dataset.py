"""A data set as a network sees it: sizes, kinds, and arrays of one part."""

from typing import Literal, NamedTuple

import numpy as np


class Signature(NamedTuple):
    """Everything that a network needs to know of a task."""

    input_size: int
    """Features of a time step; for tokens, the size of the vocabulary."""
    output_size: int
    """Number of classes, or of predicted values."""
    tokens: bool
    """True if inputs are token numbers (B, T) instead of features (B, T, I)."""
    per_step: bool
    """True if there is an output at every step instead of one after the last."""
    loss: Literal["cross_entropy", "mse"]


class Split(NamedTuple):
    """One part of a data set.

    inputs:  (N, T, I) numbers, or (N, T) token numbers.
    targets: (N, T) or (N,) classes; (N, T, O) or (N, O) values for mean squared error.
    lengths: (N,) int32 in [1, T], the steps of each sequence, the rest being padding; None if all
             have T.
    weights: (N, T) True where an output at a step counts; None if all do.
    """

    inputs: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray | None = None
    weights: np.ndarray | None = None
