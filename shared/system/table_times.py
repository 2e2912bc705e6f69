"""A column of dates, times or numbers that count time."""

import numpy as np
import polars as pl

from shared.errors import InvalidInput
from shared.system.table import Table, shown
from shared.system.table_dates import MICROSECONDS, has_zone, is_written, mixed_dates, offsets
from shared.system.table_kinds import filled, kind_of
from shared.system.table_values import numbers


def times(table: Table, column: str) -> np.ndarray:
    """Returns a column of times, (N,): datetime64[us] of dates, or float64 of numbers.

    Text is read as in `shared/system/table_dates.py`. Times with a zone are those of its clock: the
    hour that stands in a text whose offset from UTC is the same in all rows, and of a table in
    memory or Parquet the hour in its column's zone. Where clocks are set back, an hour is there
    twice: times in UTC have no such hour.

    Raises:
        InvalidInput: no such column, or a cell is empty or no date, or the offsets of two rows
            differ; the message names file, row and column.
    """
    cells = table.column(column)
    if cells.dtype == pl.String:
        found = _of_text(table, column, filled(cells).str.strip_chars())
    elif kind_of(cells.dtype) == "dates":
        found = cells
    elif kind_of(cells.dtype) in ("numbers", "nothing"):
        return _counted(table, column)
    else:
        raise InvalidInput(
            f"{table.name}: expected dates in column {column}, got {kind_of(cells.dtype)}"
        )
    if found.null_count():
        row = found.is_null().arg_max() or 0
        raise _no_date(table, row, column, "none")
    if isinstance(found.dtype, pl.Datetime) and found.dtype.time_zone:
        found = found.dt.replace_time_zone(None)  # keeps the hour of the zone's clock
    return found.cast(MICROSECONDS).to_numpy(writable=True)


def _counted(table: Table, column: str) -> np.ndarray:
    """Returns numbers that count time, and refuses dates without dashes, such as 20240301."""
    found = numbers(table, column)
    first, last = 1800_01_01, 2199_12_31
    if len(found) and first <= found.min() and found.max() <= last:
        month, day = found // 100 % 100, found % 100
        if ((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all():
            raise _no_date(table, 0, column, f"{found[0]:.15g}")
    return found


def _of_text(table: Table, column: str, cells: pl.Series) -> pl.Series:
    written = is_written(cells).fill_null(True)
    if not written.all():
        row = (~written).arg_max() or 0
        raise _no_date(table, row, column, shown(cells[row]))
    zoned = has_zone(cells)
    if zoned.any() and not zoned.all():
        row = (zoned != zoned[0]).arg_max() or 0
        raise InvalidInput(
            f"{table.place(row)}: expected times in column {column} with a time zone in all rows "
            f"or in none, got {shown(cells[row])} after {shown(cells[0])}"
        )
    if zoned.any():
        _check_offsets(table, column, cells)
    found = mixed_dates(cells, bool(zoned.any()))
    lost = found.is_null() & cells.is_not_null()
    if lost.any():
        row = lost.arg_max() or 0
        raise InvalidInput(
            f"{table.place(row)}: expected a date that exists in column {column}, "
            f"got {shown(cells[row])}"
        )
    return found


def _check_offsets(table: Table, column: str, cells: pl.Series) -> None:
    found = offsets(cells)
    other = found != found[0]
    if other.any():
        row = other.arg_max() or 0
        raise InvalidInput(
            f"{table.place(row)}: expected times in column {column} with the same offset from UTC "
            f"in all rows, got {shown(cells[row])} after {shown(cells[0])}; write all times in UTC "
            "with Z, or all as those of a clock without a zone"
        )


def _no_date(table: Table, row: int, column: str, got: str) -> InvalidInput:
    return InvalidInput(
        f"{table.place(row)}: expected a date as YYYY-MM-DD in column {column}, got {got}"
    )
