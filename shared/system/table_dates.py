"""Text as dates and times in the ways of ISO 8601 that can be mistaken for nothing else.

2024-03 is a month, 2024-03-01 a day, 2024-03-01 13:00 or 2024-03-01T13:00:05.25 a time, after which
Z or +01:00 may name its zone.
"""

import polars as pl

_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = "[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?"
_ZONE = "(Z|[+-][0-9]{2}:?[0-9]{2})"
_MONTH = "^[0-9]{4}-[0-9]{2}$"
_WRITTEN = f"^([0-9]{{4}}-[0-9]{{2}}|{_DAY}([T ]{_CLOCK}{_ZONE}?)?)$"
MICROSECONDS = pl.Datetime("us")
_UNIFORM: list[tuple[str, str, pl.DataType]] = [
    (f"^{_DAY}$", "%Y-%m-%d", pl.Date()),
    *(
        (f"^{_DAY}{mark}[0-9]{{2}}:[0-9]{{2}}{ending}$", f"%Y-%m-%d{mark}%H:%M{rest}", kind)
        for mark in "T "
        for ending, rest, kind in (
            ("", "", MICROSECONDS),
            (":[0-9]{2}", ":%S", MICROSECONDS),
            (":[0-9]{2}[.][0-9]{1,6}", ":%S%.f", MICROSECONDS),
            (":[0-9]{2}Z", ":%SZ", pl.Datetime("us", "UTC")),
        )
    ),
]
"""Ways in which all cells of a column may be written: a pattern, that of polars, and the type."""


def uniform_dates(cells: pl.Series) -> pl.Series | None:
    """Reads text as dates or times if all cells are one and are written alike; else None."""
    first = cells.drop_nulls().head(1)
    for pattern, polars_pattern, kind in _UNIFORM:
        if not first.str.contains(pattern).any():
            continue
        naive = pl.Date() if kind == pl.Date else MICROSECONDS
        found = cells.str.strptime(naive, polars_pattern, strict=False)
        if found.null_count() > cells.null_count() or not cells.str.contains(pattern).all():
            return None
        if (found.dt.year() == 0).any():  # which Python does not have
            return None
        return found if kind == naive else found.dt.replace_time_zone("UTC")
    return None


def is_written(cells: pl.Series) -> pl.Series:
    """Tells which cells are written as a date or time, whether it exists or not."""
    return cells.str.contains(_WRITTEN)


def has_zone(cells: pl.Series) -> pl.Series:
    """Tells which cells have a time zone."""
    return cells.str.contains(f":.*{_ZONE}$")


def offsets(cells: pl.Series) -> pl.Series:
    """Returns the offset from UTC of each cell that has a zone: +0100, and +0000 also for Z."""
    written = cells.str.extract(f"{_ZONE}$").str.replace(":", "", literal=True)
    return written.replace({"Z": "+0000", "-0000": "+0000"})


def mixed_dates(cells: pl.Series, zoned: bool) -> pl.Series:
    """Reads text in which each cell `is_written` in one of the ways.

    Args:
        zoned: all have a time zone, which is left out: the times are those of its clock.

    Returns:
        Times without a zone; null where a date does not exist.
    """
    if zoned:
        cells = cells.str.replace(f"{_ZONE}$", "")
    found = pl.Series(cells.name, [None] * len(cells), MICROSECONDS)
    rest = cells
    for day in ("%Y-%m-%d", "%Y-%m-%dT", "%Y-%m-%d "):
        clocks = ("",) if day == "%Y-%m-%d" else ("%H:%M", "%H:%M:%S", "%H:%M:%S%.f")
        for clock in clocks:
            if rest.null_count() == len(rest):
                return found
            part = _read(rest, day + clock)
            found = found.fill_null(part) if found.null_count() < len(found) else part
            rest = rest.set(part.is_not_null(), None)
    months = rest.set(~rest.str.contains(_MONTH).fill_null(False), None)
    return found.fill_null(_read(months + "-01", "%Y-%m-%d"))  # polars needs a day


def _read(cells: pl.Series, pattern: str) -> pl.Series:
    found = cells.str.strptime(MICROSECONDS, pattern, strict=False)
    return found.set(found.dt.year() == 0, None)  # which Python does not have
