"""Tables of sequences: one with a row for each step, or a folder with a table for each sequence.

The folder has the tables themselves, or a folder of tables for each class.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from shared.config.data import SequencesData
from shared.errors import InvalidInput, printable
from shared.system import tables
from shared.system.table import Table
from shared.tasks.sequence_columns import (
    FILE_ORDER,
    Order,
    features_of,
    needed,
    of_order,
    runs,
    texts_at,
    value,
    with_targets,
    without_rows,
)
from shared.tasks.sequence_steps import Steps, Values


def of_table(data: SequencesData, table: Table) -> Steps:
    """Reads sequences from a table with a row for each step.

    Raises:
        InvalidInput: the options name no column of a sequence or of a target, or a value cannot be
            used.
    """
    if not data.sequence:
        raise InvalidInput(
            "--data.sequence: expected the columns that say to which sequence a row belongs, "
            "got none"
        )
    if not data.target:
        raise InvalidInput(
            "--data.target: expected the column of a class, or columns of numbers, got none"
        )
    features = features_of(data, table)
    order = by_columns(table, data.sequence, data.step)
    steps = of_order(table, order, features, data.missing == "previous")
    return with_targets(data, table, order, steps)


def of_folder(data: SequencesData, folder: Path) -> Steps:
    """Reads sequences from a folder with a table for each.

    Raises:
        InvalidInput: a file is no table, the classes are not clear, or a value cannot be used.
    """
    if data.sequence:
        raise InvalidInput(
            f"--data.sequence {' '.join(data.sequence)}: goes with a table of several sequences; "
            f"each table in {folder} is one"
        )
    files = tables_in(folder)
    classed = {len(file.relative_to(folder).parts) > 1 for file in files}
    if not data.target and classed != {True}:
        inside = "tables in folders and beside them" if len(classed) > 1 else "tables"
        raise InvalidInput(
            f"{folder}: expected a folder for each class, got {inside}; --data.target names "
            "columns of the tables instead"
        )
    table = tables.read_table(files, columns=needed(data))
    names = [file.relative_to(folder).as_posix() for file in files]
    features = features_of(data, table)
    order = by_files(table, names, data.step)
    steps = of_order(table, order, features, data.missing == "previous")
    steps = with_targets(data, table, order, steps)
    if data.target:
        return steps
    if data.per_step:
        raise InvalidInput(
            f"--data.per-step: expected the column of a target at each step (--data.target), got a "
            f"class for each folder in {folder}"
        )
    if data.kind == "number":
        raise InvalidInput(
            f"--data.kind number: expected columns of numbers (--data.target), got a class for "
            f"each folder in {folder}"
        )
    classes = [file.relative_to(folder).parent.as_posix() for file in files]
    different, codes = np.unique(np.array(classes), return_inverse=True)
    return replace(steps, targets=[Values("class", codes.astype(np.int32), different.tolist())])


def tables_in(folder: Path) -> list[Path]:
    """Returns the tables in a folder and in its folders, sorted by name; hidden files are none.

    Raises:
        InvalidInput: there is none, or a file is none.
    """
    try:
        files = sorted(
            file
            for file in folder.rglob("*")
            if file.is_file()
            and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        )
    except OSError as error:
        raise InvalidInput(f"{folder}: expected a folder to read, got: {error.strerror}") from error
    for file in files:
        if file.suffix.lower() not in tables.SUFFIXES:
            raise InvalidInput(
                f"{folder}: expected only tables ({' '.join(tables.SUFFIXES)}), "
                f"got {printable(file.relative_to(folder).as_posix())}"
            )
    if not files:
        raise InvalidInput(f"{folder}: expected a table for each sequence, got none")
    return files


def by_columns(table: Table, sequence: Sequence[str], step: str | None) -> Order:
    """Finds the rows of each sequence, which has its values in the columns `sequence`.

    Raises:
        InvalidInput: without a column of steps, a sequence goes on later; or a step is repeated.
    """
    starts = runs(table, sequence)
    texts = {name: texts_at(table, name, starts) for name in sequence}
    known: dict[tuple[str, ...], int] = {}  # in the order in which sequences begin
    keys = zip(*texts.values(), strict=True)
    number = np.array([known.setdefault(key, len(known)) for key in keys])
    _, first = np.unique(number, return_index=True)
    lengths = np.diff(np.append(starts, len(table)))
    rows = FILE_ORDER
    if step is not None:
        rows = _by_step(table, step, np.repeat(number, lengths))
    elif len(first) < len(starts):
        later = int(np.flatnonzero(np.diff(number) < 0)[0]) + 1
        again, before = (" / ".join(own[i] for own in texts.values()) for i in (later, later - 1))
        raise InvalidInput(
            f"{table.place(int(starts[later]))}: expected the rows of a sequence one after the "
            f"other, got sequence {again!r} again after {before!r}; --data.step COLUMN orders the "
            "rows"
        )
    called: dict[str, list[str | int]] = {}
    for name, own in texts.items():
        whole = tables.is_whole(table, name)
        called[name] = [value(own[int(run)], whole) for run in first]
    files = without_rows(table)

    def place(sequence: int) -> str:
        return files.place(int(starts[first[sequence]]))

    totals = np.bincount(number, weights=lengths).astype(np.int64)
    return Order(rows, totals, called, place)


def by_files(table: Table, names: Sequence[str], step: str | None) -> Order:
    """Takes each file of a table for a sequence.

    Args:
        names: of the sequences, one for each file.
    """
    lengths = np.array([count for _, count in table.files])
    rows = FILE_ORDER
    if step is not None:
        rows = _by_step(table, step, np.repeat(np.arange(len(names)), lengths))
    files = table.files

    def place(sequence: int) -> str:
        return files[sequence][0]

    return Order(rows, lengths, {"file": [*names]}, place)


def _by_step(table: Table, step: str, number: np.ndarray) -> np.ndarray | slice:
    """Sorts rows by their sequence and step.

    Args:
        number: (M,) sequence of each row.
    """
    times = tables.times(table, step)
    rows = np.lexsort((times, number))
    same = (np.diff(number[rows]) == 0) & (times[rows][1:] == times[rows][:-1])
    for at in np.flatnonzero(same)[:1]:
        before, row = map(int, rows[at : at + 2])
        raise InvalidInput(
            f"{table.place(row)}: expected each step of a sequence once, got "
            f"{printable(tables.texts(table, step)[row])} in column {step} again "
            f"(first: {table.place(before)})"
        )
    return FILE_ORDER if (np.diff(rows) == 1).all() else rows
