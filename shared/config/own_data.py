"""Data that a user brings: tables of series, sequences, texts with labels, pairs of texts.

The options of each kind, `--data` on a command line, and what they must say together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shared.errors import InvalidInput

NONE_OF_THEM = "trained with --data.new-categories none, a network reads it as none of them"
"""The way out for a value of a category that the training part has not."""


@dataclass(frozen=True)
class ForecastData:
    path: tuple[str, ...] = ()
    """Tables with the same columns, read one after the other: CSV, TSV, Parquet or NPZ."""
    target: tuple[str, ...] = ()
    """Columns of numbers to predict."""
    features: tuple[str, ...] = ()
    """Further columns to read, whose values are known up to the time of a forecast. Text is read as
    a category."""
    known_ahead: tuple[str, ...] = ()
    """Further columns to read, whose values are known for the times to predict, too, such as a
    holiday or a price."""
    categories: tuple[str, ...] = ()
    """Columns of whole numbers that are names, among the features and those known ahead."""
    calendar: tuple[Literal["hour", "weekday", "month", "season"], ...] = ()
    """Facts about the times to predict, from --data.time: hour of the day and place in the year as
    sine and cosine, weekday and month as categories."""
    time: str | None = None
    """Column of dates, times or numbers in even steps; None takes each row for the next step. Times
    with a zone are those of its clock; their offset from UTC must be the same in all rows."""
    group: tuple[str, ...] = ()
    """Columns that say to which of many series a row belongs. Each is scaled by itself."""
    window: int = 24
    """Rows that the network reads before the first one to predict."""
    horizon: int = 1
    """Rows to predict at once."""
    season: int | None = None
    """Rows after which the series is expected to repeat itself, such as 7 for days: for a baseline
    and for MASE. None is no season."""
    split: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Shares of the times, in their order, for training, validation and test."""
    log: tuple[str, ...] = ()
    """Columns of numbers from 0 on, of which the network reads and predicts log(1 + x)."""
    difference: bool = False
    """Predict the change from the last value instead of the value itself."""
    missing: Literal["refuse", "previous", "skip"] = "refuse"
    """Missing values: refuse them; read the previous value of the series, and neither train on nor
    score a missing target; or leave out all windows that have one."""
    gaps: Literal["refuse", "split", "ignore"] = "refuse"
    """Times that jump: refuse them; let no window reach over the jump; or take each row for the
    next step, as with days of trading."""
    new_categories: Literal["refuse", "none"] = "refuse"
    """Values of a category that the training part has not: refuse them, or read none of the known
    ones."""


@dataclass(frozen=True)
class SequencesData:
    path: tuple[str, ...] = ()
    """An NPZ file with inputs, targets and lengths; tables with a row for each step; or a folder
    with a table for each sequence, in a folder for each class if they have one."""
    sequence: tuple[str, ...] = ()
    """Columns that say to which sequence a row belongs."""
    step: str | None = None
    """Column by which the rows of a sequence are ordered; None keeps the order of the file."""
    features: tuple[str, ...] = ()
    """Columns to read; none reads all that are named by no other option. Text is read as a
    category."""
    target: tuple[str, ...] = ()
    """Column of the class, or columns of the numbers to predict."""
    categories: tuple[str, ...] = ()
    """Columns of whole numbers that are names, among the features."""
    kind: Literal["class", "number"] | None = None
    """What the target is; None takes text and whole numbers for a class, and others, also 1.0, for
    a number."""
    per_step: bool = False
    """Predict a target at each step instead of one for the sequence."""
    split: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Shares of the sequences, of each class alike, for training, validation and test. Equal
    sequences are in one part."""
    part: str | None = None
    """Column that says the part of a sequence: train, valid or test."""
    group: str | None = None
    """Column whose values, such as a person, never stand in two parts."""
    class_weights: Literal["equal", "balanced"] = "equal"
    """Weight of a sequence in the training loss: equal, or such that each class counts as much."""
    missing: Literal["refuse", "previous"] = "refuse"
    """Missing features: refuse them, or read the previous value of the sequence, before the first
    one the mean, or none of a category's values."""
    new_categories: Literal["refuse", "none"] = "refuse"
    """Values of a category that the training part has not: refuse them, or read none of the known
    ones."""


