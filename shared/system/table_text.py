"""Tables in text, CSV and TSV: read in blocks of whole rows, so that memory holds only columns.

A cell may be in quotes, and then hold separators, line ends and doubled quotes (RFC 4180). A
quote anywhere else is refused in CSV. In TSV, which has no rule for quotes, quotes are characters
like others unless all of them fit the rule of CSV. A CSV file may have semicolons or tabs instead
of commas if its first line has no comma. A file named .txt is read as TSV if its first line has a
tab, else as CSV with TSV's rule for quotes.
"""

from collections.abc import Collection, Generator
from pathlib import Path

import numpy as np
import polars as pl

from shared.errors import InvalidInput
from shared.system.table import Numbered, check_named, check_names
from shared.system.table_blocks import NEWLINE, QUOTE, Block, StrayQuote, blocks, check_quotes
from shared.system.table_header import read_header
from shared.system.table_kinds import Pieces

Lines = range | np.ndarray
"""Line in which each row begins."""


def read_delimited(
    path: Path, columns: Collection[str] | None, text: Collection[str] = ()
) -> Numbered:
    """Reads columns of a CSV or TSV file.

    Args:
        columns: their names; None reads all.
        text: names of the columns that are read as text although all their cells may be numbers.

    Raises:
        InvalidInput: the file is no such table; the message names the line.
        OSError: it cannot be read.
    """
    try:
        return _read(path, columns, text, quotes=True)
    except StrayQuote as error:
        if path.suffix.lower() == ".csv":
            raise InvalidInput(f"{path}, {error}") from error
    return _read(path, columns, text, quotes=False)


def _read(
    path: Path, columns: Collection[str] | None, text: Collection[str], quotes: bool
) -> Numbered:
    found, lines = _pass(path, columns, text, quotes)
    lost = [name for name, pieces in found.items() if pieces.lost]
    again = _pass(path, lost, lost, quotes)[0] if lost else {}
    frame = {name: again.get(name, pieces).column(name) for name, pieces in found.items()}
    return Numbered(pl.DataFrame(frame), lines)


def _pass(
    path: Path, columns: Collection[str] | None, text: Collection[str], quotes: bool
) -> tuple[dict[str, Pieces], np.ndarray | None]:
    """Reads the file once."""
    parts = blocks(path, quotes)
    first = next(parts, None)
    if first is None:
        raise InvalidInput(f"{path}: expected a table, got an empty file")
    header = read_header(path, first, quotes)
    names = header.names
    check_names(str(path), names, names if columns is None else [*columns])
    wanted = [name for name in names if columns is None or name in columns]
    check_named(str(path), wanted)
    found = {name: Pieces(pl.String() if name in text else pl.Null()) for name in wanted}
    places: list[Lines] = []
    for block in _chain(header.rest, parts):
        frame, lines = _cells(path, block, names, wanted, header.separator, quotes)
        if len(lines):
            places.append(lines)
        for name in wanted:
            found[name].add(frame[name])
    rows = sum(map(len, places))
    if not rows:
        raise InvalidInput(
            f"{path}: expected a line of names and lines of values, got only the names"
        )
    if places[-1][-1] == rows + 1:
        return found, None
    return found, np.concatenate([np.asarray(lines, np.int32) for lines in places])


def _chain(first: Block, others: Generator[Block]) -> Generator[Block]:
    if first.text:
        yield first
    yield from others


def _cells(
    path: Path, block: Block, names: list[str], wanted: list[str], separator: bytes, quotes: bool
) -> tuple[pl.DataFrame, Lines]:
    """Reads the cells of the wanted columns as text, and the line of each row."""
    text, line = block
    content = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero((content == separator[0]) | (content == NEWLINE))
    quoted = quotes and QUOTE in text
    if quoted:
        marks = check_quotes(block, separator)
        ends = ends[np.searchsorted(marks, ends) % 2 == 0]
    newline = content[ends] == NEWLINE
    starts = np.append(0, ends[newline][:-1] + 1)
    blank = np.zeros(0, np.int64)
    if len(names) > 1:  # in a single column, an empty line is an empty cell
        blank = starts[starts == ends[newline]]
        if len(blank):
            kept = ~np.isin(ends, blank)
            ends, newline = ends[kept], newline[kept]
            starts = starts[~np.isin(starts, blank)]
            text = np.delete(content, blank).tobytes()
    lines: Lines = range(line, line + len(starts))
    if quoted or len(blank):
        lines = line + np.searchsorted(np.flatnonzero(content == NEWLINE), starts)
    _check_widths(path, newline, len(names), lines)
    if not len(starts):
        return pl.DataFrame({name: pl.Series([], dtype=pl.String) for name in wanted}), lines
    return _parsed(path, text, names, wanted, separator, quoted, lines), lines


def _check_widths(path: Path, newline: np.ndarray, width: int, lines: Lines) -> None:
    """Refuses rows with more or fewer cells than there are names.

    Args:
        newline: for the end of each cell, whether it is that of its row, too.
    """
    last = np.flatnonzero(newline)
    if len(newline) == width * len(last) and newline[width - 1 :: width].all():
        return
    counts = np.diff(last, prepend=-1)
    row = int(np.flatnonzero(counts != width)[0])
    raise InvalidInput(f"{path}, line {lines[row]}: expected {width} values, got {counts[row]}")


def _parsed(
    path: Path,
    text: bytes,
    names: list[str],
    wanted: list[str],
    separator: bytes,
    quoted: bool,
    lines: Lines,
) -> pl.DataFrame:
    places = [names.index(name) for name in wanted]
    try:
        frame = pl.read_csv(
            text,
            has_header=False,
            separator=separator.decode(),
            quote_char='"' if quoted else None,
            schema={str(i): pl.String for i in range(len(names))},
            columns=places,
        )
    except pl.exceptions.PolarsError as error:
        said = str(error).splitlines()[0]
        raise InvalidInput(
            f"{path}, lines {lines[0]} to {lines[-1]}: expected a table in text, got: {said}"
        ) from error
    if frame.height != len(lines):
        raise InvalidInput(
            f"{path}, lines {lines[0]} to {lines[-1]}: expected {len(lines)} rows, "
            f"got {frame.height}"
        )
    return frame.select(pl.col(str(i)).alias(name) for i, name in zip(places, wanted, strict=True))
