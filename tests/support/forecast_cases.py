"""Tables of made-up sales, and forecasts of them."""

from dataclasses import replace
from typing import Any

import numpy as np

from shared.config.data import ForecastData
from shared.system.tables import as_table
from shared.tasks import TASKS, forecast
from shared.tasks.task import Series, Task

Columns = dict[str, np.ndarray]
DAYS = np.arange("2024-01-01", "2024-04-10", dtype="datetime64[D]")
"""100 days from a Monday on."""


def sales(days: np.ndarray = DAYS, level: float = 0.0, seed: int = 0) -> Columns:
    """One series with a week, a price and the weather."""
    draw = np.random.default_rng(seed)
    count = len(days)
    week = 5 * np.sin(2 * np.pi * np.arange(count) / 7)
    price = draw.choice([2.0, 3.0, 4.0], count)
    return {
        "date": days,
        "sold": 50 + level + week - 3 * price + draw.normal(size=count),
        "returned": draw.uniform(0, 5, count),
        "price": price,
        "weather": draw.choice(["rain", "sun", "wind"], count),
    }


def stores() -> Columns:
    """Three series of unlike levels and lengths, one after the other."""
    own = [sales(DAYS[i * 5 :], 100.0 * i, i) for i in range(3)]
    found = {name: np.concatenate([columns[name] for columns in own]) for name in own[0]}
    named = np.repeat(["north", "south", "west"], [len(columns["date"]) for columns in own])
    return {"store": named} | found


def options(**changed: Any) -> ForecastData:
    standard = ForecastData(target=("sold",), time="date", window=7)
    return replace(standard, **changed)


def load(columns: Columns, **changed: Any) -> Task:
    config = replace(TASKS["forecast"].defaults, data=options(**changed))
    return forecast.from_table(config, as_table(columns))


def series(task: Task) -> Series:
    assert task.series is not None
    return task.series
