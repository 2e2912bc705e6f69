"""What a task is, once its data is in memory."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np


class Signature(NamedTuple):
    """All that a network needs to know of a task."""

    input_size: int
    """Features of a time step; for tokens the size of the vocabulary."""
    output_size: int
    """Classes, or values predicted."""
    tokens: bool
    """Inputs are token numbers (B, T) instead of features (B, T, I)."""
    per_step: bool
    """An output at every step instead of after the last."""
    loss: Literal["cross_entropy", "mse"]


class Split(NamedTuple):
    """One part of a data set.

    inputs:  (N, T, I) numbers, or (N, T) token numbers.
    targets: (N, T) or (N,) classes; (N, T, O) or (N, O) values for mean squared error.
    lengths: (N,) int32 in [1, T], the steps of each sequence, the rest being padding; None if all
             have T.
    """

    inputs: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray | None = None


class Baseline(NamedTuple):
    """What a predictor without a network reaches on the held-out data of the test."""

    name: str
    loss: float
    metric: float


@dataclass(frozen=True)
class Task:
    name: str
    signature: Signature
    train: Split
    valid: Split | None
    """Held-out part that chooses the best checkpoint; None if the task has a single sequence."""
    test: Split
    """Held-out part that is scored once."""
    baseline: Baseline | None = None
    held_out: bool = True
    """False where the test part is the training part, which a score must then say."""
    streams: bool = False
    """Each row is one long stream, read in order from window to window."""
    vocabulary: tuple[str, ...] = ()
    """Token number → text, for tasks on tokens."""
    source: str = ""
    """Where the data comes from."""

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any byte of the data and with the vocabulary."""
        digest = hashlib.sha256("\0".join(self.vocabulary).encode())
        for part in (self.train, self.valid, self.test):
            for array in (array for array in part or () if array is not None):
                digest.update(repr((array.dtype.str, array.shape)).encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    @property
    def metric(self) -> str:
        return "accuracy" if self.signature.loss == "cross_entropy" else "mae"
