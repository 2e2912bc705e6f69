"""Text of a table's cells as numbers, booleans or dates, where all cells of a column are."""

from dataclasses import dataclass, field

import polars as pl

from shared.system.table_dates import uniform_dates

_BOOLEANS = {written: value for value in (True, False)
            for written in (str(value), str(value).lower(), str(value).upper())}  # fmt: skip
_EXACT = 18
"""Digits that every 64-bit integer of so many has; a longer number is the name of something."""


def kind_of(dtype: pl.DataType) -> str:
    """Names what a column holds, in words for a message."""
    if dtype.is_numeric():
        return "numbers"
    if dtype == pl.Boolean:
        return "booleans"
    if dtype == pl.Null:
        return "nothing"
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return "dates"
    return "text" if dtype == pl.String or is_name(dtype) else str(dtype)


def is_name(dtype: pl.DataType) -> bool:
    """Tells whether a column holds text of few different values."""
    return isinstance(dtype, pl.Categorical | pl.Enum)


def as_floats(cells: pl.Series) -> pl.Series:
    """Reads text as numbers, float64; what is no number, or empty, is null.

    Blanks around a number are ignored. Digits grouped by "_" are no number.
    """
    numbers = cells.cast(pl.Float64, strict=False)
    if numbers.null_count() > cells.null_count():
        numbers = cells.str.strip_chars().cast(pl.Float64, strict=False)
    return numbers


def empty(cells: pl.Series) -> pl.Series:
    """Tells which cells of text hold nothing, or only blanks."""
    return (cells.str.strip_chars() == "").fill_null(True)


def filled(cells: pl.Series) -> pl.Series:
    """Returns text whose cells are null where they hold nothing, or only blanks."""
    missing = empty(cells)
    return cells if missing.sum() == cells.null_count() else cells.set(missing, None)


def narrowed(cells: pl.Series) -> pl.Series:
    """Reads a column of text as whole numbers, numbers, booleans or dates if each of its cells is
    one.

    Numbers that begin with a 0, as postal codes do, and whole numbers of more than 18 digits stay
    text: they would not be the same again.
    """
    if cells.null_count() == len(cells):
        return pl.Series(cells.name, [None] * len(cells), pl.Null)
    whole = cells.cast(pl.Int64, strict=False)
    if whole.null_count() == cells.null_count():
        return cells if _coded(cells) else whole
    numbers = as_floats(cells)
    if numbers.null_count() > cells.null_count():
        missing = empty(cells)
        if missing.all():
            return pl.Series(cells.name, [None] * len(cells), pl.Null)
        if numbers.null_count() > missing.sum():
            return _booleans_or_dates(cells)
        cells = cells.set(missing, None)  # an empty cell in quotes
    cells = cells.str.strip_chars()
    if _coded(cells):
        return cells
    whole = cells.cast(pl.Int64, strict=False)
    return whole if whole.null_count() == cells.null_count() else numbers


def _booleans_or_dates(cells: pl.Series) -> pl.Series:
    some = cells.drop_nulls().head(1).to_list()
    if some[0] in _BOOLEANS and cells.is_in([*_BOOLEANS]).all():
        return cells.replace_strict(_BOOLEANS, return_dtype=pl.Boolean)
    dates = uniform_dates(cells)
    return cells if dates is None else dates


def _coded(cells: pl.Series) -> bool:
    """Tells whether a cell holds digits that as a number would not be the same again."""
    zero = cells.filter(cells.str.starts_with("0"))
    if len(zero) and zero.str.contains("^0[0-9]").any():
        return True
    long = cells.filter(cells.str.len_bytes() > _EXACT)
    return len(long) > 0 and bool(long.str.contains("^[+-]?[0-9]+$").any())


@dataclass
class Pieces:
    """A column that is read piece by piece, and what it turned out to be until now."""

    dtype: pl.DataType = field(default_factory=pl.Null)
    parts: list[pl.Series] = field(default_factory=list[pl.Series])
    lost: bool = False
    """True if a later piece is text: what was made of the earlier ones is no longer their text."""

    def add(self, cells: pl.Series) -> None:
        """Adds a piece of text."""
        if self.lost:
            return
        own = cells if self.dtype == pl.String else narrowed(cells)
        if own.dtype == pl.String:
            own = filled(own)
        joint = joined(self.dtype, own.dtype)
        if joint is None:
            self.dtype, self.lost = pl.String(), True
            self.parts.clear()
            return
        self.dtype = joint
        self.parts.append(own)

    def column(self, name: str) -> pl.Series:
        """Puts the pieces together."""
        if not self.parts:
            return pl.Series(name, [], self.dtype)
        whole = [part.cast(self.dtype) for part in self.parts]
        self.parts.clear()
        return pl.concat(whole, rechunk=False).alias(name)


def joined(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """Returns the type that holds the cells of both, or None if there is none."""
    if one == other or other == pl.Null:
        return one
    if one == pl.Null:
        return other
    if one.is_numeric() and other.is_numeric():
        return pl.Float64()
    return None
