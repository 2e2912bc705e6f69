"""Forecasts of a trained network for the series of a table: records, one for each time.

records = forecasts(trained, Path("sales.csv"))  # [{"date": …, "ahead": 1, "predicted sales": …}]
"""

from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.inference.trained import Trained
from shared.protocol.batching import EVALUATION_ROWS
from shared.protocol.windows import Windows
from shared.system import tables
from shared.system.tables import Table
from shared.tasks import forecast_rows
from shared.tasks.forecast_layout import Layout, arrange, carried, extended
from shared.tasks.forecast_times import spelled
from shared.tasks.task import Column, Series

Record = dict[str, Any]


@np.errstate(over="ignore", invalid="ignore")  # what comes of it is refused
def forecasts(
    trained: Trained, table: Table | Path | str, past: bool | None = None
) -> list[Record]:
    """Predicts the next `horizon` values of each series after its last known target.

    The rows after it may hold what is known ahead; they are needed where the network reads such
    columns. More of them than the horizon are not read, nor are those before the window, unless
    they are predicted or may hold the last value of a column. What is not read is not checked.

    Args:
        table: the rows, or the file that has them.
        past: predict from each earlier row with enough rows before it, too, and put the actual
            values beside; None does so for the tasks whose data comes along.

    Returns:
        For each forecast a record for each step of its horizon: the columns of groups, the time or
        the number of the row in its series, "ahead", and "predicted NAME" for each target.

    Raises:
        InvalidInput: the table lacks a column or rows, or holds something that the network does not
            know or that it was not trained to pass over.
    """
    series = trained.schema.series
    assert series is not None
    own = trained.schema.task == "forecast"
    past = not own if past is None else past
    table = _columns(series, table, own)
    timed = series.time is not None and series.time in table.frame.columns
    layout = arrange(
        table, series.time if timed else None, series.groups, series.gaps,
        series.step if timed else None, [*series.scales],
    )  # fmt: skip
    ends = _last_known(table, series, layout)
    layout, ends = _with_future(table, series, layout, ends)
    rows, actual = _rows(table, series, layout, ends, past)
    starts = ends - series.window + 1
    _check_readable(table, series, layout, rows, starts)
    if past:
        starts = _all_starts(series, layout, rows, ends)
    place = [*series.scales]
    group = np.array([place.index(name) for name in layout.names])[layout.group[starts]]
    scaled = _outputs(trained, Windows(rows, starts, series.window))
    last = rows[starts + series.window - 1, : series.targets]
    predicted = forecast_rows.values(series, scaled, last, group)
    fits = np.abs(predicted) < 0.99 * forecast_rows.LARGEST
    if not fits.all():
        raise InvalidInput(
            f"{table.name}: expected numbers of a size that the network can compute with, got some "
            f"that lead to {predicted[~fits][0]:g}"
        )
    times = starts[:, None] + series.window + np.arange(series.horizon)
    return _records(table, series, layout, times, predicted, actual if past else None, own)


def _columns(series: Series, table: Table | Path | str, own: bool) -> Table:
    """Reads or takes the columns that the network needs; dates that it does not read may lack where
    the task's data comes along."""
    facts = [column for column in series.columns if column.kind not in ("number", "category")]
    names = [*series.groups, *(c.name for c in series.columns if c not in facts)]
    time = [] if series.time is None else [series.time]
    if not isinstance(table, Table):
        kept = [*time, *names] if own else None
        table = tables.read_table([table], kept, option="--input")
    if time and (own or facts or time[0] in table.frame.columns):
        names = [*time, *names]
    return tables.as_table(table, [*dict.fromkeys(names)])


def _last_known(table: Table, series: Series, layout: Layout) -> np.ndarray:
    """Returns the last row of each series with a value of a target, (G,)."""
    known, unchecked = np.zeros(len(layout.order), bool), np.zeros(len(layout.order), bool)
    for column in series.predicted:
        known |= ~np.isnan(forecast_rows.numbers(table, column, layout, unchecked))
    places = np.where(known, np.arange(len(known)), -1)
    found = np.maximum.reduceat(places, layout.bounds[:-1])
    if (found < 0).any():
        names = ", ".join(column.name for column in series.predicted)
        raise InvalidInput(
            f"{table.name}: expected values of {names} in {layout.called(int(found.argmin()))}, "
            "got none"
        )
    return found


def _from_table(series: Series, column: Column) -> bool:
    """Tells whether the future values of a column must stand in the table."""
    facts = column.kind not in ("number", "category")
    return column.ahead and not facts and column.name not in series.groups


def _with_future(
    table: Table, series: Series, layout: Layout, ends: np.ndarray
) -> tuple[Layout, np.ndarray]:
    """Adds the times to predict that the table does not have, and moves the last rows along."""
    given = layout.bounds[1:] - 1 - ends
    needed = [column.name for column in series.columns if _from_table(series, column)]
    if needed and (given < series.horizon).any():
        at = int((given < series.horizon).argmax())
        raise InvalidInput(
            f"{table.name}: expected {series.horizon} rows with {', '.join(needed)}, known ahead, "
            f"after the last value of {series.predicted[0].name} in {layout.called(at)}, "
            f"got {given[at]}"
        )
    longer = extended(layout, ends - layout.bounds[:-1], series.horizon)
    return longer, ends + (longer.bounds - layout.bounds)[:-1]


