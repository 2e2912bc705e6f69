"""Tables in JSON Lines: an object in each line, whose keys are the names of the columns."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import numpy as np

from shared.errors import InvalidInput, printable
from shared.system.table import Numbered, check_names, check_printable
from shared.system.table_arrays import check_text, frame_of
from shared.system.table_blocks import blocks


def read_lines(path: Path, columns: Collection[str] | None, text: Collection[str] = ()) -> Numbered:
    """Reads columns of a file in JSON Lines; a key that a line lacks is an empty cell.

    Args:
        columns: their names; None reads all.
        text: names of the columns whose numbers are read as the text that stands in the file.

    Raises:
        InvalidInput: a line is no object of numbers, texts, true, false and null.
        OSError: the file cannot be read.
    """
    found: dict[str, list[Any]] = {}
    places: list[int] = []
    for block in blocks(path, quotes=False):
        for number, line in enumerate(block.text.split(b"\n")[:-1], start=block.line):
            if line.strip():
                values = _values(path, number, line, columns, text)
                _add(values, columns, found, len(places))
                places.append(number)
    check_printable(str(path), [*found])
    if not places:
        raise InvalidInput(f"{path}: expected a table, got an empty file")
    check_names(str(path), [*found], [*columns] if columns is not None else [])
    for values in found.values():
        values += [None] * (len(places) - len(values))
    if columns is not None:
        found = {name: values for name, values in found.items() if name in columns}
    frame = frame_of(str(path), found)
    lines = None if places[-1] == len(places) else np.array(places)
    return Numbered(frame, lines)


def _values(
    path: Path, number: int, line: bytes, columns: Collection[str] | None, text: Collection[str]
) -> dict[str, Any]:
    """Reads the object of a line, and checks its values in the columns that are wanted."""
    try:
        values: Any = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        said = error
        if isinstance(error, json.JSONDecodeError):  # which counts lines from this one on
            said = f"{error.msg} at column {error.colno}"
        raise InvalidInput(f"{path}, line {number}: expected a JSON object, got: {said}") from error
    if not isinstance(values, dict):
        raise InvalidInput(
            f"{path}, line {number}: expected a JSON object, got {type(values).__name__}"
        )
    values = cast(dict[str, Any], values)
    written: dict[str, Any] = json.loads(line, parse_float=str, parse_int=str) if text else {}
    for name, value in values.items():
        if columns is not None and name not in columns:
            continue
        if isinstance(value, list | dict):
            raise InvalidInput(
                f"{path}, line {number}: expected a number or text in column {printable(name)}, "
                f"got {'a list' if isinstance(value, list) else 'an object'}"
            )
        if isinstance(value, str) and b"\\u" in line:
            check_text(f"{path}, line {number}", name, value)
        if name in text:
            value = written[name]
            values[name] = str(value).lower() if isinstance(value, bool) else value
    return values


def _add(
    values: dict[str, Any],
    columns: Collection[str] | None,
    found: dict[str, list[Any]],
    rows: int,
) -> None:
    """Adds the values of a line. Of columns that are not wanted, the names alone are kept."""
    for name, value in values.items():
        column = found.setdefault(name, [])
        if columns is None or name in columns:
            column += [None] * (rows - len(column))
            column.append(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes a dictionary of names that are there once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} twice")
    return found
