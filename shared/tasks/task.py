"""A task, once its data is in memory."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from shared.protocol.dataset import Signature, Split


class Baseline(NamedTuple):
    """Scores of a predictor without a network on the held-out data of the test.

    scores: by the names of `shared/runs/scores.py`, as many as it has.
    """

    name: str
    scores: dict[str, float]


@dataclass(frozen=True)
class Column:
    """A quantity that a network reads or predicts as (value - mean) / std."""

    name: str
    unit: str
    mean: float
    std: float


@dataclass(frozen=True)
class Series:
    """Rules by which a forecast's sequences are made of a table with a row for each time.

    A sequence is `window` scaled rows. Beside the columns, each row holds what is known of the time
    to predict.
    """

    columns: list[Column]
    target: Column
    """Column to predict, one of the columns."""
    window: int
    time: Literal["day", "month"]
    """Time from one row to the next."""
    difference: bool
    """True if the network predicts the change from the last value, in units of the target's std."""
    known: Literal["weekday", "season"] | None
    """Known facts about the time to predict: its weekday, one-hot from Monday to Friday, or sine
    and cosine of its place in the year."""


@dataclass(frozen=True)
class Task:
    name: str
    signature: Signature
    train: Split
    valid: Split | None
    """Held-out part by which the best checkpoint is chosen; None if the task has a single
    sequence."""
    test: Split
    """Held-out part that is scored once."""
    score: str = ""
    """The score that says how good a network is; by default the metric."""
    baselines: Callable[[], Sequence[Baseline]] = tuple
    """Function that computes the baselines; some take a second, so they are computed only on
    demand."""
    held_out: bool = True
    """False if the test part is the training part; a score must then say so."""
    streams: bool = False
    """True if each row is one long stream, read in order from window to window."""
    vocabulary: tuple[str, ...] = ()
    """Token number → text, for tasks on tokens."""
    classes: tuple[str, ...] = ()
    """Class → name, for tasks with one class a sequence."""
    continues: bool = False
    """True if each target is the next input, so that the network can go on by itself."""
    between: str | None = None
    end: str | None = None
    """Token that follows a source to be answered, and that ends the answer."""
    reverse: bool = False
    """True if a source is read from its end."""
    unit: Literal["char", "word"] = "char"
    """Unit that a token of a text stands for."""
    characters: dict[str, int] = field(default_factory=dict[str, int])
    """Numbers of characters of text that the tokens of "valid" and "test" stand for."""
    scaling: tuple[np.ndarray, np.ndarray] | None = None
    """Mean and standard deviation by which features were scaled, if the task has no series."""
    series: Series | None = None
    times: np.ndarray | None = None
    """(N,) datetime64, the time of each target of the test part of a series."""
    image: tuple[int, int] | None = None
    """Height and width of a step that is an image, or a row of one."""
    distance: np.ndarray | None = None
    """(N,) steps for which each sequence of the test part asks to remember something."""
    longer: Split | None = None
    """Held-out sequences longer than those of the other parts, scored beside the test."""
    source: str = ""
    """Origin of the data."""

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any byte of the data and with the vocabulary."""
        digest = hashlib.sha256("\0".join(self.vocabulary).encode())
        for part in (self.train, self.valid, self.test, self.longer):
            for array in (array for array in part or () if array is not None):
                digest.update(repr((array.dtype.str, array.shape)).encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    @property
    def metric(self) -> str:
        return "accuracy" if self.signature.loss == "cross_entropy" else "mae"