def _rows(
    table: Table, series: Series, layout: Layout, ends: np.ndarray, past: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows that the network reads (M, F), and the targets in the data's units (M, O).

    Both are NaN where there is no value.
    """
    number, last = np.arange(len(layout.order)), ends[layout.group]
    earlier = past or series.missing == "previous"
    rows = np.empty((len(number), sum(column.width for column in series.columns)))
    actual = np.empty((len(number), series.targets))
    keys = [[*series.scales].index(name) for name in layout.names]
    scales = [[*series.scales.values()][key] for key in keys]
    at = numeric = 0
    for i, column in enumerate(series.columns):
        place, at = rows[:, at : at + column.width], at + column.width
        end = last + series.horizon * column.ahead
        read = (number <= end) & (earlier | (number > end - series.window))
        if column.kind not in ("number", "category"):
            forecast_rows.write_fact(place, table, series, column, layout, read)
            continue
        if column.kind == "number":
            values = forecast_rows.numbers(table, column, layout, read)
            own, numeric = [scale[numeric] for scale in scales], numeric + 1
        else:
            values, own = forecast_rows.known_codes(table, column, layout, read), ()
        if column.name in series.groups:  # as in the other rows of its series
            values = carried(values, layout)
        if i < series.targets:
            actual[:, i] = values
        if series.missing == "refuse":
            end = last + series.horizon * _from_table(series, column)
            needed = (number <= end) & (past | (number > end - series.window))
            forecast_rows.check_complete(table, column.name, layout, values, needed)
        values[~read] = np.nan
        forecast_rows.write(place, table, series, column, values, layout, own)
    return rows, actual


def _check_readable(
    table: Table, series: Series, layout: Layout, rows: np.ndarray, starts: np.ndarray
) -> None:
    """Refuses a series whose last rows are too few, have a jump, or lack a value."""
    for i, (start, first) in enumerate(zip(starts, layout.bounds[:-1], strict=True)):
        what = f"expected at least {series.window} rows, which the network reads,"
        others = "leave out the rows of this series to predict the others"
        if start < first:
            begin = table.place(int(layout.order[first])) if series.groups else table.name
            raise InvalidInput(
                f"{begin}: {what} up to the last value of {layout.called(i)}, "
                f"got {start + series.window - first}" + f"; {others}" * bool(series.groups)
            )
        read = slice(start, start + series.window + series.horizon)
        jumps = np.flatnonzero(np.diff(layout.stretch[read]))
        if len(jumps):
            assert layout.times is not None
            at = start + int(jumps[-1])
            before, after = spelled(layout.times[at : at + 2])
            raise InvalidInput(
                f"{table.place(int(layout.order[at + 1]))}: {what} without a jump in their times "
                f"before the forecast of {layout.called(i)}, got {after} after {before}; add the "
                "rows between them" + f", or {others}" * bool(series.groups)
            )
        empty = np.isnan(rows[start : start + series.window])
        if empty.any():
            names = [c for c in series.columns for _ in range(c.width)]
            column = names[int(empty.any(axis=0).argmax())]
            at = start + int(empty.any(axis=1).argmax()) + series.horizon * column.ahead
            row = int(layout.order[at])
            where = table.name if row < 0 else table.place(row)
            raise InvalidInput(
                f"{where}: expected a value in column {column.name}, which the forecast of "
                f"{layout.called(i)} reads, got none"
            )


def _all_starts(series: Series, layout: Layout, rows: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns the first rows of all windows that can be read, (N,)."""
    absent = np.asarray(np.isnan(rows).any(axis=1))
    nothing = np.zeros(len(rows), bool)
    found = forecast_rows.windows_within(layout, series.window, series.horizon, absent, nothing)
    return found[found + series.window - 1 <= ends[layout.group[found]]]


def _outputs(trained: Trained, inputs: Windows) -> np.ndarray:
    parts = [
        trained.backend.predict(trained.state, inputs[start : start + EVALUATION_ROWS], None)[0]
        for start in range(0, len(inputs), EVALUATION_ROWS)
    ]
    return np.concatenate(parts)


def _records(
    table: Table,
    series: Series,
    layout: Layout,
    times: np.ndarray,
    predicted: np.ndarray,
    actual: np.ndarray | None,
    ahead: bool,
) -> list[Record]:
    """Writes a record for each step of each forecast.

    Args:
        times: (N, h) rows to predict.
        predicted: (N, h, O) in the data's units.
        actual: (M, O) in the data's units, NaN where not known; None leaves them out.
        ahead: say how many steps ahead each value is.
    """
    rows = times.ravel()
    begins = layout.order[layout.bounds[:-1]]
    columns: dict[str, list[Any]] = {}
    for name in series.groups:
        values, codes = tables.categories(table, name)
        columns[name] = [values[i] for i in codes[begins][layout.group[rows]]]
    if layout.times is None:
        columns["row"] = (rows - layout.bounds[layout.group[rows]] + 1).tolist()
    else:
        assert series.time is not None
        columns[series.time] = spelled(layout.times[rows])
    if ahead:
        columns["ahead"] = [*range(1, series.horizon + 1)] * len(times)
    for i, column in enumerate(series.predicted):
        called = f"{column.name}{f' ({column.unit})' * bool(column.unit)}"
        columns[f"predicted {called}"] = predicted[..., i].ravel().tolist()
        if actual is not None:
            true = actual[rows, i].tolist()
            columns[f"actual {called}"] = [None if np.isnan(value) else value for value in true]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
