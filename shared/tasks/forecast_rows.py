"""The rows that a forecast's network reads, in its scale, and its predictions in the data's units.

Tasks and predictions make rows and windows here, so that both read the same.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shared.config.own_data import NONE_OF_THEM
from shared.errors import InvalidInput
from shared.system import tables
from shared.system.tables import Table
from shared.tasks.forecast_layout import Layout, carried
from shared.tasks.forecast_times import PLACES, circle, places, spelled
from shared.tasks.task import Column, Scale, Series

FARTHEST = 1e12
"""Standard deviations from the mean that a value may be away: its square is a loss in float32."""
LARGEST = 1e150
"""Largest size of a number: its square is a finite float64."""
MOMENTS = ("mean", "std")
PARTS = ("training", "validation", "test")


def numbers(
    table: Table, column: Column, layout: Layout, needed: np.ndarray | None = None
) -> np.ndarray:
    """Reads numbers of a column in the order of the layout, (M,) float64; NaN where there is none.

    Args:
        needed: (M,) True where a number is read, so that it is checked; None is everywhere.

    Raises:
        InvalidInput: a cell holds no number, one that is too large, or a negative one of which the
            logarithm is asked.
    """
    found = _in_order(tables.numbers(table, column.name, missing=True), layout)
    if column.log and (at := _first(found < 0, needed)) is not None:
        raise InvalidInput(
            f"{table.place(int(layout.order[at]))}: expected numbers from 0 on in column "
            f"{column.name}, for its logarithm (--data.log), got {found[at]:g}"
        )
    if (at := _first((found > LARGEST) | (found < -LARGEST), needed)) is not None:
        raise InvalidInput(
            f"{table.place(int(layout.order[at]))}: expected a number within {LARGEST:g} in column "
            f"{column.name}, got {found[at]:g}"
        )
    return found


def _first(bad: np.ndarray, needed: np.ndarray | None) -> int | None:
    """Returns the first row of the layout that is bad and needed, or None."""
    bad = bad if needed is None else bad & needed
    at = int(bad.argmax())
    return at if bad[at] else None


def _in_order(values: np.ndarray, layout: Layout) -> np.ndarray:
    """Returns a column in the order of the layout, (M,); NaN for times that the table has not."""
    if layout.as_read:
        return values
    found = values[layout.order]
    if layout.order.min() < 0:
        found[layout.order < 0] = np.nan
    return found


def codes(table: Table, name: str, layout: Layout) -> tuple[list[str], np.ndarray]:
    """Reads a column of categories.

    Returns:
        Its sorted values, and the number of each row's in the order of the layout, (M,) float64;
        NaN where there is none.
    """
    cells = table.column(name)
    empty = cells.is_null()
    if cells.dtype.is_float():
        empty |= cells.is_nan().fill_null(True)
    elif tables.is_text(table, name):
        empty |= (cells == "").fill_null(True)
    values, found = [], np.full(len(table), np.nan)
    if not empty.all():
        present = replace(table, frame=cells.filter(~empty).to_frame())
        values, found[~empty.to_numpy()] = tables.categories(present, name)
    return values, _in_order(found, layout)


def known_codes(
    table: Table, column: Column, layout: Layout, needed: np.ndarray | None = None
) -> np.ndarray:
    """Reads a column of categories as numbers of its values in training, (M,) float64.

    A value that is not among them has the number after the last, if the column may have others.

    Args:
        needed: (M,) True where a value is read, so that it is checked; None is everywhere.

    Raises:
        InvalidInput: a value is not one of the training part, and the column may have no others.
    """
    values, found = codes(table, column.name, layout)
    place = {value: i for i, value in enumerate(column.values)}
    for i, value in enumerate(values):
        if value not in place:
            rows = layout.order[found == i if needed is None else (found == i) & needed]
            if column.other or not len(rows):  # in rows that are not read
                place[value] = len(column.values)
                continue
            shown = ", ".join(column.values[:5]) + ", …" * (len(column.values) > 5)
            raise InvalidInput(
                f"{table.place(int(rows.min()))}: expected a value of the training part in column "
                f"{column.name} ({shown}), got {value!r}; {NONE_OF_THEM}"
            )
    known = np.array([place[value] for value in values] or [0], np.float64)
    return np.where(np.isnan(found), np.nan, known[np.nan_to_num(found).astype(np.int64)])


def _known_places(
    table: Table, column: Column, layout: Layout, needed: np.ndarray | None
) -> np.ndarray:
    """Returns the weekdays or months of the rows as numbers from 0, (M,) float64.

    Raises:
        InvalidInput: the training part lacks the weekday or month.
    """
    assert layout.times is not None
    assert column.kind in ("weekday", "month")
    names = PLACES[column.kind]
    found = places(column.kind, layout.times)
    other = ~np.isin(found, [names.index(value) for value in column.values])
    if (at := _first(other, needed)) is not None:
        (time,) = spelled(layout.times[at : at + 1])
        row = int(layout.order[at])
        where = table.name if row < 0 else table.place(row)
        raise InvalidInput(
            f"{where}: expected a {column.kind} that the training part has "
            f"({', '.join(column.values)}), got {time}, {names[found[at]]}"
        )
    return found.astype(np.float64)


def check_complete(
    table: Table,
    column: str,
    layout: Layout,
    values: np.ndarray,
    needed: np.ndarray | None = None,
) -> None:
    """Refuses a row without a value.

    Args:
        values: (M,) NaN where there is none.
        needed: (M,) True where one is needed; None is everywhere.
    """
    empty = np.isnan(values) if needed is None else np.isnan(values) & needed
    if empty.any():
        row = int(layout.order[empty.argmax()])
        raise InvalidInput(
            f"{table.place(row)}: expected a value in column {column}, got none; --data.missing "
            "previous reads the one before, skip leaves out the windows that have it"
        )


def write(
    rows: np.ndarray,
    table: Table,
    series: Series,
    column: Column,
    values: np.ndarray,
    layout: Layout,
    scales: Sequence[Scale] = (),
) -> None:
    """Writes the features of a column, in the network's scale, NaN where there is no value.

    Args:
        rows: (M, width) to write to.
        values: (M,) numbers before their logarithm, or numbers of categories.
        scales: of the column, for each series of the layout.

    Raises:
        InvalidInput: a number is too far from those of the training part to compute with.
    """
    if series.missing == "previous":
        values = carried(values, layout)
    if column.kind == "number":
        rows[:, 0] = np.log1p(values) if column.log else values
        for own, scale in zip(layout.series(), scales, strict=True):
            rows[own, 0] -= scale.mean
            rows[own, 0] /= scale.std
        _check_size(rows[:, 0], table, column, values, layout)
    else:
        for i in range(column.width):
            rows[:, i] = values == i
        rows[np.isnan(values)] = np.nan
    if column.ahead:
        _shift(rows, layout, series.horizon)


def _check_size(
    scaled: np.ndarray, table: Table, column: Column, values: np.ndarray, layout: Layout
) -> None:
    """Refuses a number whose square a float32 hardly holds."""
    far = (scaled > FARTHEST) | (scaled < -FARTHEST)
    if far.any():
        at = int(far.argmax())
        raise InvalidInput(
            f"{table.place(int(layout.order[at]))}: expected a number within {FARTHEST:g} standard "
            f"deviations of the training part's mean in column {column.name}, got {values[at]:g}"
        )


def write_fact(
    rows: np.ndarray,
    table: Table,
    series: Series,
    column: Column,
    layout: Layout,
    needed: np.ndarray | None = None,
) -> None:
    """Writes the features of a fact about the times to predict.

    Args:
        rows: (M, width) to write to.
        needed: (M,) True where the time is read, so that it is checked; None is everywhere.

    Raises:
        InvalidInput: the training part lacks the weekday or month.
    """
    assert layout.times is not None
    if column.kind == "hour" or column.kind == "season":
        for i, values in enumerate(circle(column.kind, layout.times)):
            rows[:, i] = values
        _shift(rows, layout, series.horizon)
    else:
        values = _known_places(table, column, layout, needed)
        write(rows, table, series, column, values, layout)


def _shift(rows: np.ndarray, layout: Layout, steps: int) -> None:
    """Moves the values of each series to the rows so many steps earlier, NaN at its end."""
    rows[:-steps] = rows[steps:]  # NumPy copies as if through another array
    for end in layout.bounds[1:]:
        rows[max(0, end - steps) : end] = np.nan


def windows_within(
    layout: Layout, window: int, horizon: int, absent: np.ndarray, unknown: np.ndarray
) -> np.ndarray:
    """Returns the first rows of all windows that have what they need, (N,).

    A window and the rows to predict are of one series and one stretch.

    Args:
        absent: (M,) True where a row cannot be read.
        unknown: (M,) True where a value to predict is missing.
    """
    count = len(absent) - window - horizon + 1
    if count < 1:
        return np.zeros(0, np.int32)
    fits = layout.stretch[-count:] == layout.stretch[:count]
    fits &= _none_of(absent, window)[:count]
    fits &= _none_of(unknown, horizon)[-count:]
    found = np.flatnonzero(fits)
    return found.astype(np.int32) if len(absent) < 2**31 else found


def _none_of(flags: np.ndarray, length: int) -> np.ndarray:
    """Tells for each place whether none of so many flags from there on is set."""
    sums = np.append(0, np.cumsum(flags, dtype=np.int32))
    return sums[length:] == sums[:-length]


def values(series: Series, scaled: np.ndarray, last: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Returns forecasts in the data's units, (N, horizon, O) float64.

    Where a column's logarithm is predicted, a forecast is within 0, the least value that the column
    may have, and 1e150, so that its error is finite.

    Args:
        scaled: (N, horizon · O) as the network predicts them.
        last: (N, O) the values before, in the network's scale.
        group: (N,) number of the series, in the order of `Series.scales`.
    """
    found = scaled.astype(np.float64).reshape(len(scaled), series.horizon, series.targets)
    if series.difference:
        found = found + last[:, None, :]
    scales = [own[: series.targets] for own in series.scales.values()]
    mean, std = (np.array([[getattr(s, of) for s in own] for own in scales]) for of in MOMENTS)
    found = found * std[group][:, None] + mean[group][:, None]
    for i, column in enumerate(series.predicted):
        if column.log:
            found[..., i] = np.maximum(np.expm1(np.minimum(found[..., i], np.log(LARGEST))), 0.0)
    return found
