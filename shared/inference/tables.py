"""Numbers from a user's file: columns by name from CSV or NPZ, sequences from CSV, NPY or NPZ."""

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.npyio import NpzFile

from shared.errors import InvalidInput
from shared.system.files import DAMAGED, brief
from shared.tasks.text import read_text

SEQUENCE = "sequence"
"""Column of a CSV file that says to which sequence a row belongs."""


def read_columns(file: Path, names: list[str], date: bool) -> dict[str, np.ndarray]:
    """Reads columns by name, (N,) each, float64; "date" as datetime64[D].

    Args:
        names: the columns that are needed.
        date: True if a column "date" is needed, YYYY-MM-DD; if the file has one, it is always read.

    Raises:
        InvalidInput: the file cannot be read, or a column is missing or holds a value that is no
            number.
    """
    found = _arrays(file) if file.suffix == ".npz" else _csv(file)
    wanted = [*(["date"] if date or "date" in found else []), *names]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InvalidInput(
            f"{file}: expected columns {', '.join(wanted)}, got {', '.join(found) or 'none'} "
            f"(without {', '.join(missing)})"
        )
    for name in wanted:
        if found[name].ndim != 1 or not len(found[name]):
            raise InvalidInput(
                f"{file}: expected a column {name} of one or more values, "
                f"got shape {found[name].shape}"
            )
    sizes = {name: len(found[name]) for name in wanted}
    if len(set(sizes.values())) > 1:
        got = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise InvalidInput(f"{file}: expected columns of one length, got {got}")
    return {
        name: _dates(file, found[name]) if name == "date" else _numbers(file, name, found[name])
        for name in wanted
    }


class Sequences(NamedTuple):
    inputs: np.ndarray
    """(N, T, I) float64"""
    lengths: np.ndarray | None
    """(N,), None if all have T steps."""
    names: list[str | int]
    """Names of the sequences in the file, or their numbers from 1."""


def read_sequences(file: Path, width: int) -> Sequences:
    """Reads sequences from a file.

    NPY holds (N, T, I), or (T, I) for a single sequence. NPZ holds the same as "inputs", and
    "lengths" where there are several. CSV has a row for each step and a column for each feature; if
    it holds several sequences, a column "sequence" names them.

    Args:
        width: features of a step, I.

    Raises:
        InvalidInput: the file cannot be read, or holds something else.
    """
    if file.suffix not in (".npy", ".npz"):
        return _sequences_of_csv(file, width)
    lengths = None
    if file.suffix == ".npz":
        arrays = _arrays(file)
        if "inputs" not in arrays:
            raise InvalidInput(
                f"{file}: expected an array 'inputs', got {', '.join(arrays) or 'none'}"
            )
        inputs, lengths = arrays["inputs"], arrays.get("lengths")
    else:
        inputs = _load(file)
        if not isinstance(inputs, np.ndarray):
            raise InvalidInput(f"{file}: expected an NPY file, got several arrays")
    if inputs.ndim not in (2, 3) or inputs.shape[-1] != width or 0 in inputs.shape:
        raise InvalidInput(
            f"{file}: expected inputs (sequences, steps, {width}), got shape {inputs.shape}"
        )
    if inputs.ndim == 2:
        inputs = inputs[None]
    inputs = _numbers(file, "inputs", inputs)
    if lengths is not None:
        count, steps = inputs.shape[:2]
        whole = np.issubdtype(lengths.dtype, np.integer)
        if lengths.shape != (count,) or not whole or lengths.min() < 1 or lengths.max() > steps:
            found = f"{lengths.dtype} {lengths.shape}"
            if whole and lengths.size:
                found += f" {lengths.min()} to {lengths.max()}"
            raise InvalidInput(f"{file}: expected {count} lengths from 1 to {steps}, got {found}")
        lengths = lengths.astype(np.int32)
    return Sequences(inputs, lengths, [*range(1, len(inputs) + 1)])


def _sequences_of_csv(file: Path, width: int) -> Sequences:
    columns = _csv(file)
    numbers = columns.pop(SEQUENCE, None)
    if len(columns) != width:
        raise InvalidInput(
            f"{file}: expected {width} columns of features beside '{SEQUENCE}', "
            f"got {len(columns)}: {', '.join(columns)}"
        )
    rows = np.stack([_numbers(file, name, column) for name, column in columns.items()], axis=1)
    if numbers is None:
        return Sequences(rows[None], None, [1])
    # In the order in which they begin; the rows of one stand together.
    starts = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1]))
    named = numbers[starts]
    if len(set(named)) < len(named):
        raise InvalidInput(
            f"{file}: expected the rows of a sequence one after the other, got some of sequence "
            f"{next(n for n in named if list(named).count(n) > 1)} later"
        )
    parts = np.split(rows, starts[1:])
    lengths = np.array([len(part) for part in parts], np.int32)
    inputs = np.zeros((len(parts), lengths.max(), width))
    for row, part in zip(inputs, parts, strict=True):
        row[: len(part)] = part
    names: list[str | int] = named.tolist()
    if all(name.isdecimal() and name == str(int(name)) for name in named.tolist()):
        names = [int(name) for name in names]
    alike = (lengths == lengths[0]).all()
    return Sequences(inputs, None if alike else lengths, names)


