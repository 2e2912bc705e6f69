"""Predictions for sequences of numbers, as `--task sequences` and others read them.

The files are those of training, without targets: an NPZ file, a table with a row for each step, or
a folder with a table for each sequence. Columns are found by their names, in any order.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.inference import beam
from shared.inference.tables import read_sequences
from shared.inference.trained import Trained
from shared.protocol.batching import EVALUATION_ROWS
from shared.runs.schema import Schema
from shared.system import tables
from shared.system.table import Table, check_names
from shared.tasks import sequence_arrays, sequence_files
from shared.tasks.sequence_columns import Kind, Order, of_order, value
from shared.tasks.sequence_steps import Steps, inputs_of, real_steps
from shared.tasks.task import Measured

Record = dict[str, Any]


def of_file(trained: Trained, file: Path) -> list[Record]:
    """Reads sequences from a file or a folder, and predicts.

    Raises:
        InvalidInput: it cannot be read, lacks a feature, or has values that the network cannot
            read.
    """
    measured = trained.schema.measured
    if measured is None:
        return _by_place(trained, file)
    if file.suffix.lower() in (".npz", ".npy") and not file.is_dir():
        arrays = sequence_arrays.read_arrays(file)
        if arrays is not None:
            return of_arrays(trained, arrays, str(file))
    columns = [column.name for column in measured.features]
    columns += [measured.step] if measured.step is not None else []
    if not file.is_dir():
        columns = list(dict.fromkeys([*measured.sequence, *columns]))
        return of_table(trained, tables.read_table([file], columns, option="--input"))
    files = sequence_files.tables_in(file)
    table = tables.read_table(files, columns, option="--input")
    names = [one.relative_to(file).as_posix() for one in files]
    return _predicted(trained, table, sequence_files.by_files(table, names, measured.step))


def of_table(trained: Trained, table: Table) -> list[Record]:
    """Predicts for a table with a row for each step.

    Where no columns name the sequences, each file is one.
    """
    measured = _measured(trained)
    if measured.sequence:
        order = sequence_files.by_columns(table, measured.sequence, measured.step)
    else:
        names = [Path(name).name for name, _ in table.files]
        order = sequence_files.by_files(table, names, measured.step)
    return _predicted(trained, table, order)


def of_arrays(
    trained: Trained, arrays: sequence_arrays.Arrays, called: str = "the arrays"
) -> list[Record]:
    """Predicts for arrays: inputs, and lengths and feature_names where they are needed."""
    measured = _measured(trained)
    columns = [column.name for column in measured.features]
    named = [column.name for column in measured.features if column.kind == "category"]
    if named:
        raise InvalidInput(
            f"{called}: expected a table, whose column {named[0]} holds names, as in training, got "
            "arrays of numbers; predict from a table with a row for each step, or from a folder of "
            "tables"
        )
    steps = sequence_arrays.of_arrays(
        arrays, called, targets=False, missing=measured.missing == "previous"
    )
    found = [feature.name for feature in steps.features]
    if "feature_names" not in arrays and len(found) != len(columns):
        raise InvalidInput(
            f"{called}: expected inputs (sequences, steps, {len(columns)}), got {len(found)} "
            "features"
        )
    check_names(called, found, columns)
    shape = np.shape(arrays["inputs"])
    if measured.ragged and "lengths" not in arrays and len(shape) == 3 and shape[0] > 1:
        raise InvalidInput(
            f"{called}: expected lengths beside inputs, as the network was trained on sequences of "
            "unequal lengths, got none: what fills them up would be read, too"
        )
    features = [steps.features[found.index(name)] for name in columns]
    return _records(trained, replace(steps, features=features), None)


def _measured(trained: Trained) -> Measured:
    measured = trained.schema.measured
    if measured is None:
        raise InvalidInput(
            f"expected a network of task sequences, got one of task {trained.schema.task}"
        )
    return measured


def _predicted(trained: Trained, table: Table, order: Order) -> list[Record]:
    measured = _measured(trained)
    kinds: dict[str, Kind | None] = {
        column.name: "category" if column.kind == "category" else "number"
        for column in measured.features
    }
    steps = of_order(table, order, kinds, measured.missing == "previous")
    numbers = None
    if trained.schema.per_step and measured.step is not None:
        whole, texts = tables.is_whole(table, measured.step), tables.texts(table, measured.step)
        numbers = [value(texts[order.row(i)], whole) for i in range(len(texts))]
    return _records(trained, steps, numbers)


def _records(trained: Trained, steps: Steps, numbers: list[Any] | None) -> list[Record]:
    """Predicts, and says what for.

    Args:
        numbers: (M,) what the steps are called in their column; None counts them from 1 in each
            sequence, as "step".
    """
    schema, measured = trained.schema, _measured(trained)
    longest = int(steps.lengths.max())
    ragged = int(steps.lengths.min()) < longest
    found: list[np.ndarray] = []
    for start in range(0, len(steps.lengths), EVALUATION_ROWS):
        rows = np.arange(start, min(start + EVALUATION_ROWS, len(steps.lengths)))
        lengths = steps.lengths[rows].astype(np.int32)
        inputs = inputs_of(steps, measured.features, measured.feature_scales, rows, longest)
        outputs = trained.backend.predict(trained.state, inputs, lengths if ragged else None)[0]
        found.append(outputs[real_steps(lengths, longest)] if schema.per_step else outputs)
    outputs = np.concatenate(found)
    _check_finite(outputs, steps.place(0))
    beside = dict(steps.called)
    if schema.per_step:
        repeats = steps.lengths.tolist()
        beside = {
            name: [v for v, n in zip(values, repeats, strict=True) for _ in range(n)]
            for name, values in beside.items()
        }
        counted = [i for n in repeats for i in range(1, n + 1)]
        if numbers is None:
            beside["step"] = counted
        else:
            assert measured.step is not None
            beside[measured.step] = numbers
    beside |= _said(schema, outputs)
    return [dict(zip(beside, row, strict=True)) for row in zip(*beside.values(), strict=True)]


def _check_finite(outputs: np.ndarray, called: str) -> None:
    if not np.isfinite(outputs).all():
        raise InvalidInput(
            f"{called}: expected numbers of a size that the network can compute with, got "
            f"some that lead to {outputs[~np.isfinite(outputs)][0]}"
        )


def _said(schema: Schema, outputs: np.ndarray) -> dict[str, list[Any]]:
    """Returns the class and its probability, or the numbers in the data's units, of each output.

    Args:
        outputs: (M, O).
    """
    if schema.loss == "cross_entropy":
        names = schema.classes or [str(i) for i in range(schema.output_size)]
        probability = np.exp(beam.log_softmax(outputs))
        best = probability.argmax(axis=1)
        return {
            "predicted": [names[int(i)] for i in best],
            "probability": probability.max(axis=1).tolist(),
        }
    measured = schema.measured
    if measured is None:
        return {"predicted": outputs[:, 0].astype(np.float64).tolist()}
    columns = zip(measured.targets, measured.target_scales, strict=True)
    return {
        f"predicted {target.name}{f' ({target.unit})' * bool(target.unit)}": (
            outputs[:, i].astype(np.float64) * scale.std + scale.mean
        ).tolist()
        for i, (target, scale) in enumerate(columns)
    }


def _by_place(trained: Trained, file: Path) -> list[Record]:
    """Predicts for features that have no names: their places count."""
    schema = trained.schema
    inputs, lengths, called = read_sequences(file, schema.input_size)
    if schema.mean:
        inputs = (inputs - schema.mean) / schema.std
        if lengths is not None:
            inputs[~real_steps(lengths, inputs.shape[1])] = 0
    found: list[np.ndarray] = []
    for start in range(0, len(inputs), EVALUATION_ROWS):
        rows = slice(start, start + EVALUATION_ROWS)
        own = None if lengths is None else lengths[rows]
        found.append(trained.backend.predict(trained.state, inputs[rows], own)[0])
    outputs = np.concatenate(found)
    _check_finite(outputs, str(file))
    said = {"sequence": called} | _said(schema, outputs)
    return [dict(zip(said, row, strict=True)) for row in zip(*said.values(), strict=True)]
