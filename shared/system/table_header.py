"""The first line of a table in text: the names of its columns and what separates them."""

import csv
import io
import re
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from shared.errors import InvalidInput, printable
from shared.system.table import check_printable
from shared.system.table_blocks import Block


class Header(NamedTuple):
    names: list[str]
    separator: bytes
    rest: Block
    """What follows in the first block."""


def read_header(path: Path, block: Block, quotes: bool) -> Header:
    """Reads the names of the columns from the first line that is not blank.

    Raises:
        InvalidInput: there are none, a name is there twice, or the line holds numbers. A column
            may have no name as long as it is not read.
    """
    text = block.text.lstrip(b"\n")
    blank = len(block.text) - len(text)
    separator = _separator(path, text[: text.index(b"\n")])
    used = 0

    def lines() -> Generator[str]:
        nonlocal used
        for line in io.BytesIO(text):
            used += len(line)
            yield line.decode("utf-8")

    quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    reader = csv.reader(lines(), delimiter=separator, strict=True, quoting=quoting)
    try:
        names = [" ".join(name.split()) for name in next(reader)]
    except csv.Error as error:
        raise InvalidInput(f"{path}, line {blank + 1}: expected names, got: {error}") from error
    check_header(path, names)
    line = block.line + blank + text.count(b"\n", 0, used)
    return Header(names, separator.encode(), Block(text[used:], line))


def _separator(path: Path, line: bytes) -> str:
    """Returns what stands between names: a tab in TSV, else the first of , ; and tab that does."""
    marks = {".csv": ",;\t", ".txt": "\t,;"}.get(path.suffix.lower(), "\t")
    bare = re.sub(b'"[^"]*"', b"", line)
    return next((mark for mark in marks if mark.encode() in bare), marks[0])


def check_header(path: Path, names: list[str]) -> None:
    """Refuses names of which two are equal, and values in the place of names.

    Raises:
        InvalidInput: that.
    """
    if any("\0" in name for name in names):
        raise InvalidInput(f"{path}: expected UTF-8 text, got bytes of 0 among the names")
    check_printable(str(path), names)
    if _of_values(names):
        shown = printable(", ".join(names))
        raise InvalidInput(f"{path}: expected a line of names first, got numbers: {shown}")
    given = [name for name in names if name]
    if len(set(given)) < len(given):
        twice = next(name for name in given if given.count(name) > 1)
        raise InvalidInput(f"{path}: expected a name for each column, got {twice!r} twice")


def _of_values(names: list[str]) -> bool:
    """Tells whether a first line holds values: only numbers, and not those that count the
    columns."""
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return False
    return not any(numbers == [first + i for i in range(len(numbers))] for first in (0, 1))
