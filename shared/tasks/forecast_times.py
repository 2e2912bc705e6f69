"""Times of a table's rows: the step from one to the next, the times after the last, and facts about
them, such as the weekday.

Times are datetime64[us], or numbers such as years (float64). A step of time is a number and a unit:
d, h, m, s, ms, us; 1bd for the days from Monday to Friday; mo, q, y for months, quarters and years.
A step of numbers is a number.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Literal

import numpy as np

from shared.errors import InvalidInput

UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 10**6, "ms": 1000, "us": 1}
"""Microseconds of each unit of a fixed length."""
MONTHS = {"y": 12, "q": 3, "mo": 1}
BUSINESS = "1bd"
PLACES: dict[str, list[str]] = {
    "weekday": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "month": ["January", "February", "March", "April", "May", "June", "July", "August", "September",
              "October", "November", "December"],
}  # fmt: skip
"""Names of the places in a week and in a year."""
PIECE = 1 << 18
NEAR = 0.05
"""Share of a step by which numbers may miss a whole number of steps: years such as 1749.083."""


def step_of(times: np.ndarray, follows: np.ndarray, trading: bool) -> str:
    """Returns the most frequent time from a row to the next one of its series.

    Args:
        times: (M,) growing within each series, without a repeat.
        follows: (M - 1,) True where a row and the next one are of the same series.
        trading: True if days that are left out, such as weekends, are no jumps.

    Raises:
        InvalidInput: no row follows another.
    """
    if not follows.any():
        raise InvalidInput("expected a series of at least two rows, got one row in each")
    if times.dtype.kind != "M":
        return f"{float(np.median(np.diff(times)[follows])):.10g}"
    sizes: Counter[int] = Counter()
    for piece in pieces(len(follows)):
        between = np.diff(times[piece.start : piece.stop + 1])[follows[piece]]
        found, counts = np.unique(between.astype(np.int64), return_counts=True)
        sizes += Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))
    if min(sizes) >= 28 * UNITS["d"] and (months := _months_of(times, follows)) is not None:
        unit = next(unit for unit, size in MONTHS.items() if months % size == 0)
        return f"{months // MONTHS[unit]}{unit}"
    size = min(sizes, key=lambda size: (-sizes[size], size))
    if trading and size == UNITS["d"] and (weekday(times) < 5).all():
        return BUSINESS
    unit = next(unit for unit, length in UNITS.items() if size % length == 0)
    return f"{size // UNITS[unit]}{unit}"


def _months_of(times: np.ndarray, follows: np.ndarray) -> int | None:
    """Returns the most frequent number of months between rows, or None if they are no months."""
    between = steps_between(times, "1mo")[follows]
    whole = between[np.isfinite(between)]
    if len(whole) < 0.9 * len(between):  # a few may be mistakes, to be named as jumps
        return None
    found, counts = np.unique(whole.astype(np.int64), return_counts=True)
    return int(found[counts.argmax()])


def pieces(count: int) -> Iterator[slice]:
    """Yields slices of so many places, short ones, so that what is computed of each needs little
    memory beside millions of rows."""
    for start in range(0, count, PIECE):
        yield slice(start, min(count, start + PIECE))


def steps_between(times: np.ndarray, step: str) -> np.ndarray:
    """Returns the number of steps from each time to the next, (M - 1,); NaN if it is no whole
    number."""
    if times.dtype.kind != "M":
        found = np.diff(times) / float(step)
        near = np.abs(found - np.round(found)) < NEAR
        return np.where(near, np.round(found), np.nan)
    count, unit = _parsed(step)
    if unit == "bd":
        days = times.astype("datetime64[D]")
        return np.busday_count(days[:-1], days[1:]).astype(np.float64)
    if unit in MONTHS:
        found = np.diff(times.astype("datetime64[M]")).astype(np.int64) / (count * MONTHS[unit])
        return np.where(_same_day(times) & (found % 1 == 0), found, np.nan)
    found = np.diff(times).astype(np.int64) / (count * UNITS[unit])
    return np.where(found % 1 == 0, found, np.nan)


def _same_day(times: np.ndarray) -> np.ndarray:
    """Tells whether a time and the next are at the same day of their months and time of their day.

    The last day of a shorter month stands for a later one: 31 January, 28 February.
    """
    days, months = times.astype("datetime64[D]"), times.astype("datetime64[M]")
    number = (days - months.astype("datetime64[D]")).astype(np.int64)
    last = (months + 1).astype("datetime64[D]") - 1 == days
    smaller = number[:-1] < number[1:]
    alike = (number[:-1] == number[1:]) | (smaller & last[:-1]) | (~smaller & last[1:])
    at = times - days
    return alike & (at[:-1] == at[1:])


def following(times: np.ndarray, step: str, count: int) -> np.ndarray:
    """Returns the times after those of one series, (count,).

    Months keep the day, as far as the month has it; months' ends stay months' ends.

    Args:
        times: (N,) of the series, growing.
    """
    ahead = np.arange(1, count + 1)
    if times.dtype.kind != "M":
        return times[-1] + float(step) * ahead
    size, unit = _parsed(step)
    day = times[-1].astype("datetime64[D]")
    if unit == "bd":
        return np.busday_offset(day, ahead, roll="backward") + (times[-1] - day)
    if unit not in MONTHS:
        return times[-1] + (size * UNITS[unit] * ahead).astype("timedelta64[us]")
    days, months = times.astype("datetime64[D]"), times.astype("datetime64[M]")
    ends = ((months + 1).astype("datetime64[D]") - 1 == days).all()
    anchor = 30 if ends else (days - months.astype("datetime64[D]")).astype(np.int64).max()
    found = months[-1] + size * MONTHS[unit] * ahead
    latest = (found + 1).astype("datetime64[D]") - 1
    found = np.minimum(found.astype("datetime64[D]") + anchor, latest)
    return found + (times[-1] - day)


def of_numbers(step: str) -> bool:
    """Tells whether a step is that of numbers, not of time."""
    return step[-1].isdecimal()


def _parsed(step: str) -> tuple[int, str]:
    found = re.fullmatch(r"(\d+)([a-z]+)", step)
    if found is None or found[2] not in (*UNITS, *MONTHS, "bd"):
        raise InvalidInput(f"expected a step of time such as 1d, 15m or 1mo, got {step}")
    return int(found[1]), found[2]


def weekday(times: np.ndarray) -> np.ndarray:
    """Returns 0 for Monday to 6 for Sunday, (N,)."""
    monday = np.datetime64("1970-01-05")
    return (times.astype("datetime64[D]") - monday).astype(np.int64) % 7


def month(times: np.ndarray) -> np.ndarray:
    """Returns 0 for January to 11 for December, (N,)."""
    return times.astype("datetime64[M]").astype(np.int64) % 12


def circle(kind: Literal["hour", "season"], times: np.ndarray) -> list[np.ndarray]:
    """Returns sine and cosine of the place in the day, or in the year of 365.25 days, (N,) each."""
    begins = times.astype("datetime64[D]" if kind == "hour" else "datetime64[Y]")
    passed = (times - begins.astype(times.dtype)) / np.timedelta64(1, "D")
    angle = 2 * np.pi * passed / (1 if kind == "hour" else 365.25)
    return [np.sin(angle), np.cos(angle)]


def places(kind: Literal["weekday", "month"], times: np.ndarray) -> np.ndarray:
    """Returns the place of each time in the week or in the year, from 0, (N,)."""
    return weekday(times) if kind == "weekday" else month(times)


def spelled(times: np.ndarray) -> list[str | int | float]:
    """Returns times for a reader: dates, with the time of day if one of them has it, or numbers."""
    if times.dtype.kind != "M":
        return [int(time) if time == int(time) else float(time) for time in times]
    if (times == times.astype("datetime64[D]")).all():
        return times.astype("datetime64[D]").astype(str).tolist()
    unit = next(u for u in ("m", "s", "us") if (times == times.astype(f"datetime64[{u}]")).all())
    return [time.replace("T", " ") for time in times.astype(f"datetime64[{unit}]").astype(str)]
