"""Forecasts of one step: trading volume, temperature, sunspots.

Columns are scaled by mean and standard deviation of the training part. A sequence may begin in
times before its part; its target never does.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from shared.config import Config
from shared.config.data import SunspotsData, VolumeData, WeatherData
from shared.errors import InvalidInput
from shared.protocol.dataset import Signature, Split
from shared.tasks import baselines, published
from shared.tasks.task import Baseline, Column, Series, Task

Table = dict[str, np.ndarray]
"""Columns by name, (N,) each."""


def volume(config: Config) -> Task:
    """Forecasts tomorrow's log trading volume on the New York Stock Exchange.

    The test part is that of James et al. (2023), the last 1770 days. The last tenth of the days
    before it validates.
    """
    data = config.data
    assert isinstance(data, VolumeData)
    found = published.load("volume")
    units = {"log_volume": "", "dj_return": "", "log_volatility": ""}
    training, test = np.flatnonzero(found["train"]), np.flatnonzero(~found["train"])
    edge = len(training) - len(training) // 10
    known = "weekday" if data.weekday else None
    return _task(
        config, found, units, _days(found), (training[:edge], training[edge:], test),
        data, "day", known, "r2",
    )  # fmt: skip


def weather(config: Config) -> Task:
    """Forecasts tomorrow's highest temperature in Seattle; 2012 and 2013 train, 2014 validates."""
    data = config.data
    assert isinstance(data, WeatherData)
    found = published.load("weather")
    units = {"temp_max": "°C", "temp_min": "°C", "precipitation": "mm", "wind": "m/s"}
    days = _days(found)
    year = days.astype("datetime64[Y]").astype(int) + 1970
    parts = [np.flatnonzero(chosen) for chosen in (year < 2014, year == 2014, year == 2015)]
    known = "season" if data.season else None
    return _task(
        config, found, units, days, parts, data, "day", known, "rmse",
    )  # fmt: skip


def sunspots(config: Config) -> Task:
    """Forecasts next month's mean number of sunspots, in reading order: training, validation,
    test."""
    data = config.data
    assert isinstance(data, SunspotsData)
    found = published.load("sunspots")
    count = len(found["monthly"])
    months = np.datetime64("1749-01") + np.arange(count)
    parts = np.split(np.arange(count), np.cumsum([round(s * count) for s in data.split[:2]]))
    return _task(
        config, found, {"monthly": "sunspots"}, months, parts, data, "month", None, "rmse",
    )  # fmt: skip


