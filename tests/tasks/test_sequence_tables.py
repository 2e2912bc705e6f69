"""Sequences in a table with a row for each step."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shared.system.tables import as_table
from shared.tasks import load_task, sequence_columns, sequences
from tests.support.sequence_cases import OF_TABLE, config, made, rows, same_inputs


def test_a_table_with_a_row_for_each_step_is_the_same(tmp_path: Path) -> None:
    arrays = made()
    table = rows(arrays)
    of_arrays = sequences.from_arrays(
        config(), **arrays, class_names=["no", "yes"], names=["x", "y"]
    )
    pl.DataFrame(table).write_csv(tmp_path / "a.csv")
    of_file = load_task(config(path=(str(tmp_path / "a.csv"),), **OF_TABLE))
    same_inputs(of_arrays, of_file)
    assert of_file.fingerprint == of_arrays.fingerprint
    assert of_file.classes == of_arrays.classes == ("no", "yes")
    assert of_file.measured is not None
    assert of_file.measured.sequence == ["name"]


def test_rows_that_come_back_later_are_ordered_by_their_step() -> None:
    table = pl.DataFrame(rows(made()))
    mixed = table.with_row_index().sort("at", "index").drop("index")
    assert mixed["name"][:2].to_list() == ["s00", "s01"]
    same_inputs(
        sequences.from_table(config(**OF_TABLE), as_table(table)),
        sequences.from_table(config(**OF_TABLE, step="at"), as_table(mixed)),
    )


def test_sequences_go_on_from_one_block_of_rows_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, options = as_table(rows(made())), config(**OF_TABLE)
    whole = sequences.from_table(options, table)
    for block in (1, 2, 7):
        monkeypatch.setattr(sequence_columns, "BLOCK", block)
        same_inputs(whole, sequences.from_table(options, table))


def test_steps_are_ordered_by_their_dates_and_numbers_not_by_their_text() -> None:
    times = {"number": [10, 9, 100], "date": ["2024-01-10", "2023-12-31", "2024-02-01"]}
    for at in times.values():
        table = as_table(
            {"name": np.repeat(np.arange(8), 3), "at": at * 8,
             "x": np.tile([1.0, 0.0, 2.0], 8) * np.repeat(np.arange(1, 9), 3),
             "label": np.repeat(np.arange(8) % 2, 3)}
        )  # fmt: skip
        task = sequences.from_table(config(**OF_TABLE | {"features": ("x",)}, step="at"), table)
        assert (np.diff(np.asarray(task.train.inputs)[..., 0]) > 0).all()


def test_columns_of_an_npz_file_are_a_table(tmp_path: Path) -> None:
    table = rows(made())
    arrays: dict[str, Any] = {name: np.array(values) for name, values in table.items()}
    np.savez(tmp_path / "a.npz", **arrays)
    task = load_task(config(path=(str(tmp_path / "a.npz"),), **OF_TABLE))
    same_inputs(task, sequences.from_table(config(**OF_TABLE), as_table(table)))


def test_text_is_one_hot_and_a_missing_value_is_the_previous_one() -> None:
    table = as_table(
        {
            "id": np.repeat(np.arange(12), 3),
            "kind": ["a", None, "b"] * 6 + [None, "b", None] * 6,
            "x": [1.0, None, 3.0] * 6 + [None, 5.0, None] * 6,
            "goal": np.repeat(np.arange(12) % 2, 3),
            "fold": np.repeat(["train"] * 3 + ["valid"] * 2 + ["test"] + ["train"] * 6, 3),
        }
    )
    options = {"sequence": ("id",), "target": ("goal",), "part": "fold"}
    task = sequences.from_table(config(**options, missing="previous"), table)
    assert task.measured is not None
    assert [c.values for c in task.measured.features] == [["a", "b"], []]
    (scale,) = task.measured.feature_scales
    known = np.array([1.0, 3.0] * 3 + [5.0] * 6)
    assert (scale.mean, scale.std) == pytest.approx((known.mean(), known.std()))
    one, three, five = ((x - scale.mean) / scale.std for x in (1, 3, 5))
    inputs = np.asarray(task.train.inputs)
    np.testing.assert_allclose(inputs[0], [[1, 0, one], [1, 0, one], [0, 1, three]])
    np.testing.assert_allclose(inputs[-1], [[0, 0, 0], [0, 1, five], [0, 1, five]])
    assert [len(s.inputs) for s in (task.train, task.valid, task.test) if s] == [9, 2, 1]


def test_whole_numbers_are_names_where_an_option_says_so() -> None:
    table = as_table(
        {
            "id": np.repeat(np.arange(12), 2),
            "code": [3, 10] * 12,
            "goal": np.arange(24) // 2 % 2,
            "fold": np.repeat(["train"] * 8 + ["valid", "test"] * 2, 2),
        }
    )
    options = {"sequence": ("id",), "target": ("goal",), "part": "fold"}
    task = sequences.from_table(config(**options, categories=("code",)), table)
    assert task.measured is not None
    assert task.measured.features[0].values == ["3", "10"]
    assert np.asarray(task.train.inputs)[0].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("goal", "loss"),
    [
        (["a", "b"], "cross_entropy"),
        ([0, 1], "cross_entropy"),
        ([True, False], "cross_entropy"),
        ([0.0, 1.0], "mse"),
        ([0.5, 1.0], "mse"),
    ],
)
def test_text_and_whole_numbers_are_classes_and_decimals_are_numbers(
    goal: list[Any], loss: str
) -> None:
    table = {
        "id": np.repeat(np.arange(12), 2),
        "x": np.arange(24.0),
        "goal": np.repeat(goal * 6, 2),
    }
    task = sequences.from_table(config(sequence=("id",), target=("goal",)), as_table(table))
    assert task.signature.loss == loss
