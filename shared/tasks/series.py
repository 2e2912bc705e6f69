"""Forecasts of one step from published tables: trading volume, temperature, sunspots."""

from dataclasses import replace

import numpy as np
import polars as pl

from shared.config import Config
from shared.config.data import ForecastData, SunspotsData, VolumeData, WeatherData
from shared.system.tables import Table
from shared.tasks import published
from shared.tasks.forecast import make
from shared.tasks.task import Task

DATE = "date"
UNITS = {
    "volume": {"log_volume": "", "dj_return": "", "log_volatility": ""},
    "weather": {"temp_max": "°C", "temp_min": "°C", "precipitation": "mm", "wind": "m/s"},
    "sunspots": {"monthly": "sunspots"},
}
"""Units of the columns of each table, the first being the one to predict."""


def volume(config: Config) -> Task:
    """Forecasts tomorrow's log trading volume on the New York Stock Exchange.

    The test part is that of James et al. (2023), the last 1770 days. The last tenth of the days
    before it validates.
    """
    data = config.data
    assert isinstance(data, VolumeData)
    found = published.load("volume")
    training = int(found["train"].sum())
    part = np.where(found["train"], 0, 2)
    part[training - training // 10 : training] = 1
    days = found["date"].astype("datetime64[D]")
    read = _read(config, data, gaps="ignore", calendar=("weekday",) if data.weekday else ())
    return replace(_task(config, read, found, days, part), score="r2")


def weather(config: Config) -> Task:
    """Forecasts tomorrow's highest temperature in Seattle; 2012 and 2013 train, 2014 validates."""
    data = config.data
    assert isinstance(data, WeatherData)
    found = published.load("weather")
    days = found["date"].astype("datetime64[D]")
    part = np.maximum(days.astype("datetime64[Y]").astype(int) + 1970 - 2013, 0)
    read = _read(config, data, calendar=("season",) if data.season else ())
    return _task(config, read, found, days, part)


def sunspots(config: Config) -> Task:
    """Forecasts next month's mean number of sunspots, in reading order: training, validation,
    test."""
    data = config.data
    assert isinstance(data, SunspotsData)
    found = published.load("sunspots")
    months = np.datetime64("1749-01") + np.arange(len(found["monthly"]))
    return _task(config, _read(config, data, split=data.split), found, months, None)


def _read(
    config: Config, data: VolumeData | WeatherData | SunspotsData, **options: object
) -> ForecastData:
    target, *features = UNITS[config.task]
    read = ForecastData(
        target=(target,),
        features=tuple(features),
        time=DATE,
        window=data.window,
        difference=data.difference,
    )
    return replace(read, **options)  # pyright: ignore[reportArgumentType]


def _task(
    config: Config,
    data: ForecastData,
    found: dict[str, np.ndarray],
    days: np.ndarray,
    part: np.ndarray | None,
) -> Task:
    units = UNITS[config.task]
    columns = {DATE: days.astype("datetime64[us]")} | {name: found[name] for name in units}
    source = published.SOURCES[config.task]
    table = Table(pl.DataFrame(columns), ((f"the table of {config.task}", len(days)),))
    return replace(make(config, table, data, part, units), source=source)
