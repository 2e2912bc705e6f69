"""A data set as a network sees it: sizes, kinds, and arrays of one part."""

from typing import Literal, NamedTuple

import numpy as np

from shared.protocol.windows import Windows


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
    weights: (N,), or (N, T) with an output at every step: how much each output counts, such as True
             and False, or the weight of its class; None if all count 1.

    Inputs and targets may be windows of one table instead of arrays.
    """

    inputs: np.ndarray | Windows
    targets: np.ndarray | Windows
    lengths: np.ndarray | None = None
    weights: np.ndarray | None = None
