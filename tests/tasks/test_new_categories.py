"""A value of a category that the training part has not is none of the known ones, if that is asked
for."""

from typing import Any

import numpy as np

from shared.system.tables import as_table
from shared.tasks import sequences
from shared.tasks.task import Task
from tests.support.forecast_cases import load, sales, series
from tests.support.sequence_cases import OF_TABLE, config, made, rows

NONE: dict[str, Any] = {"new_categories": "none"}


def test_a_new_category_in_a_series_has_no_feature() -> None:
    columns = sales()
    columns["weather"][80] = "snow"
    task = load(columns, features=("weather",), **NONE)
    weather = series(task).columns[1]
    assert (weather.values, weather.other) == (["rain", "sun", "wind"], True)
    assert isinstance(task.valid, tuple)
    inputs = np.asarray(task.valid.inputs)[..., 1:4]
    assert set(inputs.sum(-1).ravel().tolist()) == {0.0, 1.0}
    known = np.asarray(load(sales(), features=("weather",)).train.inputs)
    np.testing.assert_array_equal(np.asarray(task.train.inputs), known)


def test_a_new_category_in_a_sequence_has_no_feature() -> None:
    table: dict[str, Any] = rows(made())
    parts = np.array(["train", "train", "valid", "test"])
    fold = [parts[int(name[1:]) // 2 % 4] for name in table["name"]]
    colour = ["red" if at % 2 else "blue" for at in table["at"]]
    late = next(i for i, part in enumerate(fold) if part == "test")
    colour[late] = "green"
    options = OF_TABLE | {"features": ("colour",), "part": "fold"} | NONE
    whole = as_table(table | {"fold": fold, "colour": colour})
    task: Task = sequences.from_table(config(**options), whole)
    assert task.measured is not None
    (column,) = task.measured.features
    assert (column.values, column.other) == (["blue", "red"], True)
    sums = [np.asarray(part.inputs).sum(-1) for part in (task.train, task.test)]
    lengths = [part.lengths for part in (task.train, task.test)]
    missing = [int((n[:, None] > np.arange(s.shape[1])).sum() - s.sum())
               for s, n in zip(sums, lengths, strict=True) if n is not None]  # fmt: skip
    assert missing == [0, 1]
