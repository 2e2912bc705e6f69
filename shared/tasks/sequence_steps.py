"""Sequences as a user gave them, and as a network reads them.

The steps of all sequences stand one after the other, those of a sequence together: sequences of
unequal length need no padding until a network's inputs are made of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from shared.config.own_data import NONE_OF_THEM
from shared.errors import InvalidInput, printable
from shared.system.environment import check_memory
from shared.tasks.task import Column, Scale

SHOWN = 60
"""Most characters of a list of names in a message."""


class Values(NamedTuple):
    """A column of numbers or of names.

    values: (M,) float64, NaN where a number is missing; or (M,) numbers of names, -1 where missing.
    names:  None for a column of numbers.
    """

    name: str
    values: np.ndarray
    names: list[str] | None = None


@dataclass(frozen=True)
class Steps:
    """N sequences of M steps in all."""

    features: list[Values]
    """(M,) each."""
    lengths: np.ndarray
    """(N,) steps of each sequence."""
    called: dict[str, list[Any]]
    """Names of the sequences: N values of each column that names them."""
    step_place: Callable[[int], str]
    """Says where a step is: "signals.csv, line 18"."""
    place: Callable[[int], str]
    """Says where a sequence is, or begins."""
    targets: list[Values] = field(default_factory=list[Values])
    """Names of a class, or numbers: (N,) each, or (M,) with a target at each step."""
    parts: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    """Numbers of the sequences of each part, where the data says it."""
    groups: Values | None = None
    """(N,) names of groups that do not stand in two parts."""

    @cached_property
    def starts(self) -> np.ndarray:
        """(N,) first step of each sequence."""
        return np.cumsum(self.lengths) - self.lengths

    def steps_of(self, sequences: np.ndarray) -> np.ndarray:
        """Returns the numbers of the steps of some sequences, in their order."""
        lengths = self.lengths[sequences]
        before = np.cumsum(lengths) - lengths
        return np.add(
            np.repeat(self.starts[sequences] - before, lengths), np.arange(int(lengths.sum()))
        )


def real_steps(lengths: np.ndarray, longest: int) -> np.ndarray:
    """Returns (N, T) True where a step is no padding."""
    return np.less(np.arange(longest), lengths[:, None])


def few(names: Sequence[str]) -> str:
    """Returns names for a message, or their number if they are too many for a line."""
    listed = ", ".join(map(printable, names))
    return listed if len(listed) <= SHOWN else f"{len(names)} names"


@np.errstate(over="ignore", invalid="ignore")  # what comes of it is refused
def scale_of(name: str, values: np.ndarray, whose: str) -> Scale:
    """Returns mean and standard deviation of numbers; the deviation of equal ones counts as 1.

    Args:
        values: (M,), NaN where one is missing.
        whose: the data, for messages.

    Raises:
        InvalidInput: there are no numbers, or they are too large to compute with.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        raise InvalidInput(
            f"{whose}: expected numbers in column {name} of the training part, got none"
        )
    if np.ptp(values) == 0:
        return Scale(float(values[0]), 1.0)
    mean, std = float(values.mean()), float(values.std())
    if not (np.isfinite([mean, std]).all() and std > 0):
        raise InvalidInput(
            f"{whose}: expected numbers in column {name} whose mean and deviation can be computed, "
            f"got some from {values.min():g} to {values.max():g}"
        )
    return Scale(mean, std)


def fit(
    steps: Steps, training: np.ndarray, whose: str, other: bool
) -> tuple[list[Column], list[Scale]]:
    """Returns the columns of the features, and the scale of each one of numbers.

    Args:
        training: numbers of the steps of the training part, which alone count.
        whose: the data, for messages.
        other: True if a category may have values that the training part has not.
    """
    columns: list[Column] = []
    scales: list[Scale] = []
    for feature in steps.features:
        known = feature.values[training]
        if feature.names is None:
            columns.append(Column(feature.name))
            scales.append(scale_of(feature.name, known, whose))
        else:
            used = np.unique(known[known >= 0])
            if not len(used):
                raise InvalidInput(
                    f"{whose}: expected values in column {feature.name} of the training part, "
                    "got none"
                )
            names = [feature.names[int(code)] for code in used]
            columns.append(Column(feature.name, "category", values=names, other=other))
    return columns, scales


def inputs_of(
    steps: Steps,
    columns: Sequence[Column],
    scales: Sequence[Scale],
    sequences: np.ndarray,
    longest: int | None = None,
) -> np.ndarray:
    """Makes the network's inputs of some sequences, (n, T, F) float64, with zeros after their ends.

    A missing value is the previous one of its sequence. Before the first one, a number is the mean
    of the training part and a category is none.

    Args:
        sequences: (n,) their numbers.
        longest: T; None is the longest of them.

    Raises:
        InvalidInput: a category is not among those of the columns, or memory is too small.
    """
    lengths, chosen = steps.lengths[sequences], steps.steps_of(sequences)
    longest = longest or int(lengths.max())
    made = _zeros((len(sequences), longest, sum(column.width for column in columns)), np.float64)
    real = real_steps(lengths, longest)
    at, own = 0, iter(scales)
    for feature, column in zip(steps.features, columns, strict=True):
        values = _filled(feature, chosen, lengths)
        if column.kind == "number":
            scale = next(own)
            values = (values - scale.mean) / scale.std
            values[np.isnan(values)] = 0.0
            made[..., at][real] = values
        else:
            places = _places(steps, feature, values, column, chosen)
            for i in range(column.width):
                made[..., at + i][real] = places == i
        at += column.width
    return made


def _filled(feature: Values, chosen: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns values, each missing one replaced by the previous one of its sequence.

    Args:
        chosen: numbers of the steps of some sequences.
        lengths: of these sequences.
    """
    values = feature.values[chosen]
    missing = np.isnan(values) if feature.names is None else values < 0
    if not missing.any():
        return values
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    known = np.where(missing, first, np.arange(len(values)))
    return values[np.maximum.accumulate(known)]


def _places(
    steps: Steps, feature: Values, codes: np.ndarray, column: Column, chosen: np.ndarray
) -> np.ndarray:
    """Returns the place of each name among the column's, -1 for a missing one, -2 for another one
    where the column may have others."""
    assert feature.names is not None
    place = {name: i for i, name in enumerate(column.values)}
    # One more for a missing value, which the code -1 finds.
    found = np.array([*(place.get(name, -2) for name in feature.names), -1])[codes]
    for i in np.flatnonzero(found == -2)[: not column.other]:
        raise InvalidInput(
            f"{steps.step_place(int(chosen[i]))}: expected a value in column {feature.name} that "
            f"the training part has ({few(column.values)}), got {feature.names[codes[i]]!r}; "
            f"{NONE_OF_THEM}"
        )
    return found


def padded(values: np.ndarray, steps: Steps, sequences: np.ndarray) -> np.ndarray:
    """Makes an array (n, T, …) of values at each step, with zeros after the ends of sequences.

    Args:
        values: (M, …).
        sequences: (n,) their numbers.
    """
    lengths = steps.lengths[sequences]
    made = _zeros((len(sequences), int(lengths.max()), *values.shape[1:]), values.dtype)
    made[real_steps(lengths, made.shape[1])] = values[steps.steps_of(sequences)]
    return made


def _zeros(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Makes an array of padded sequences, if memory has room for it."""
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    check_memory(needed, f"{shape[0]} sequences of up to {shape[1]} steps")
    return np.zeros(shape, dtype)
