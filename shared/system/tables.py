"""Tables that a user brings: CSV, TSV, Parquet, NPZ, JSON Lines, or data in memory.

table = read_table(["2023.csv", "2024.csv"], columns=["date", "sales"])
numbers(table, "sales")      # (N,) float64, or: "2024.csv, line 18: expected a number in column …"
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import polars as pl

from shared.errors import InvalidInput
from shared.system.files import brief
from shared.system.table import Numbered, Table, check_named, check_names, check_printable
from shared.system.table_arrays import check_kinds, frame_of, read_npz_table
from shared.system.table_json import read_lines
from shared.system.table_kinds import joined, kind_of
from shared.system.table_parquet import read_parquet
from shared.system.table_records import as_csv, as_json, write_records
from shared.system.table_text import read_delimited
from shared.system.table_times import times
from shared.system.table_values import categories, is_text, is_whole, numbers, texts

__all__ = [
    "SUFFIXES", "Table", "as_csv", "as_json", "as_table", "categories", "is_text", "is_whole",
    "numbers", "read_table", "texts", "times", "write_records",
]  # fmt: skip

DELIMITED = (".csv", ".tsv", ".tab", ".txt")
JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
READERS: dict[tuple[str, ...], Callable[..., Numbered]] = {
    DELIMITED: read_delimited,
    PARQUET: read_parquet,
    (".npz",): read_npz_table,
    JSON_LINES: read_lines,
}
SUFFIXES = tuple(suffix for kind in READERS for suffix in kind)
"""Ends of the names of files that are tables."""


def read_table(
    paths: Sequence[str | Path],
    columns: Collection[str] | None = None,
    option: str = "--data.path",
    text: Collection[str] = (),
) -> Table:
    """Reads tables with the same columns, one after the other.

    In CSV and TSV, a column is of numbers, booleans or dates if each of its cells is one, else of
    text, and names are read without blanks around them.

    Args:
        columns: names of the columns to read; None reads all.
        option: the option that has the paths, for messages.
        text: columns to read as the text that stands in a CSV, TSV or JSON Lines file, such as
            1.50, which as a number would be 1.5. Columns of Parquet and NPZ keep their kinds.

    Raises:
        InvalidInput: a file cannot be read or is no such table, or lacks a column; the message
            names the file, and the line where there is one.
    """
    if not paths:
        raise InvalidInput(f"{option}: expected a file, got none")
    files = [Path(path) for path in paths]
    for file in files[1:]:
        if _kind(file) != _kind(files[0]):
            raise InvalidInput(f"{file}: expected a file of the kind of {files[0]}")
    tables = [_read(file, columns, option, text) for file in files]
    if len(tables) == 1:
        return tables[0]
    mixed = _check_columns(tables)  # what one file made numbers of is text in another
    for at, table in enumerate(tables):
        if not all(is_text(table, name) for name in mixed):
            tables[at] = _read(files[at], columns, option, {*text, *mixed})
    return _together(tables)


def as_table(data: Any, columns: Collection[str] | None = None, name: str = "the table") -> Table:
    """Takes data in memory for a table.

    Args:
        data: 1-D arrays or lists by name, or a table of polars, pandas or Arrow.
        columns: names of the columns to take; None takes all.
        name: what the table is called in messages.

    Raises:
        InvalidInput: it is no table, or lacks a column.
    """
    if isinstance(data, Table):
        wanted = data.frame.columns if columns is None else [*columns]
        check_names(data.name, data.frame.columns, wanted)
        kept = [one for one in data.frame.columns if one in wanted]
        return Table(data.frame.select(kept), data.files, data.first, data.unit, data.lines)
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    given: Mapping[str, Any] | pl.DataFrame = _by_name(data, name)
    found = [*given] if isinstance(given, Mapping) else given.columns
    check_names(name, found, found if columns is None else [*columns])
    kept = [one for one in found if columns is None or one in columns]
    check_named(name, kept)
    if isinstance(given, pl.DataFrame):
        check_printable(name, kept)
        frame = given.select(kept)
        check_kinds(name, frame)
    else:
        frame = frame_of(name, {one: given[one] for one in kept})
    if not frame.height:
        raise InvalidInput(f"{name}: expected one or more rows, got none")
    return Table(frame, ((name, frame.height),))


def _by_name(data: Any, name: str) -> Mapping[str, Any] | pl.DataFrame:
    """Returns the columns of a table by their names, or a table of polars."""
    if isinstance(data, pl.DataFrame):
        return data
    if isinstance(data, Mapping):
        given = cast(Mapping[Any, Any], data)
        _check_once([*map(str, given)], name)
        return {str(key): given[key] for key in given}
    if hasattr(data, "columns") and hasattr(data, "iloc"):  # pandas, which may lack Arrow
        names = [*map(str, data.columns)]
        _check_once(names, name)
        return {one: data.iloc[:, at] for at, one in enumerate(names)}
    if hasattr(data, "__arrow_c_stream__"):
        try:
            return pl.DataFrame(data)
        except pl.exceptions.PolarsError as error:
            raise InvalidInput(f"{name}: expected a table, got: {brief(error)}") from error
    raise InvalidInput(
        f"{name}: expected arrays by name or a table of polars, pandas or Arrow, "
        f"got {type(data).__name__}"
    )


def _check_once(names: list[str], name: str) -> None:
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise InvalidInput(f"{name}: expected a name for each column, got {twice!r} twice")


def _read(file: Path, columns: Collection[str] | None, option: str, text: Collection[str]) -> Table:
    """Reads one file."""
    named = f"{option} {file}".strip()
    try:
        before = _state(file)
        if file.is_dir():
            raise InvalidInput(f"{named}: expected a readable file, got: Is a directory")
        if not file.is_file():  # /dev/zero has no end
            raise InvalidInput(f"{named}: expected a readable file, got a device")
        kind = _kind(file)
        if kind is None:
            raise InvalidInput(
                f"{named}: expected a table, a file named {', '.join(SUFFIXES)}, "
                f"got {file.suffix or 'no such end'}"
            )
        as_written = [text] if text and kind in (DELIMITED, JSON_LINES) else []
        frame, lines = READERS[kind](file, columns, *as_written)
        if _state(file) != before:
            raise InvalidInput(
                f"{named}: expected a file that stays the same, got one that changed while it was "
                "read"
            )
    except OSError as error:
        raise InvalidInput(
            f"{named}: expected a readable file, got: {error.strerror or brief(error)}"
        ) from error
    if not frame.height or not frame.width:
        raise InvalidInput(
            f"{file}: expected a table, got {frame.width} columns and {frame.height} rows"
        )
    check_named(str(file), frame.columns)
    return Table(
        frame,
        files=((str(file), frame.height),),
        first=2 if kind == DELIMITED else 1,
        unit="line" if kind in (DELIMITED, JSON_LINES) else "row",
        lines=(lines,),
    )


def _kind(file: Path) -> tuple[str, ...] | None:
    """Returns the suffixes of a kind of file, or None."""
    return next((kind for kind in READERS if file.suffix.lower() in kind), None)


def _state(file: Path) -> tuple[int, int]:
    found = os.stat(file)
    return found.st_size, found.st_mtime_ns


def _check_columns(tables: list[Table]) -> set[str]:
    """Refuses files of different columns, or of columns of different kinds.

    Returns:
        Columns that are text in one file and something else in another, both in CSV or TSV.
    """
    first, text = tables[0], set[str]()
    dtypes = dict(first.frame.schema)
    for table in tables[1:]:
        if set(table.frame.columns) != set(dtypes):
            lacks = [name for name in dtypes if name not in table.frame.columns]
            more = [name for name in table.frame.columns if name not in dtypes]
            got = f"none of {', '.join(lacks)}" if lacks else f"also {', '.join(more)}"
            raise InvalidInput(f"{table.name}: expected the columns of {first.name}, got {got}")
        for name, dtype in table.frame.schema.items():
            joint = _joint(dtypes[name], dtype)
            if joint is None and _kind(Path(first.name)) != DELIMITED:
                raise InvalidInput(
                    f"{table.name}: expected {_named(dtypes[name])} in column {name}, as in "
                    f"{first.name}, got {_named(dtype)}"
                )
            if joint is None:
                text.add(name)
            dtypes[name] = joint or pl.String()
    return text


def _named(dtype: pl.DataType) -> str:
    """Names what a column holds, and the time zone of times that have one."""
    zone = getattr(dtype, "time_zone", None)
    return kind_of(dtype) + (f" of the time zone {zone}" if zone else "")


def _together(tables: list[Table]) -> Table:
    """Puts tables one after the other whose columns are of the same kinds."""
    dtypes: dict[Any, pl.DataType] = dict(tables[0].frame.schema)
    for table in tables[1:]:
        for name, dtype in table.frame.schema.items():
            dtypes[name] = _joint(dtypes[name], dtype) or pl.String()
    frames = [table.frame.select([*dtypes]).cast(dtypes) for table in tables]
    return Table(
        pl.concat(frames, rechunk=False),
        tuple(file for table in tables for file in table.files),
        tables[0].first,
        tables[0].unit,
        tuple(lines for table in tables for lines in table.lines),
    )


def _joint(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """Returns the type that holds the cells of both, or None if there is none."""
    kinds = {kind_of(one), kind_of(other)}
    if one != other and kinds == {"text"}:
        return pl.String()
    if one != other and kinds == {"dates"}:
        zones = {getattr(dtype, "time_zone", None) for dtype in (one, other)}
        return pl.Datetime("us", *zones) if len(zones) == 1 else None
    return joined(one, other)
