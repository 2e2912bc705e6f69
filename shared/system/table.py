"""A table in memory: its columns, and how a row of it is called in a message."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
import polars as pl

from shared.errors import InvalidInput, printable


class Numbered(NamedTuple):
    """Rows of a file."""

    frame: pl.DataFrame
    lines: np.ndarray | None = None
    """(N,) the line in which each row begins; None if each row is the next line, or has none."""


@dataclass(frozen=True)
class Table:
    frame: pl.DataFrame
    """Columns of numbers, text, booleans, dates and times."""
    files: tuple[tuple[str, int], ...]
    """Each file and its number of rows; ("the table", n) for data in memory."""
    first: int = 1
    """Number by which the first row of a file is called."""
    unit: str = "row"
    """What a row is called: a line of a text file, else a row."""
    lines: tuple[np.ndarray | None, ...] = ()
    """For each file (n,) the number of the line in which each row begins; None where a row is a
    line."""

    def __len__(self) -> int:
        return self.frame.height

    @property
    def name(self) -> str:
        """Name for a message about the whole: "sales.csv", or "sales.csv and 2 more"."""
        more = len(self.files) - 1
        return self.files[0][0] + f" and {more} more" * (more > 0)

    def place(self, row: int) -> str:
        """Returns the name of a row, such as "sales.csv, line 18".

        Args:
            row: number of the row from 0 on, over all files.
        """
        lines = self.lines or (None,) * len(self.files)
        for (name, rows), own in zip(self.files, lines, strict=True):
            if row < rows:
                number = self.first + row if own is None else int(own[row])
                return f"{name}, {self.unit} {number}"
            row -= rows
        raise IndexError(f"expected a row of the {len(self)} of {self.name}")

    def column(self, name: str) -> pl.Series:
        """Returns a column as it was read.

        Raises:
            InvalidInput: the table has none of this name.
        """
        check_names(self.name, self.frame.columns, (name,))
        return self.frame[name]


def check_names(where: str, found: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuses a table that lacks a column; the message has those that there are, and the nearest.

    Raises:
        InvalidInput: a column is missing.
    """
    for name in wanted:
        if name in found:
            continue
        some = ", ".join(map(printable, found[:20])) + ", …" * (len(found) > 20)
        near = _nearest(name, found)
        hint = "" if near is None else f"; did you mean {near!r}?"
        raise InvalidInput(f"{where}: expected a column {name!r}, got {some or 'none'}{hint}")


def check_named(where: str, names: Sequence[str]) -> None:
    """Refuses columns to read of which one has no name, such as the index that pandas writes.

    Raises:
        InvalidInput: that; the message counts the columns from 1 on.
    """
    for at, name in enumerate(names, start=1):
        if not name.strip():
            raise InvalidInput(
                f"{where}: expected a name for each column that is read, got none for column {at} "
                f"of {len(names)}; give it a name, or name the columns to read without it"
            )


def check_printable(where: str, names: Sequence[str]) -> None:
    """Refuses names that do not fit into a line of text.

    Raises:
        InvalidInput: one has a line end or a control character.
    """
    for name in names:
        if not name.isprintable():
            raise InvalidInput(
                f"{where}: expected names of columns without control characters, got {shown(name)}"
            )


def shown(value: object) -> str:
    """Returns a cell as a message shows it, at most 60 characters of it."""
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:60]}…"


def _nearest(name: str, found: Sequence[str]) -> str | None:
    small = {one.strip().lower(): one for one in reversed(found)}
    near = get_close_matches(name.strip().lower(), small, n=1)
    return small[near[0]] if near else None
