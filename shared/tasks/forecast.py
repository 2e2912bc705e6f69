"""Forecasts of the next values of one or many series in a table.

Each series is scaled by itself, by mean and standard deviation of its training part. A window may
begin in times before its part; the values to predict never do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from shared.config import Config
from shared.config.data import ForecastData
from shared.errors import InvalidInput, printable
from shared.protocol.dataset import Signature, Split
from shared.protocol.windows import Windows
from shared.system import tables
from shared.system.environment import check_memory
from shared.system.tables import Table
from shared.tasks import forecast_rows
from shared.tasks.forecast_baselines import Tested, baselines
from shared.tasks.forecast_columns import check_options, columns_of, names_of
from shared.tasks.forecast_layout import Layout, arrange
from shared.tasks.forecast_rows import PARTS
from shared.tasks.forecast_scales import naive_errors, scales_of
from shared.tasks.forecast_times import PLACES, places, spelled
from shared.tasks.parts import TESTED, UNTESTED
from shared.tasks.task import Column, Scale, Series, Task

NAMED = 3
"""Groups without a test forecast that are named."""


def load(config: Config) -> Task:
    """Reads the tables of --data.path and makes a task of them.

    Raises:
        InvalidInput: an option or a table cannot be used.
    """
    data = config.data
    assert isinstance(data, ForecastData)
    if not data.path:
        raise InvalidInput("--data.path: expected a file, got none")
    check_options(data)
    return make(config, tables.read_table(data.path, names_of(data)), data)


def from_table(config: Config, table: Table) -> Task:
    """Makes a task of a table in memory, which stays as it is.

    Raises:
        InvalidInput: an option or the table cannot be used.
    """
    data = config.data
    assert isinstance(data, ForecastData)
    check_options(data)
    return make(config, tables.as_table(table, names_of(data)), data)


@np.errstate(over="ignore", invalid="ignore")  # what comes of it is refused
def make(
    config: Config,
    table: Table,
    data: ForecastData,
    parts: np.ndarray | None = None,
    units: Mapping[str, str] | None = None,
) -> Task:
    """Makes the windows of a table, whose columns are let go as they are read.

    Args:
        parts: (N,) 0, 1 or 2 for the rows of training, validation and test; None splits the times
            by --data.split.
        units: of the columns that have one.

    Raises:
        InvalidInput: an option or the table cannot be used.
    """
    columns = columns_of(table, data, units or {})
    layout = arrange(table, data.time, data.group, data.gaps)
    _check_dates(table, data, layout)
    _let_go(table, {*names_of(data)} - {column.name for column in columns})
    part = _by_time(layout, data.split) if parts is None else parts.astype(np.int8)[layout.order]
    _check_sizes(layout, part, data)
    series, rows, unknown = _read(table, data, columns, layout, part)
    absent = np.isnan(rows[:, 0])
    for i in range(1, rows.shape[1]):
        absent |= np.isnan(rows[:, i])
    starts = forecast_rows.windows_within(layout, data.window, data.horizon, absent, unknown)
    own = _starts_of_parts(part, starts, data)
    goals = rows[:, : series.targets]
    train, valid, test = (
        Split(
            Windows(rows, first, data.window),
            Windows(goals, first + data.window, data.horizon, flat=True, relative=data.difference),
        )
        for first in own
    )
    times, number = layout.times, own[2] + data.window
    if times is None:  # the number of the row in its series
        times = np.arange(1.0, len(part) + 1) - layout.bounds[layout.group]
    begins = np.append(0, np.flatnonzero(np.diff(layout.stretch)) + 1)
    tested = Tested(test, layout.group[number], begins[layout.stretch[number]])
    return Task(
        name=config.task,
        signature=Signature(
            rows.shape[1], data.horizon * series.targets, tokens=False, per_step=False, loss="mse"
        ),
        train=train,
        valid=valid,
        test=test,
        score="rmse" if series.targets == 1 else "mase",
        baselines=lambda: baselines(series, train, tested),
        source=table.name,
        series=series,
        times=times[number],
        group=tested.group,
        about=_about(layout, part, own),
    )


def _check_dates(table: Table, data: ForecastData, layout: Layout) -> None:
    if data.calendar and layout.times is not None and layout.times.dtype.kind != "M":
        raise InvalidInput(
            f"{table.name}: expected dates in column {data.time} for --data.calendar "
            f"{' '.join(data.calendar)}, got numbers"
        )


def _by_time(layout: Layout, split: tuple[float, float, float]) -> np.ndarray:
    """Returns the part of each row, (M,) 0 to 2: shares of all different times, or of the rows'
    numbers within their series."""
    times = layout.times
    if times is None:
        times = np.arange(len(layout.order)) - layout.bounds[layout.group]
    distinct = times if len(layout.names) == 1 else np.unique(times)
    cuts = np.cumsum([round(share * len(distinct)) for share in split[:2]])
    part = np.zeros(len(times), np.int8)
    for cut in cuts:
        part += (times >= distinct[cut]) if cut < len(distinct) else np.int8(0)
    return part


def _check_sizes(layout: Layout, part: np.ndarray, data: ForecastData) -> None:
    """Refuses a part without rows, and a series with too few rows to train on."""
    for i, name in enumerate(PARTS):
        if not (part == i).any():
            raise InvalidInput(
                f"--data.split: expected a {name} part with rows, got none of {len(part)}"
            )
    needed = data.window + data.horizon
    sizes = np.bincount(layout.group[part == 0], minlength=len(layout.names))
    if (sizes < needed).any():
        at = int((sizes < needed).argmax())
        total = layout.bounds[at + 1] - layout.bounds[at]
        raise InvalidInput(
            f"--data.window {data.window}, --data.horizon {data.horizon}: expected at least "
            f"{needed} rows in the training part of {layout.called(at)}, got {sizes[at]} of its "
            f"{total}"
        )


def _starts_of_parts(part: np.ndarray, starts: np.ndarray, data: ForecastData) -> list[np.ndarray]:
    """Returns the first rows of the windows whose values to predict are all in a part.

    Raises:
        InvalidInput: a part has no window.
    """
    first = part[starts + data.window]
    whole = first == part[starts + (data.window + data.horizon - 1)]
    own = [starts[whole & (first == i)] for i in range(len(PARTS))]
    for i, name in enumerate(PARTS):
        if not len(own[i]):
            raise InvalidInput(
                f"--data.split: expected a {name} part with a forecast, which predicts "
                f"{data.horizon} row{'s' * (data.horizon > 1)} (--data.horizon) from the "
                f"{data.window} before (--data.window), got none in {(part == i).sum()} rows"
            )
    return own


def _read(
    table: Table, data: ForecastData, columns: Sequence[Column], layout: Layout, part: np.ndarray
) -> tuple[Series, np.ndarray, np.ndarray]:
    """Reads the columns one by one, and lets each go.

    Returns:
        The rules of the series, the rows that the network reads (M, F), and (M,) True where a value
        to predict is missing.
    """
    training, targets = part == 0, len(data.target)
    columns = [_with_values(table, column, layout, training) for column in columns]
    width = sum(column.width for column in columns)
    check_memory(8 * width * len(part), f"{table.name}: {len(part)} rows of {width} features")
    rows = np.empty((len(part), width))
    unknown = np.zeros(len(part), bool)
    series = Series(
        columns, targets, data.window, data.horizon, data.season, data.time, layout.step,
        [*data.group], {}, data.difference, data.missing, data.gaps,
    )  # fmt: skip
    scales: list[list[Scale]] = []
    naive: list[list[float]] = []
    at = 0
    for i, column in enumerate(columns):
        place, at = rows[:, at : at + column.width], at + column.width
        if column.kind == "category":
            values = forecast_rows.known_codes(table, column, layout)
            _let_go(table, {column.name})
            if data.missing == "refuse":
                forecast_rows.check_complete(table, column.name, layout, values)
            forecast_rows.write(place, table, series, column, values, layout)
        elif column.kind != "number":
            forecast_rows.write_fact(place, table, series, column, layout)
        else:
            values = forecast_rows.numbers(table, column, layout)
            _let_go(table, {column.name})
            if data.missing == "refuse":
                forecast_rows.check_complete(table, column.name, layout, values)
            if i < targets:
                unknown |= np.isnan(values)
            scales.append(scales_of(table, column, i < targets, values, layout, training))
            if i < targets:
                _check_differ(table, column, values, part)
                naive.append(naive_errors(table, column, data.season, values, layout, training))
            forecast_rows.write(place, table, series, column, values, layout, scales[-1])
    named = dict(zip(layout.names, map(list, zip(*scales, strict=True)), strict=True))
    errors = dict(zip(layout.names, map(list, zip(*naive, strict=True)), strict=True))
    return replace(series, scales=named, naive=errors), rows, unknown


def _let_go(table: Table, names: set[str]) -> None:
    for name in names:
        table.frame.drop_in_place(name)


def _with_values(table: Table, column: Column, layout: Layout, training: np.ndarray) -> Column:
    """Adds the values that a category, a weekday or a month has in the training part.

    Raises:
        InvalidInput: a category has fewer than two.
    """
    if column.kind == "category":
        names, found = forecast_rows.codes(table, column.name, layout)
        found = found[training & ~np.isnan(found)]
    elif column.kind in ("weekday", "month"):
        assert layout.times is not None
        names, found = PLACES[column.kind], places(column.kind, layout.times[training])
    else:
        return column
    values = [names[int(i)] for i in np.unique(found)]
    if column.kind == "category" and len(values) < 2:
        raise InvalidInput(
            f"{table.name}: expected values of column {column.name} that differ in the training "
            f"part, got {repr(values[0]) + ' in all rows' if values else 'none'}: it says nothing"
        )
    return replace(column, values=values)


def _check_differ(table: Table, column: Column, values: np.ndarray, part: np.ndarray) -> None:
    """Refuses a target without variance in a part that is scored: no share of it is explained."""
    for i, name in enumerate(PARTS[1:], start=1):
        own = values[(part == i) & ~np.isnan(values)]
        if len(own) == 0 or np.ptp(own) == 0:
            got = f"{len(own)} row{'s' * (len(own) != 1)} of {own[0]:g}" if len(own) else "none"
            raise InvalidInput(
                f"--data.split: {table.name}: expected a {name} part whose values of column "
                f"{column.name} differ, got {got}"
            )


def _about(layout: Layout, part: np.ndarray, starts: Sequence[np.ndarray]) -> dict[str, str]:
    """Returns facts about the data for the run's card."""

    def grouped(number: int | np.integer) -> str:
        return f"{number:,}".replace(",", " ")

    facts = {"rows": grouped(len(part))}
    if layout.names != [""]:
        facts["groups"] = grouped(len(layout.names))
        scored = np.bincount(layout.group[starts[2]], minlength=len(layout.names)) > 0
        facts[TESTED] = f"{grouped(scored.sum())} of {facts['groups']}"
        without = [printable(layout.names[i]) for i in np.flatnonzero(~scored)]
        if without:
            more = f" and {grouped(len(without) - NAMED)} more" * (len(without) > NAMED)
            facts[UNTESTED] = f"{', '.join(without[:NAMED])}{more}"
    times = layout.times
    if times is not None:
        facts |= {"from": _spelled(times.min()), "to": _spelled(times.max())}
    if layout.step is not None:
        facts["step"] = layout.step
    for i, name in enumerate(PARTS):
        facts[name] = f"{grouped(len(starts[i]))} forecasts"
        if times is not None:
            own = times[part == i]
            facts[name] = f"{_spelled(own.min())} to {_spelled(own.max())}, {facts[name]}"
    return facts


def _spelled(time: np.datetime64 | np.floating) -> str:
    return str(spelled(np.array([time]))[0])