def sequences(series: Series, table: Table, times: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Makes the network's inputs for forecasts, (N, window, F) float64.

    Args:
        table: the columns of the series.
        times: (M,) datetime64, at least to the last time to predict.
        rows: (N,) the places in the table to predict, each with `window` rows before it.
    """
    scaled = np.stack(
        [(table[c.name].astype(np.float64) - c.mean) / c.std for c in series.columns], axis=1
    )
    inputs = scaled[rows[:, None] + np.arange(-series.window, 0)]
    beside = known(series, times)[rows]
    return np.concatenate(
        [inputs, np.repeat(beside[:, None], series.window, axis=1)], axis=2, dtype=np.float64
    )


def variance(series: Series, split: Split) -> float:
    """Returns the variance of the values to predict, in the scale of the inputs."""
    values = split.targets + split.inputs[:, -1, :1] if series.difference else split.targets
    return float(np.var(values))


def known(series: Series, times: np.ndarray) -> np.ndarray:
    """Returns the known facts about times, (N, K)."""
    days = times.astype("datetime64[D]")
    if series.known == "weekday":
        monday = np.datetime64("1970-01-05")
        weekday = (days - monday).astype(int) % 7
        if (weekday > 4).any():
            raise InvalidInput(
                f"expected days from Monday to Friday, got {days[weekday > 4][0]}, a weekend"
            )
        return np.eye(5)[weekday]
    if series.known == "season":
        angle = 2 * np.pi * (days - days.astype("datetime64[Y]")).astype(int) / 365.25
        return np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return np.empty((len(times), 0))


def _days(found: Table) -> np.ndarray:
    return found["date"].astype("datetime64[D]")


def _task(
    config: Config,
    table: Table,
    units: dict[str, str],
    times: np.ndarray,
    parts: Sequence[np.ndarray],
    data: VolumeData | WeatherData | SunspotsData,
    time: Literal["day", "month"],
    known: Literal["weekday", "season"] | None,
    score: str,
) -> Task:
    """Makes the task that forecasts the first column.

    Args:
        units: of each column, the first being the target.
        times: (N,) of each row.
        parts: the rows to predict in training, validation and test.
    """
    name, window = config.task, data.window
    training = parts[0][parts[0] >= window]
    goal = table[next(iter(units))]
    _check_parts((training, *parts[1:]), [goal[rows] for rows in parts], window, time)
    first = parts[0]
    columns = [
        Column(
            key,
            unit,
            float(table[key][first].mean(dtype=np.float64)),
            float(table[key][first].std(dtype=np.float64)),
        )
        for key, unit in units.items()
    ]
    target = columns[0]
    series = Series(columns, target, window, time, data.difference, known)

    def split(rows: np.ndarray) -> Split:
        targets = (goal[rows, None].astype(np.float64) - target.mean) / target.std
        inputs = sequences(series, table, times, rows)
        return Split(inputs, targets - inputs[:, -1, :1] if data.difference else targets)

    train, valid, test = map(split, (training, *parts[1:]))
    return Task(
        name=name,
        signature=Signature(train.inputs.shape[2], 1, tokens=False, per_step=False, loss="mse"),
        train=train,
        valid=valid,
        test=test,
        score=score,
        baselines=_baselines(series, train, test),
        source=published.SOURCES[name],
        series=series,
        times=times[parts[2]],
    )


def _check_parts(
    rows: Sequence[np.ndarray], values: Sequence[np.ndarray], window: int, time: str
) -> None:
    """Refuses parts that are too short, or of a single value.

    Args:
        rows: the rows to predict in training, validation and test.
        values: all values of each part.
    """
    names = ("training", "validation", "test")
    for part, found in zip(names, rows, strict=True):
        if len(found) == 0 or found[0] < window:
            raise InvalidInput(
                f"--data.window {window}: expected a {part} part with a {time} after so many, "
                f"got {len(found)} {time}s"
            )
    for part, found in zip(names, values, strict=True):
        if np.ptp(found) == 0:  # no scale, and no share of its variance to explain
            raise InvalidInput(
                f"--data.split: expected a {part} part whose values differ, "
                f"got {len(found)} {time}{'s' * (len(found) != 1)}"
            )


def _baselines(series: Series, train: Split, test: Split) -> Callable[[], list[Baseline]]:
    """Returns the baselines: the last value, and least squares on the network's inputs.

    Least squares is fitted once to the target's own past, and once to the past of all columns.
    """
    width, std = len(series.columns), series.target.std
    known = {"weekday": ", weekday", "season": ", season", None: ""}[series.known]
    several = {1: ""} if width == 1 else {1: " of itself", width: f" of all {width} columns"}

    def features(split: Split, columns: int) -> np.ndarray:
        rows = len(split.inputs)
        beside = split.inputs[:, 0, width:]
        beside = beside[:, 1:] if series.known == "weekday" else beside  # they sum to 1
        return np.column_stack([split.inputs[..., :columns].reshape(rows, -1), beside])

    def computed() -> list[Baseline]:
        last = test.inputs[:, -1, :1]
        predicted = np.zeros_like(last) if series.difference else last
        scale = std, variance(series, test)
        return [
            baselines.errors("persistence", predicted, test.targets, *scale),
            *(
                baselines.linear(
                    f"AR({series.window}){about}{known}",
                    features(train, columns),
                    train.targets,
                    features(test, columns),
                    test.targets,
                    *scale,
                )
                for columns, about in several.items()
            ),
        ]

    return computed