@dataclass(frozen=True)
class LabelsData:
    path: tuple[str, ...] = ()
    """Tables with a text and its label in each row: CSV, TSV, Parquet or JSON Lines; or a folder
    with a folder of UTF-8 files for each label."""
    text: str = "text"
    """Column of the texts."""
    label: str = "label"
    """Column of the labels."""
    unit: Literal["char", "word"] = "word"
    """What a token is: a character, or a word or a mark of punctuation."""
    lowercase: bool = True
    """Read all letters as small ones."""
    vocabulary_size: int = 10_000
    """The most frequent tokens of the training part are known, the others are one token."""
    longest: int | None = None
    """Tokens after which a text is cut off; None reads all."""
    split: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Shares of the texts, of each label alike, for training, validation and test."""
    part: str | None = None
    """Column that says the part of a text: train, valid or test."""
    group: str | None = None
    """Column whose values, such as an author, never stand in two parts."""
    class_weights: Literal["equal", "balanced"] = "equal"
    """Weight of a text in the training loss: equal, or such that each label counts as much."""


@dataclass(frozen=True)
class PairsData:
    path: tuple[str, ...] = ()
    """Tables with a source and its target in each row: TSV, CSV, Parquet or JSON Lines."""
    source: str = "source"
    """Column of the texts to read."""
    target: str = "target"
    """Column of the texts to write."""
    unit: Literal["char", "word"] = "char"
    """What a token is: a character, or a word between blanks."""
    lowercase: bool = False
    """Read all letters as small ones."""
    vocabulary_size: int = 10_000
    """The most frequent tokens of the training part are known, the others are one token."""
    reverse: bool = True
    """Read the source from its end, so that its beginning is close to that of the target (Sutskever
    et al. 2014)."""
    longest: int = 200
    """Most tokens of source and target together; longer pairs are refused."""
    split: tuple[float, float, float] = (0.8, 0.05, 0.15)
    """Shares of the different sources for training, validation and test."""
    part: str | None = None
    """Column that says the part of a pair: train, valid or test."""


OwnData = ForecastData | SequencesData | LabelsData | PairsData


def check_columns(data: OwnData) -> None:
    """Checks that no column has two meanings, and that options about columns name read ones.

    Raises:
        InvalidInput: the message names the option and the column.
    """
    if isinstance(data, ForecastData):
        time = () if data.time is None else (data.time,)
        read = (*data.target, *data.features, *data.known_ahead)
        _check_apart(
            {
                "target": data.target,
                "features": data.features,
                "known-ahead": data.known_ahead,
                "time": time,
            }
        )
        # A group may be known ahead, too, so that the network is told which series it reads.
        _check_apart(
            {"target": data.target, "features": data.features, "time": time, "group": data.group}
        )
        _check_among("categories", data.categories, (*data.features, *data.known_ahead))
        _check_among("log", data.log, tuple(c for c in read if c not in data.categories))
        if data.calendar and data.time is None:
            kinds = " ".join(data.calendar)
            raise InvalidInput(f"--data.calendar {kinds} needs times: expected --data.time COLUMN")
    elif isinstance(data, SequencesData):
        roles: dict[str, Sequence[str]] = {
            "sequence": data.sequence,
            "features": data.features,
            "target": data.target,
        }
        for name, column in (("step", data.step), ("part", data.part)):
            roles[name] = () if column is None else (column,)
        _check_apart(roles)
        group = () if data.group is None else (data.group,)  # which may be a part of the name
        _check_apart({**roles, "sequence": (), "group": group})
        if data.features:
            _check_among("categories", data.categories, data.features)
        if data.class_weights == "balanced" and data.kind == "number":
            raise InvalidInput(
                "--data.class-weights balanced needs classes, got --data.kind number"
            )
    else:
        texts: dict[str, Sequence[str]] = {"part": () if data.part is None else (data.part,)}
        if isinstance(data, LabelsData):
            texts |= {"text": (data.text,), "label": (data.label,)}
        else:
            texts |= {"source": (data.source,), "target": (data.target,)}
        _check_apart(texts)


def _check_apart(roles: dict[str, Sequence[str]]) -> None:
    """Refuses a column that two options name, or one option twice."""
    known: dict[str, str] = {}
    for role, columns in roles.items():
        for column in columns:
            if column in known:
                other = f"--data.{known[column]}"
                where = f"{other} twice" if known[column] == role else f"{other} and --data.{role}"
                raise InvalidInput(f"expected a column in one place, got {column!r} in {where}")
            known[column] = role


def _check_among(option: str, columns: Sequence[str], read: Sequence[str]) -> None:
    for column in columns:
        if column not in read:
            raise InvalidInput(
                f"--data.{option}: expected one of the columns that are read "
                f"({', '.join(read) or 'none'}), got {column!r}"
            )
