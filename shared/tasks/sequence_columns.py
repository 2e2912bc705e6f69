"""Columns of a table → features, targets and parts of sequences whose rows are known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np

from shared.config.data import SequencesData
from shared.errors import InvalidInput
from shared.system import tables
from shared.system.table import Table, check_names
from shared.tasks.output_names import check_free
from shared.tasks.parts import named_parts
from shared.tasks.sequence_steps import Steps, Values, few
from shared.tasks.untidy import refuse_mostly_numbers

PREVIOUS = "--data.missing previous reads the one before"

Kind = Literal["number", "category"]
FILE_ORDER = slice(None)
BLOCK = 1 << 18
"""Rows of which copies are made at once."""


class Order(NamedTuple):
    """The rows of a table in the order of its sequences."""

    rows: np.ndarray | slice
    """(M,) row of each step; FILE_ORDER if the steps are in the order of the rows."""
    lengths: np.ndarray
    """(N,) steps of each sequence."""
    called: dict[str, list[Any]]
    place: Callable[[int], str]
    """Says where a sequence is."""

    def row(self, step: int) -> int:
        """Returns the row of a step."""
        return step if isinstance(self.rows, slice) else int(self.rows[step])


def needed(data: SequencesData) -> list[str] | None:
    """Returns the columns to read; None if the options do not name the features."""
    named = [*data.sequence, data.step, *data.features, *data.target, data.part, data.group]
    return [*dict.fromkeys(name for name in named if name)] if data.features else None


def features_of(data: SequencesData, table: Table) -> dict[str, Kind | None]:
    """Returns the columns that a network is to read, and how.

    Raises:
        InvalidInput: there is none, an option names none of the table's columns, or one of
            --data.categories is not among them.
    """
    named = [*data.sequence, data.step, *data.target, data.part, data.group, *data.categories]
    check_names(table.name, table.frame.columns, [*data.features, *filter(None, named)])
    beside = {*data.sequence, data.step, *data.target, data.part, data.group}
    names = [*data.features] or [name for name in table.frame.columns if name not in beside]
    if not names:
        others = ", ".join(sorted(filter(None, beside)))
        raise InvalidInput(f"{table.name}: expected columns of features beside {others}, got none")
    for name in data.categories:
        if name not in names:
            raise InvalidInput(
                f"--data.categories {name}: expected some of the features {few(names)}"
            )
    return {name: "category" if name in data.categories else None for name in names}


def check_outputs(data: SequencesData, targets: Sequence[Values]) -> None:
    """Refuses columns of a sequence or a step that are named like a column of the predictions."""
    taken = {"predicted", "probability"}
    if targets[0].names is None:
        taken = {f"predicted {target.name}" for target in targets}
    named = [("--data.sequence", name) for name in data.sequence]
    if data.per_step and data.step is None:
        taken.add("step")
    elif data.per_step and data.step is not None:
        named.append(("--data.step", data.step))
        taken |= set() if data.sequence else {"file"}
    check_free(named, taken)


def value(text: str, whole: bool) -> str | int:
    """Returns the text of a cell, or the whole number that it stands for."""
    return int(text) if whole and text.lstrip("-").isdecimal() else text


def of_order(
    table: Table, order: Order, features: Mapping[str, Kind | None], missing: bool
) -> Steps:
    """Reads the features of sequences whose rows are known.

    Args:
        features: names of columns, and how they are read; None reads text as a category.
        missing: True if a value may be missing.
    """
    files = without_rows(table)

    def step_place(step: int) -> str:
        return files.place(order.row(step))

    return Steps(
        [_feature(table, name, kind, missing, order.rows) for name, kind in features.items()],
        order.lengths,
        order.called,
        step_place,
        order.place,
    )


def without_rows(table: Table) -> Table:
    """Returns a table that can only say where its rows are, so that its columns need no memory."""
    return replace(table, frame=table.frame.clear())


def _feature(
    table: Table, name: str, kind: Kind | None, missing: bool, rows: np.ndarray | slice
) -> Values:
    if kind is None and tables.is_text(table, name):
        refuse_mostly_numbers(table, name, f"--data.categories {name}")
        kind = "category"
    way_out = "" if missing else PREVIOUS
    if kind != "category":
        return Values(name, tables.numbers(table, name, missing, way_out)[rows])
    if not missing:
        found = _names(table, name, way_out)
        return found._replace(values=found.values[rows])
    texts = tables.texts(table, name, missing=True)
    names = sorted({*texts} - {""})
    place = {text: i for i, text in enumerate(names)} | {"": -1}
    return Values(name, np.array([place[text] for text in texts], np.int32)[rows], names)


def with_targets(data: SequencesData, table: Table, order: Order, steps: Steps) -> Steps:
    """Adds targets, parts and groups."""
    targets = _targets(data, table) if data.target else []
    for target in targets if not data.per_step else ():
        _check_constant(table, target, order, "--data.per-step predicts a target at each step")
    first = steps.starts if isinstance(order.rows, slice) else order.rows[steps.starts]
    rows = order.rows if data.per_step else first
    targets = [target._replace(values=target.values[rows]) for target in targets]
    parts = groups = None
    if data.part is not None:
        _check_constant(table, _names(table, data.part), order)
        parts = named_parts(table, data.part, first)
    if data.group is not None:
        groups = _names(table, data.group)
        _check_constant(table, groups, order)
        groups = groups._replace(values=groups.values[first])
    return replace(steps, targets=targets, parts=parts, groups=groups)


def runs(table: Table, columns: Sequence[str]) -> np.ndarray:
    """Returns the first row of each run of rows with the same values in the columns."""
    begins = np.zeros(len(table), bool)
    begins[0] = True
    for name in columns:
        column = table.column(name)
        for start in range(0, len(table) - 1, BLOCK):
            # One row more than those that are compared with the row before.
            own = column.slice(start, BLOCK + 1).rle_id().to_numpy()
            begins[start + 1 : start + len(own)] |= own[1:] != own[:-1]
    return np.flatnonzero(begins)


def texts_at(table: Table, column: str, rows: np.ndarray, way_out: str = "") -> list[str]:
    """Returns the text of a column in some rows, which must not be empty."""
    chosen = replace(table, frame=table.frame.select(column)[rows])
    texts = tables.texts(chosen, column, missing=True)
    if "" in texts:
        row = int(rows[texts.index("")])
        raise InvalidInput(
            f"{table.place(row)}: expected a value in column {column}, got none"
            + f"; {way_out}" * bool(way_out)
        )
    return texts


def _names(table: Table, column: str, way_out: str = "") -> Values:
    """Reads a column of names, of which those of neighbouring rows are mostly the same."""
    starts = runs(table, (column,))
    texts = tables.as_table({column: texts_at(table, column, starts, way_out)})
    names, codes = tables.categories(texts, column)
    return Values(column, np.repeat(codes, np.diff(np.append(starts, len(table)))), names)


def _targets(data: SequencesData, table: Table) -> list[Values]:
    named = [*data.target]
    kind = data.kind
    if kind is None and len(named) == 1:
        # 1.0 is written like a number, 1 like the number of a class.
        whole = tables.is_whole(table, named[0]) and not table.column(named[0]).dtype.is_float()
        kind = "class" if whole or tables.is_text(table, named[0]) else "number"
        if tables.is_text(table, named[0]):
            refuse_mostly_numbers(table, named[0], "--data.kind class")
    if kind == "class" and len(named) > 1:
        raise InvalidInput(f"--data.target: expected one column of a class, got {', '.join(named)}")
    if kind == "class":
        return [_names(table, named[0])]
    return [Values(name, tables.numbers(table, name)) for name in named]


def _check_constant(table: Table, column: Values, order: Order, way_out: str = "") -> None:
    """Refuses a column that changes within a sequence."""
    values = column.values[order.rows]
    starts = np.cumsum(order.lengths) - order.lengths
    other = np.flatnonzero(values != np.repeat(values[starts], order.lengths))
    if len(other):
        row = order.row(int(other[0]))
        begin = order.row(int(starts[np.searchsorted(starts, other[0], "right") - 1]))
        got, before = (
            repr(column.names[int(value)]) if column.names else f"{value:g}"
            for value in column.values[[row, begin]].tolist()
        )
        raise InvalidInput(
            f"{table.place(row)}: expected one value of column {column.name} for each sequence, "
            f"got {got} after {before} ({table.place(begin)})" + f"; {way_out}" * bool(way_out)
        )
