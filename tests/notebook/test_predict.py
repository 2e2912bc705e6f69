"""Predictions for data in memory are those for the file that holds it."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shared.errors import InvalidInput
from shared.inference.predict import predictions
from shared.notebook import Fit, Problem, fit, labels, pairs, sequences, task
from shared.notebook.predict import columns
from tests.notebook.conftest import table
from tests.notebook.test_tasks import LABELS, TEXTS, stepwise

QUICK: Any = {"backend": "torch", "hidden_size": 4, "epochs": 1, "quiet": True}


def same(found: dict[str, np.ndarray], fit: Fit, file: Path) -> None:
    """Compares with what `predict` on the command line says of a file."""
    records = predictions(fit.trained, file)
    assert [*found] == [*records[0]]
    for name, column in found.items():
        expected = [record[name] for record in records]
        if column.dtype.kind == "f":
            np.testing.assert_allclose(column, np.array(expected, float), rtol=1e-6)
        else:
            assert column.tolist() == expected


def test_a_forecast_of_a_table_is_that_of_its_file(series: Problem, tmp_path: Path) -> None:
    found = fit(series, **QUICK)
    pl.DataFrame(table()).write_csv(tmp_path / "sales.csv")
    same(found.predict(table()), found, tmp_path / "sales.csv")
    assert found.predict(table())["day"].tolist() == ["2024-04-30", "2024-05-01"] * 2
    past = found.predict(str(tmp_path / "sales.csv"), past=True)
    assert len(past["day"]) > 200
    assert np.isnan(past["actual sales"][-1])
    assert past["actual sales"].dtype == np.float64


def test_a_class_of_arrays_is_that_of_their_file(tmp_path: Path) -> None:
    inputs, classes = stepwise()
    found = fit(sequences(inputs, classes), **QUICK)
    new, _ = stepwise(1, 7)
    lengths = np.array([len(one) for one in new], np.int32)
    padded = np.zeros((7, lengths.max(), 2))
    for row, one in zip(padded, new, strict=True):
        row[: len(one)] = one
    np.savez(tmp_path / "new.npz", inputs=padded, lengths=lengths)
    same(found.predict(new), found, tmp_path / "new.npz")
    one, other = found.predict(new), found.predict(padded, lengths)
    assert one["predicted"].tolist() == other["predicted"].tolist()
    assert len(one["predicted"]) == 7


def test_a_label_of_a_list_is_that_of_a_table(tmp_path: Path) -> None:
    found = fit(labels(TEXTS, LABELS), **QUICK)
    new = ["a fine thing", "bad"]
    pl.DataFrame({"text": new}).write_csv(tmp_path / "new.csv")
    same(found.predict(new), found, tmp_path / "new.csv")
    assert found.predict({"text": new})["predicted"].tolist() == (
        found.predict(new)["predicted"].tolist()
    )
    with pytest.raises(InvalidInput, match=r"^text 2: expected a text"):
        found.predict(["a", ""])
    with pytest.raises(InvalidInput, match=r"^past is an option of forecasts, got .* task labels$"):
        found.predict(new, past=True)


def test_answers_to_a_list_are_those_to_a_table(tmp_path: Path) -> None:
    found = fit(pairs([str(i) for i in range(60)], [str(i) for i in range(60)]), **QUICK)
    pl.DataFrame({"source": ["12", "3"]}).write_csv(tmp_path / "new.tsv", separator="\t")
    same(found.predict(["12", "3"], beams=5), found, tmp_path / "new.tsv")


def test_tasks_that_come_along_read_arrays_and_lists(tmp_path: Path) -> None:
    spelled = fit(task("hello"), "torch", epochs=2, eval_every=2, quiet=True)
    assert spelled.predict(["hell", "o"])["input"].tolist() == ["hell", "o"]
    with pytest.raises(InvalidInput, match=r"^the texts: line 1: expected characters that the run"):
        spelled.predict(["x"])
    small = task("adding", train_examples=8, valid_examples=8, test_examples=8, sequence_length=4)
    added = fit(small, **QUICK)
    inputs = np.asarray(small.data.test.inputs)
    np.save(tmp_path / "new.npy", inputs)
    same(added.predict(inputs), added, tmp_path / "new.npy")
    with pytest.raises(InvalidInput, match=r"^the arrays: expected inputs \(sequences, steps, 2\)"):
        added.predict(inputs[..., :1])
    with pytest.raises(
        InvalidInput, match=r"^predict: expected a file or arrays \(N, T, I\), got dict"
    ):
        added.predict({"a": [1.0]})


def test_records_become_columns() -> None:
    found = columns([{"a": 1, "b": 1.5, "c": "x"}, {"a": 2, "b": None, "c": None}])
    assert found["a"].tolist() == [1, 2]
    np.testing.assert_array_equal(found["b"], [1.5, np.nan])
    assert found["c"].tolist() == ["x", None]
    assert columns([]) == {}


def test_padded_arrays_need_their_lengths_where_these_were_unequal() -> None:
    draw = np.random.default_rng(0)
    lengths = draw.integers(2, 6, 24)
    inputs, targets = draw.normal(size=(24, 5, 2)), np.arange(24) % 2
    trained = fit(sequences(inputs, targets, lengths), **QUICK)
    given = trained.predict(inputs[:4], lengths[:4])["predicted"]
    cut = [row[:length] for row, length in zip(inputs[:4], lengths, strict=False)]
    assert given.tolist() == trained.predict(cut)["predicted"].tolist()
    with pytest.raises(InvalidInput, match="the arrays: expected lengths beside inputs, as the"):
        trained.predict(inputs[:4])
