"""Means and deviations by which the columns of each series are scaled, and naive forecasts' errors,
all from the training part alone."""

import numpy as np

from shared.errors import InvalidInput
from shared.system.tables import Table
from shared.tasks.forecast_layout import Layout
from shared.tasks.task import Column, Scale


def scales_of(
    table: Table,
    column: Column,
    target: bool,
    values: np.ndarray,
    layout: Layout,
    training: np.ndarray,
) -> list[Scale]:
    """Returns mean and standard deviation of a column for each series.

    A feature that is constant in a series has the deviation of all series together.

    Args:
        values: (M,) numbers before their logarithm; NaN where there is none.
        training: (M,) True in the training part.

    Raises:
        InvalidInput: a target is constant in the training part of a series, a feature in all of
            them, or a series has no value there.
    """
    option = f"--data.{'target' if target else 'known-ahead' if column.ahead else 'features'}"
    where = f"{table.name}: expected values of column {column.name} ({option})"
    found = np.empty((len(layout.names), 4))
    for i, rows in enumerate(layout.series()):
        own = values[rows][training[rows]]
        own = own[~np.isnan(own)]
        if not len(own):
            raise InvalidInput(f"{where} in the training part of {layout.called(i)}, got none")
        own = np.log1p(own) if column.log else own
        found[i] = own.min(), own.max(), own.mean(), own.std()
        if target and found[i, 0] == found[i, 1]:
            raise InvalidInput(
                f"{where} that differ in the training part of {layout.called(i)}, got "
                f"{values[rows][training[rows]][0]:g} in all rows"
            )
    low, high, mean, std = found.T
    if low.min() == high.max():
        raise InvalidInput(
            f"{where} that differ in the training part, got {low[0]:g} in all rows: it says nothing"
        )
    if (low == high).any():
        every = values[training & ~np.isnan(values)]
        std[low == high] = (np.log1p(every) if column.log else every).std()
    if not std.all():
        raise InvalidInput(f"{where} that differ by more than a float64 can square, got less")
    return [Scale(float(m), float(s)) for m, s in zip(mean, std, strict=True)]


def naive_errors(
    table: Table,
    column: Column,
    season: int | None,
    values: np.ndarray,
    layout: Layout,
    training: np.ndarray,
) -> list[float]:
    """Returns the mean absolute error of a naive forecast of a target for each series, in its unit.

    The forecast is the value of the season before, or without a season the last value, both within
    one stretch of the training part.

    Args:
        values: (M,) in the data's units; NaN where there is none.

    Raises:
        InvalidInput: a series has no such pair of values.
    """
    lag, errors = season or 1, list[float]()
    for i, rows in enumerate(layout.series()):
        own, stretch, counts = values[rows], layout.stretch[rows], training[rows]
        off = np.abs(own[lag:] - own[:-lag])
        off = off[(stretch[lag:] == stretch[:-lag]) & counts[lag:] & counts[:-lag] & ~np.isnan(off)]
        if not len(off):
            option = "" if season is None else f"--data.season {season}: "
            raise InvalidInput(
                f"{option}{table.name}: expected two values of column {column.name} that are {lag} "
                f"row{'s' * (lag > 1)} apart in the training part of {layout.called(i)}, got none "
                f"in its {counts.sum()} rows"
            )
        errors.append(float(off.mean()))
    return errors
