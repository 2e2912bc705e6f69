"""A task, once its data is in memory."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from shared.protocol.dataset import Signature, Split
from shared.protocol.windows import Windows


class Baseline(NamedTuple):
    """Scores of a predictor without a network on the held-out data of the test.

    scores: by the names of `shared/runs/scores.py`, as many as it has.
    """

    name: str
    scores: dict[str, float]


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of a column of numbers, after its logarithm if it has one."""

    mean: float
    std: float


@dataclass(frozen=True)
class Column:
    """A column of a table as a network reads it.

    number      one feature: (x - mean) / std, of x or of log(1 + x)
    category    one-hot, a feature for each of its values
    hour, season    two features: sine and cosine of the place in the day, in the year
    weekday, month  one-hot, 7 features from Monday, 12 from January
    """

    name: str
    """Name in the table; of a fact about the time, its kind."""
    kind: Literal["number", "category", "hour", "weekday", "month", "season"] = "number"
    unit: str = ""
    log: bool = False
    values: list[str] = field(default_factory=list[str])
    """Values of a category, in the order of its features."""
    other: bool = False
    """True if a value that is not among `values` is read as none of them, all features 0."""
    ahead: bool = False
    """True if a row holds what is known of the time `horizon` rows later."""

    @property
    def width(self) -> int:
        """Number of features."""
        sizes = {"number": 1, "category": len(self.values), "hour": 2, "season": 2}
        return (sizes | {"weekday": 7, "month": 12})[self.kind]


@dataclass(frozen=True)
class Series:
    """Rules by which a forecast's sequences are made of a table with a row for each time.

    A sequence is `window` rows of scaled columns. Its target is the first `targets` columns of the
    `horizon` rows after it, time by time.
    """

    columns: list[Column]
    targets: int
    """Number of columns to predict, the first ones."""
    window: int
    horizon: int
    season: int | None
    """Rows after which the series is expected to repeat itself."""
    time: str | None
    """Column of times."""
    step: str | None
    """Time from one row to the next, such as "1d", "15m" or "1mo"; of a column of numbers, their
    distance, such as "2"; None without a column of times."""
    groups: list[str]
    """Columns that say to which series a row belongs."""
    scales: dict[str, list[Scale]]
    """For each group, by its values joined with " / " ("" without groups), the scale of each column
    of numbers."""
    difference: bool
    """True if the network predicts the change from the last value, in units of the target's std."""
    missing: Literal["refuse", "previous", "skip"] = "refuse"
    gaps: Literal["refuse", "split", "ignore"] = "refuse"
    naive: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """For each group, the mean absolute error of a naive forecast of each target within the
    training part, in the data's units: the value of the season before, or without one the last."""

    @property
    def predicted(self) -> list[Column]:
        return self.columns[: self.targets]


@dataclass(frozen=True)
class Measured:
    """Columns of the sequences of a table: those that a network reads and the numbers that it
    predicts."""

    features: list[Column]
    feature_scales: list[Scale]
    """Scale of each feature that is a number."""
    targets: list[Column]
    """Numbers to predict; none where classes are predicted."""
    target_scales: list[Scale]
    sequence: list[str]
    """Columns that say to which sequence a row belongs."""
    step: str | None
    """Column by which the rows of a sequence are ordered."""
    missing: Literal["refuse", "previous"] = "refuse"
    ragged: bool = False
    """True if sequences have unequal lengths, so that arrays need theirs beside them."""


class Questions(NamedTuple):
    """Different sources of a test part that a network answers for its scores.

    They differ in their texts, also where the vocabulary lacks what they differ in.
    """

    sources: list[str]
    references: list[list[str]]
    """The different targets of each source, of which each is right."""
    prompts: list[np.ndarray]
    """(P,) int32 tokens of each source as the network reads it, and the token between."""


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
    questions: Questions | None = None
    """What the network answers for its scores, if its sources are to be answered."""
    unit: Literal["char", "word"] = "char"
    """Unit that a token of a text stands for."""
    characters: dict[str, int] = field(default_factory=dict[str, int])
    """Numbers of characters of text that the tokens of "valid" and "test" stand for."""
    scaling: tuple[np.ndarray, np.ndarray] | None = None
    """Mean and standard deviation by which features were scaled, if the task has no columns."""
    series: Series | None = None
    measured: Measured | None = None
    times: np.ndarray | None = None
    """(N,) times of the first value to predict in the test part of a series: datetime64, or the
    numbers of the column of times."""
    group: np.ndarray | None = None
    """(N,) number of the group of each forecast of the test part, in the order of
    `Series.scales`."""
    by_length: bool = False
    """True if batches are made of sequences of similar lengths, so that little is padding."""
    about: dict[str, str] = field(default_factory=dict[str, str])
    """Facts about the data for the run's card, by their names: "rows" → "8 645"."""
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
        tables: dict[int, str] = {}  # hashed once, though each part has windows of them
        for part in (self.train, self.valid, self.test, self.longer):
            for array in (array for array in part or () if array is not None):
                if isinstance(array, Windows):
                    table, *rest = array.parts
                    tables[id(table)] = tables.get(id(table)) or _sha256(table)
                    digest.update("".join([tables[id(table)], *map(_sha256, rest)]).encode())
                else:
                    digest.update(repr((array.dtype.str, array.shape)).encode())
                    digest.update(np.ascontiguousarray(array).data)
        if self.questions is not None and self.name == "pairs":  # with words that are all unknown
            digest.update(repr((self.questions.sources, self.questions.references)).encode())
        return digest.hexdigest()[:16]

    @property
    def metric(self) -> str:
        return "accuracy" if self.signature.loss == "cross_entropy" else "mae"


def _sha256(array: np.ndarray) -> str:
    digest = hashlib.sha256(repr((array.dtype.str, array.shape)).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
