"""Columns of a table as numbers, text or categories; a cell that is none is refused by row."""

import re
from typing import Any

import numpy as np
import polars as pl

from shared.errors import InvalidInput
from shared.system.table import Table, shown
from shared.system.table_kinds import as_floats, empty, filled, is_name, kind_of


def numbers(table: Table, column: str, missing: bool = False, way_out: str = "") -> np.ndarray:
    """Returns a column as numbers, (N,) float64; booleans are 0 and 1.

    Args:
        missing: read an empty cell, or "nan", as NaN instead of refusing it.
        way_out: what to do about an empty cell, for the refusal.

    Raises:
        InvalidInput: no such column, or a cell is empty, infinite or no number; the message names
            file, row and column.
    """
    cells = table.column(column)
    if cells.dtype == pl.String or is_name(cells.dtype):
        cells = cells.cast(pl.String)
        found = as_floats(cells)
        if found.null_count() > cells.null_count():
            wrong = found.is_null() & ~empty(cells)
            if wrong.any():
                row = _first(wrong)
                value = cells[row]
                hint = "; write decimals with a point" if _has_comma(value) else ""
                raise InvalidInput(
                    f"{table.place(row)}: expected a number in column {column}, "
                    f"got {shown(value)}{hint}"
                )
    elif kind_of(cells.dtype) in ("numbers", "booleans", "nothing"):
        found = cells.cast(pl.Float64)
    else:
        raise InvalidInput(
            f"{table.name}: expected numbers in column {column}, got {kind_of(cells.dtype)}"
        )
    infinite = found.is_infinite().fill_null(False)
    if infinite.any():
        row = _first(infinite)
        raise InvalidInput(
            f"{table.place(row)}: expected a finite number in column {column}, "
            f"got {shown(cells[row])}"
        )
    if not missing:
        absent = found.is_null() | found.is_nan().fill_null(True)
        if absent.any():
            row = _first(absent)
            value = "none" if cells[row] is None or found[row] is None else cells[row]
            raise _absent(table, row, f"a number in column {column}", value, way_out)
    return found.to_numpy(writable=True)


def texts(table: Table, column: str, missing: bool = False) -> list[str]:
    """Returns the text of each cell; whole numbers as 3, not 3.0.

    Args:
        missing: read an empty cell as "" instead of refusing it.

    Raises:
        InvalidInput: no such column, or a cell is empty; the message names file, row and column.
    """
    cells = _filled(table, column)
    if not missing:
        _refuse_empty(table, column, cells)
    return _as_text(cells).fill_null("").to_list()


def categories(table: Table, column: str, strip: bool = False) -> tuple[list[str], np.ndarray]:
    """Returns the different texts of a column in order, and the number of each cell's, (N,) int32.

    Whole numbers are in the order of their size.

    Args:
        strip: leave out blanks around a text.

    Raises:
        InvalidInput: no such column, or a cell is empty; the message names file, row and column.
    """
    cells = _filled(table, column)
    if strip and kind_of(cells.dtype) == "text":
        cells = filled(cells.cast(pl.String)).str.strip_chars()
    _refuse_empty(table, column, cells)
    values: list[str] = _as_text(cells.unique()).to_list()
    whole = all(re.fullmatch("-?[0-9]{1,18}", value) for value in values)
    values.sort(key=lambda value: (int(value), value) if whole else (0, value))
    kind = pl.Enum(values)
    # Piece by piece, so that the text of all cells is never in memory.
    codes = [_as_text(part).cast(kind).to_physical() for part in cells.get_chunks()]
    return values, pl.concat(codes).cast(pl.Int32).to_numpy(writable=True)


def is_text(table: Table, column: str) -> bool:
    """Tells whether a column holds text."""
    dtype = table.column(column).dtype
    return dtype == pl.String or is_name(dtype)


def is_whole(table: Table, column: str) -> bool:
    """Tells whether a column holds only whole numbers or booleans, empty cells aside."""
    cells = table.column(column)
    if cells.dtype.is_integer() or cells.dtype == pl.Boolean:
        return True
    return cells.dtype.is_float() and _whole(cells)


def _whole(cells: pl.Series) -> bool:
    known = cells.fill_nan(None).drop_nulls()
    return bool((known.is_finite() & (known == known.round())).all())


def _filled(table: Table, column: str) -> pl.Series:
    """Returns a column whose cells can be written as text; those without a value are null."""
    cells = table.column(column)
    if cells.dtype == pl.String:
        return filled(cells)
    if cells.dtype.is_float():
        cells = cells.fill_nan(None)
        return cells.set(cells == 0, 0.0)  # -0 is 0
    if kind_of(cells.dtype) in ("numbers", "booleans", "dates", "nothing", "text"):
        return cells
    raise InvalidInput(
        f"{table.name}: expected text in column {column}, got {kind_of(cells.dtype)}"
    )


def _as_text(cells: pl.Series) -> pl.Series:
    """Writes the cells of a column as text, the whole ones among numbers without a point."""
    text = cells.cast(pl.String)
    if not cells.dtype.is_float():
        return text
    whole = (cells == cells.round()) & (cells.abs() < 2**53)  # which int64 and float64 both have
    return cells.cast(pl.Int64, strict=False).cast(pl.String).zip_with(whole.fill_null(False), text)


def _refuse_empty(table: Table, column: str, cells: pl.Series) -> None:
    if cells.null_count():
        row = _first(cells.is_null())
        raise _absent(table, row, f"a value in column {column}", "none", "")


def _absent(table: Table, row: int, what: str, value: Any, way_out: str) -> InvalidInput:
    advice = f"; {way_out}" if way_out else ""
    return InvalidInput(f"{table.place(row)}: expected {what}, got {value}{advice}")


def _first(rows: pl.Series) -> int:
    """Returns the first row that is true."""
    found = rows.arg_max()
    assert found is not None
    return found


def _has_comma(value: str) -> bool:
    """Tells whether a text is a number with a decimal comma."""
    try:
        float(value.replace(",", "."))
    except ValueError:
        return False
    return "," in value
