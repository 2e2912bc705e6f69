"""Sequences of numbers from a user's file: NPY, NPZ, or a table with a row for each step."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared.errors import InvalidInput, printable
from shared.system.table_arrays import load_arrays
from shared.system.table_records import as_csv, as_json
from shared.system.tables import categories, numbers, read_table

__all__ = ["SEQUENCE", "Sequences", "as_csv", "as_json", "read_sequences"]

SEQUENCE = "sequence"
"""Column of a table that says to which sequence a row belongs."""


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
    "lengths" where there are several. A table has a row for each step and a column for each
    feature, in the order of the network's; if it holds several sequences, a column "sequence" names
    them.

    Args:
        width: features of a step, I.

    Raises:
        InvalidInput: the file cannot be read, or holds something else.
    """
    if file.suffix not in (".npy", ".npz"):
        return _of_table(file, width)
    lengths = None
    found = load_arrays(file)
    if file.suffix == ".npz":
        if isinstance(found, np.ndarray):
            raise InvalidInput(f"{file}: expected an NPZ file, got a single array")
        if "inputs" not in found:
            raise InvalidInput(
                f"{file}: expected an array 'inputs', got {', '.join(found) or 'none'}"
            )
        inputs, lengths = found["inputs"], found.get("lengths")
    elif isinstance(found, np.ndarray):
        inputs = found
    else:
        raise InvalidInput(f"{file}: expected an NPY file, got several arrays")
    if inputs.ndim not in (2, 3) or inputs.shape[-1] != width or 0 in inputs.shape:
        raise InvalidInput(
            f"{file}: expected inputs (sequences, steps, {width}), got shape {inputs.shape}"
        )
    if inputs.ndim == 2:
        inputs = inputs[None]
    inputs = _numbers(file, inputs)
    if lengths is not None:
        lengths = _lengths(file, lengths, *inputs.shape[:2])
    return Sequences(inputs, lengths, [*range(1, len(inputs) + 1)])


def _lengths(file: Path, lengths: np.ndarray, count: int, steps: int) -> np.ndarray:
    whole = np.issubdtype(lengths.dtype, np.integer)
    if lengths.shape != (count,) or not whole or lengths.min() < 1 or lengths.max() > steps:
        found = f"{lengths.dtype} {lengths.shape}"
        if whole and lengths.size:
            found += f" {lengths.min()} to {lengths.max()}"
        raise InvalidInput(f"{file}: expected {count} lengths from 1 to {steps}, got {found}")
    return lengths.astype(np.int32)


def _numbers(file: Path, inputs: np.ndarray) -> np.ndarray:
    if inputs.dtype.kind not in "biuf":
        raise InvalidInput(f"{file}: expected real numbers in inputs, got {inputs.dtype}")
    inputs = inputs.astype(np.float64)
    if not np.isfinite(inputs).all():
        sequence, step, feature = np.argwhere(~np.isfinite(inputs))[0]
        raise InvalidInput(
            f"{file}: expected finite numbers in inputs, got {inputs[sequence, step, feature]} at "
            f"sequence {sequence + 1}, step {step + 1}, feature {feature + 1}"
        )
    return inputs


def _of_table(file: Path, width: int) -> Sequences:
    table = read_table([file], option="")
    columns = [name for name in table.frame.columns if name != SEQUENCE]
    if len(columns) != width:
        raise InvalidInput(
            f"{file}: expected {width} columns of features beside '{SEQUENCE}', "
            f"got {len(columns)}: {printable(', '.join(columns))}"
        )
    rows = np.stack([numbers(table, name) for name in columns], axis=1)
    if SEQUENCE not in table.frame.columns:
        return Sequences(rows[None], None, [1])
    # In the order in which they begin; the rows of one stand together.
    texts, codes = categories(table, SEQUENCE)
    starts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
    named: list[str] = [texts[code] for code in codes[starts].tolist()]
    if len(set(named)) < len(named):
        raise InvalidInput(
            f"{file}: expected the rows of a sequence one after the other, got some of sequence "
            f"{next(n for n in named if named.count(n) > 1)} later"
        )
    parts = np.split(rows, starts[1:])
    lengths = np.array([len(part) for part in parts], np.int32)
    inputs = np.zeros((len(parts), lengths.max(), width))
    for row, part in zip(inputs, parts, strict=True):
        row[: len(part)] = part
    names: list[str | int] = [*named]
    if all(name.isdecimal() and name == str(int(name)) for name in named):
        names = [int(name) for name in named]
    alike = (lengths == lengths[0]).all()
    return Sequences(inputs, None if alike else lengths, names)
