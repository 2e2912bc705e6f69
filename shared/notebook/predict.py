"""Predictions for new data in a file or in memory, as columns."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from shared.config.data import LabelsData, PairsData
from shared.errors import InvalidInput
from shared.inference import measured, texts
from shared.inference.forecasts import forecasts
from shared.inference.predict import Record, predictions
from shared.inference.trained import Trained
from shared.tasks.sequence_arrays import stacked


def predicted(
    trained: Trained, data: Any, lengths: Any = None, beams: int = 5, past: bool | None = None
) -> dict[str, np.ndarray]:
    """Predicts for new data: see `Fit.predict`."""
    schema = trained.schema
    if past is not None and schema.series is None:
        raise InvalidInput(f"past is an option of forecasts, got a network of task {schema.task}")
    if isinstance(data, str | PathLike):
        return columns(predictions(trained, Path(data), beams, past))
    if schema.series is not None:
        from shared.system.tables import as_table

        return columns(forecasts(trained, as_table(data), past))
    if schema.tokens:
        return columns(_of_texts(trained, data, beams))
    return columns(_of_sequences(trained, data, lengths))


def _of_texts(trained: Trained, data: Any, beams: int) -> list[Record]:
    """Predicts for a list of texts, or for a table with a column of them."""
    own = trained.config.data
    listed = isinstance(data, list | tuple | np.ndarray)
    if listed and not (len(data) and all(isinstance(one, str) for one in data)):
        raise InvalidInput("predict: expected a list of texts, got other values or none")
    if isinstance(own, LabelsData | PairsData) and listed:
        return texts.of_texts(trained, [*map(str, data)], lambda row: f"text {row + 1}", beams)
    if listed:
        content = "\n".join(data) + "\n"
        return _of_file(trained, "the texts", lambda file: file.write_text(content), beams)
    if not isinstance(own, LabelsData | PairsData):
        raise InvalidInput(
            f"predict: expected a file or a list of texts, got {type(data).__name__}"
        )
    from shared.system import tables

    column = own.text if isinstance(own, LabelsData) else own.source
    table = tables.as_table(data, {column})
    return texts.of_texts(trained, tables.texts(table, column), table.place, beams)


def _of_sequences(trained: Trained, data: Any, lengths: Any) -> list[Record]:
    """Predicts for arrays (N, T, I), for a list of (T, I), or for a table with a row a step."""
    if not isinstance(data, list | tuple | np.ndarray):
        if trained.schema.measured is None:
            got = type(data).__name__
            raise InvalidInput(f"predict: expected a file or arrays (N, T, I), got {got}")
        from shared.system.tables import as_table

        return measured.of_table(trained, as_table(data))
    inputs, _, ends = stacked(data, None, lengths, per_step=False)
    arrays = {"inputs": np.asarray(inputs)}
    if ends is not None:
        arrays["lengths"] = np.asarray(ends)
    if trained.schema.measured is not None:
        return measured.of_arrays(trained, arrays)
    save: Any = np.savez
    return _of_file(trained, "the arrays.npz", lambda file: save(file, **arrays))


def _of_file(
    trained: Trained, name: str, write: Callable[[Path], Any], beams: int = 5
) -> list[Record]:
    """Predicts for what is read from files alone: data in memory goes through one."""
    with TemporaryDirectory(prefix="rnn-parity-") as place:
        file = Path(place) / name
        write(file)
        try:
            return predictions(trained, file, beams)
        except InvalidInput as error:
            called = name.removesuffix(file.suffix)
            raise InvalidInput(str(error).replace(str(file), called)) from None


def columns(records: Sequence[Record]) -> dict[str, np.ndarray]:
    """Turns records into columns; a number that is missing is NaN."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: _column([record.get(name) for record in records]) for name in names}


def _column(values: list[Any]) -> np.ndarray:
    if None not in values:
        return np.array(values)
    if all(one is None or isinstance(one, float) for one in values):
        return np.array([np.nan if one is None else one for one in values])
    return np.array(values, object)