def _csv(file: Path) -> dict[str, np.ndarray]:
    """Reads columns of text by the names in the first line."""
    try:
        reader = csv.reader(read_text(file).splitlines(), strict=True)
        rows = [(reader.line_num, row) for row in reader if row]  # blank lines count as none
    except csv.Error as error:
        raise InvalidInput(f"{file}: expected CSV, got: {error}") from error
    if len(rows) < 2:
        raise InvalidInput(
            f"{file}: expected a line of names and lines of values, "
            f"got {len(rows)} line{'s' * (len(rows) != 1)}"
        )
    (_, header), *body = rows
    if _of_values(header):
        raise InvalidInput(
            f"{file}: expected a line of names first, got numbers: {', '.join(header)}"
        )
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise InvalidInput(f"{file}: expected a name for each column, got {twice!r} twice")
    for number, row in body:
        if len(row) != len(header):
            raise InvalidInput(
                f"{file}: expected {len(header)} values in line {number}, got {len(row)}"
            )
    return {name: np.array([row[i] for _, row in body]) for i, name in enumerate(header)}


def _of_values(header: list[str]) -> bool:
    """Tells whether a first line holds values: only numbers, and not those that count the
    columns."""
    try:
        numbers = [float(name) for name in header]
    except ValueError:
        return False
    return not any(numbers == [first + i for i in range(len(numbers))] for first in (0, 1))


def _arrays(file: Path) -> dict[str, np.ndarray]:
    found = _load(file)
    if isinstance(found, np.ndarray):
        raise InvalidInput(f"{file}: expected an NPZ file, got a single array")
    return found


def _load(file: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Reads the array of an NPY file, or those of an NPZ file by name, without unpickling."""
    try:
        with open(file, "rb") as opened:  # NumPy would leave one open that is damaged
            found: np.ndarray | NpzFile = np.load(opened, allow_pickle=False)
            return _members(file, found) if isinstance(found, NpzFile) else found
    except InvalidInput:
        raise
    except OSError as error:
        raise InvalidInput(
            f"{file}: expected a readable file, got: {error.strerror or error}"
        ) from error
    except DAMAGED as error:
        raise InvalidInput(
            f"{file}: expected NumPy arrays of numbers, got a damaged file or none of NumPy's"
        ) from error


def _members(file: Path, archive: NpzFile) -> dict[str, np.ndarray]:
    try:
        return dict(archive)
    except DAMAGED as error:
        raise InvalidInput(f"{file}: expected arrays of numbers, got: {brief(error)}") from error


def _numbers(file: Path, name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "cmM":
        raise InvalidInput(f"{file}: expected real numbers in {name}, got {values.dtype}")
    try:
        if values.dtype.kind in "US" and any("_" in str(value) for value in values.ravel()):
            raise ValueError("digits in groups, which Python reads and other programs do not")
        numbers = values.astype(np.float64)
    except (ValueError, TypeError) as error:
        for row, value in enumerate(values.ravel().tolist(), start=1):
            if not _is_number(value):
                raise InvalidInput(
                    f"{file}: expected numbers in column {name}, got {str(value)!r} in row {row}"
                ) from error
        raise InvalidInput(f"{file}: expected numbers in {name}, got: {error}") from error
    if not np.isfinite(numbers).all():
        row = int(np.argwhere(~np.isfinite(numbers))[0][0]) + 1
        bad = numbers[~np.isfinite(numbers)][0]
        raise InvalidInput(f"{file}: expected finite numbers in {name}, got {bad} in row {row}")
    return numbers


def _is_number(value: object) -> bool:
    try:
        float(value)  # pyright: ignore[reportArgumentType]
    except (ValueError, TypeError):
        return False
    return "_" not in str(value)


def _dates(file: Path, values: np.ndarray) -> np.ndarray:
    """Reads dates, in text only as YYYY-MM-DD: NumPy takes 20240301 for a year, and today for a
    day."""
    if values.dtype.kind not in "USiuM":
        raise InvalidInput(f"{file}: expected dates as YYYY-MM-DD, got {values.dtype}")
    try:
        if values.dtype.kind in "US":
            values = np.char.strip(values.astype(str))
            for row, value in enumerate(values.tolist(), start=1):
                if value and not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
                    raise ValueError(f"{value!r} in row {row}")
        days = values.astype("datetime64[D]")
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{file}: expected dates as YYYY-MM-DD, got: {error}") from error
    if np.isnat(days).any():
        row = int(np.flatnonzero(np.isnat(days))[0]) + 1
        raise InvalidInput(f"{file}: expected dates as YYYY-MM-DD, got none in row {row}")
    later = days[1:] > days[:-1]
    if not later.all():
        at = int(np.flatnonzero(~later)[0])
        raise InvalidInput(f"{file}: expected growing dates, got {days[at + 1]} after {days[at]}")
    return days


def as_csv(records: Sequence[dict[str, Any]]) -> str:
    """Writes a line of names and one for each record; a value of None leaves its place empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, records[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def as_json(records: Sequence[dict[str, Any]]) -> str:
    return json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
