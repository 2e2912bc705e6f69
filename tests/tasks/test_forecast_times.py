"""Times of a table: the step between rows, its jumps, and the times that follow."""

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.tasks.forecast_times import circle, following, places, spelled, step_of, steps_between


def dates(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[us]")


def step(times: np.ndarray, trading: bool = False) -> str:
    return step_of(times, np.ones(len(times) - 1, bool), trading)


def evenly(begin: str, end: str, size: int, unit: str) -> np.ndarray:
    found = np.arange(begin, end, np.timedelta64(size, unit), dtype=f"datetime64[{unit}]")
    return found.astype("datetime64[us]")


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (evenly("2024-01-01", "2024-02-01", 1, "D"), "1d"),
        (evenly("2024-01-01", "2024-03-01", 7, "D"), "7d"),
        (evenly("2024-01-01", "2024-12-01", 28, "D"), "28d"),
        (evenly("2024-01-01T00", "2024-01-03T00", 1, "h"), "1h"),
        (evenly("2024-01-01T00:00", "2024-01-01T09:00", 15, "m"), "15m"),
        (evenly("2024-01-01T00:00:00", "2024-01-01T00:01:00", 10, "s"), "10s"),
        (evenly("2024-01-01T00:00:00.000", "2024-01-01T00:00:01.000", 40, "ms"), "40ms"),
        (evenly("2020-01", "2024-01", 1, "M"), "1mo"),
        (evenly("2020-01", "2024-01", 3, "M"), "1q"),
        (evenly("2020-01", "2024-01", 2, "M"), "2mo"),
        (evenly("2000", "2024", 1, "Y"), "1y"),
        (evenly("1900", "2024", 10, "Y"), "10y"),
        (dates("2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"), "1mo"),
        (dates("2023-01-30", "2023-02-28", "2023-03-30", "2023-04-30"), "1mo"),
        (dates("2024-01-15 06:00", "2024-02-15 06:00", "2024-03-15 06:00"), "1mo"),
        (dates("2024-01-31", "2024-03-01", "2024-03-31"), "30d"),
        (np.arange(1960.0, 2000.0), "1"),
        (np.arange(0.0, 100.0, 2.5), "2.5"),
        (np.round(1749 + np.arange(48) / 12, 3), "0.083"),
    ],
)
def test_the_step_is_the_most_frequent_one(times: np.ndarray, expected: str) -> None:
    assert step(times) == expected
    assert (steps_between(times, expected) == 1).all()


def test_the_step_is_that_within_series() -> None:
    times = np.concatenate([dates("2024-01-01", "2024-01-02"), dates("2023-01-01", "2023-01-02")])
    assert step_of(times, np.array([True, False, True]), False) == "1d"
    with pytest.raises(InvalidInput, match=r"^expected a series of at least two rows, got one row"):
        step_of(times, np.zeros(3, bool), False)


def test_a_few_jumps_do_not_change_the_step() -> None:
    months = np.delete(evenly("2020-01", "2024-01", 1, "M"), [5, 17, 18])
    assert step(months) == "1mo"
    np.testing.assert_array_equal(np.flatnonzero(steps_between(months, "1mo") != 1), [4, 15])
    days = np.delete(evenly("2024-01-01", "2024-03-01", 1, "D"), [5, 17, 18])
    assert step(days) == "1d"
    assert set(steps_between(days, "1d")) == {1, 2, 3}


def test_days_of_trading_leave_weekends_out() -> None:
    days = evenly("2024-01-01", "2024-03-01", 1, "D")
    trading = days[np.is_busday(days.astype("datetime64[D]"))]
    assert step(trading, trading=True) == "1bd"
    assert step(trading) == step(days, trading=True) == "1d"
    assert (steps_between(trading, "1bd") == 1).all()


def test_what_is_no_whole_number_of_steps_is_none() -> None:
    times = dates("2024-01-01", "2024-01-02 12:00", "2024-01-03 12:00")
    np.testing.assert_array_equal(steps_between(times, "1d"), [np.nan, 1])
    np.testing.assert_array_equal(steps_between(dates("2024-01-15", "2024-02-16"), "1mo"), [np.nan])
    np.testing.assert_array_equal(steps_between(np.array([1.0, 2.0, 3.5]), "1"), [1, np.nan])


@pytest.mark.parametrize(
    ("times", "step", "expected"),
    [
        (dates("1983-12-31", "1984-01-31"), "1mo", ["1984-02-29", "1984-03-31", "1984-04-30"]),
        (dates("1983-03-31", "1983-04-30"), "1mo", ["1983-05-31", "1983-06-30", "1983-07-31"]),
        (dates("1983-03-30", "1983-04-30"), "1mo", ["1983-05-30", "1983-06-30", "1983-07-30"]),
        (dates("1982-12-30", "1983-01-30"), "1mo", ["1983-02-28", "1983-03-30", "1983-04-30"]),
        (dates("2023-10-01", "2024-01-01"), "1q", ["2024-04-01", "2024-07-01", "2024-10-01"]),
        (dates("2023-02-28", "2024-02-29"), "1y", ["2025-02-28", "2026-02-28", "2027-02-28"]),
        (dates("2024-02-27", "2024-02-28"), "1d", ["2024-02-29", "2024-03-01", "2024-03-02"]),
        (dates("2024-02-29", "2024-03-01"), "1bd", ["2024-03-04", "2024-03-05", "2024-03-06"]),
        (dates("2024-02-29 23:30", "2024-02-29 23:45"), "15m",
         ["2024-03-01 00:00", "2024-03-01 00:15", "2024-03-01 00:30"]),
        (np.array([1.0, 3.0]), "2", [5, 7, 9]),
        (np.array([0.0, 0.5]), "0.5", [1, 1.5, 2]),
    ],
)  # fmt: skip
def test_times_go_on_by_their_step(times: np.ndarray, step: str, expected: list) -> None:
    found = following(times, step, 3).astype(times.dtype)
    assert spelled(found) == expected


def test_places_in_day_week_and_year() -> None:
    times = dates("2024-01-01 06:00", "2024-07-07 18:00")
    np.testing.assert_array_equal(places("weekday", times), [0, 6])
    np.testing.assert_array_equal(places("month", times), [0, 6])
    sine, cosine = circle("hour", times)
    np.testing.assert_allclose([sine, cosine], [[1, -1], [0, 0]], atol=1e-12)
    sine, cosine = circle("season", times)
    angle = 2 * np.pi * np.array([0.25, 188.75]) / 365.25
    np.testing.assert_allclose([sine, cosine], [np.sin(angle), np.cos(angle)], atol=1e-12)
