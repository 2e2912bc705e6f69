"""`predict` for one's own sequences: the same forms as in training, without targets."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shared.config import Config, resolve
from shared.errors import InvalidInput
from shared.inference import evaluation, measured
from shared.inference.predict import predictions
from shared.inference.trained import Trained
from shared.protocol import load_backend
from shared.runs.schema import schema_of
from shared.system.tables import as_table
from shared.tasks import TASKS, load_task
from shared.tasks.start import first_position
from shared.tasks.task import Task

COUNT, LONGEST = 20, 5
DRAW = np.random.default_rng(0)
LENGTHS = DRAW.integers(2, LONGEST + 1, COUNT)
X = DRAW.standard_normal((COUNT, LONGEST)) * 2 + 7


def rows(**changes: Any) -> pl.DataFrame:
    """Sequences s0 to s19 with a number x, a category kind and two targets."""
    pairs = [(i, t) for i, length in enumerate(LENGTHS) for t in range(length)]
    columns: dict[str, list[Any]] = {
        "id": [f"s{i}" for i, _ in pairs],
        "at": [10 * t for _, t in pairs],
        "x": [float(X[i, t]) for i, t in pairs],
        "kind": ["ab"[(i + t) % 2] for i, t in pairs],
        "label": [("low", "mid", "top")[i % 3] for i, _ in pairs],
        "goal": [100.0 + i for i, _ in pairs],
    }
    return pl.DataFrame(columns | changes)


def config(**data: Any) -> Config:
    defaults = TASKS["sequences"].defaults
    options = {"sequence": ("id",), "step": "at", "features": ("x", "kind")} | data
    return resolve(
        replace(
            defaults, backend="torch", precision="float64", device="cpu",
            network=replace(defaults.network, hidden_size=4),
            data=replace(defaults.data, **options),
        )
    )  # fmt: skip


def untrained(config: Config) -> tuple[Trained, Task]:
    """Returns a network at its first weights, and its task."""
    task = load_task(config)
    backend = load_backend(config, task.signature)
    state = backend.init(first_position(config, task))
    return Trained(config, schema_of(config, task), backend, state, 0), task


Write = Callable[[pl.DataFrame], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(table: pl.DataFrame) -> Path:
        table.write_csv(tmp_path / "a.csv")
        return tmp_path / "a.csv"

    return write


def by_name(task: Task, found: np.ndarray) -> dict[float, Any]:
    """Returns the training part's outputs by the first x of each sequence."""
    assert task.measured is not None
    (scale,) = task.measured.feature_scales
    first = np.asarray(task.train.inputs)[:, 0, 0] * scale.std + scale.mean
    return {round(float(x), 9): value for x, value in zip(first, found, strict=True)}


def test_classes_are_those_of_the_training_data(write: Write) -> None:
    file = write(rows())
    trained, task = untrained(config(path=(str(file),), target=("label",)))
    classes = evaluation.outputs(
        task, trained.backend, trained.state, task.train.inputs, task.train.lengths
    )
    expected = by_name(task, classes)
    assert len(expected) == len(task.train.inputs)
    found = predictions(trained, file)
    assert [record["id"] for record in found] == [f"s{i}" for i in range(COUNT)]
    assert [*found[0]] == ["id", "predicted", "probability"]
    by_first = {round(float(X[i, 0]), 9): record for i, record in enumerate(found)}
    for x, number in expected.items():
        assert by_first[x]["predicted"] == task.classes[number]
        assert 1 / 3 <= by_first[x]["probability"] < 1


@pytest.mark.parametrize("rows_of_a_call", [512, 3])
def test_numbers_are_in_the_units_of_the_data(
    write: Write, monkeypatch: pytest.MonkeyPatch, rows_of_a_call: int
) -> None:
    monkeypatch.setattr(measured, "EVALUATION_ROWS", rows_of_a_call)
    file = write(rows())
    trained, task = untrained(config(path=(str(file),), target=("goal",)))
    assert task.measured is not None
    (scale,) = task.measured.target_scales
    values = evaluation.outputs(
        task, trained.backend, trained.state, task.train.inputs, task.train.lengths
    )
    found = predictions(trained, file)
    by_first = {round(float(X[i, 0]), 9): record for i, record in enumerate(found)}
    for x, value in by_name(task, values[:, 0]).items():
        said = by_first[x]["predicted goal"]
        assert said == pytest.approx(value * scale.std + scale.mean, abs=1e-9)


def test_each_step_has_its_name_and_its_prediction(write: Write) -> None:
    file = write(rows())
    trained, task = untrained(config(path=(str(file),), target=("label",), per_step=True))
    found = predictions(trained, file)
    assert [(r["id"], r["at"]) for r in found] == [*rows().select("id", "at").iter_rows()]
    classes = evaluation.outputs(
        task, trained.backend, trained.state, task.train.inputs, task.train.lengths
    )
    by_first = by_name(task, classes)
    for i, length in enumerate(LENGTHS):
        own = by_first.get(round(float(X[i, 0]), 9))
        if own is not None:
            said = [record["predicted"] for record in found if record["id"] == f"s{i}"]
            assert said == [task.classes[number] for number in own[:length]]


def test_other_orders_of_columns_and_rows_and_further_columns_change_nothing(write: Write) -> None:
    file = write(rows())
    trained, _ = untrained(config(path=(str(file),), target=("label",)))
    before = predictions(trained, file)
    mixed = (
        rows(more="text").sort("at", maintain_order=True).select("kind", "more", "x", "at", "id")
    )
    assert predictions(trained, write(mixed)) == before


def test_a_table_in_memory_and_a_folder_say_the_same(write: Write, tmp_path: Path) -> None:
    file = write(rows())
    trained, _ = untrained(config(path=(str(file),), target=("goal",)))
    before = predictions(trained, file)
    assert measured.of_table(trained, as_table(rows())) == before
    folder = tmp_path / "folder"
    folder.mkdir()
    for (name,), own in rows().group_by("id"):
        own.select("at", "kind", "x").write_csv(folder / f"{name}.csv")
    found = predictions(trained, folder)
    assert {r["file"]: r["predicted goal"] for r in found} == pytest.approx(
        {f"{r['id']}.csv": r["predicted goal"] for r in before}
    )


def arrays() -> dict[str, Any]:
    return {"inputs": np.stack([X, X**2], axis=2), "lengths": LENGTHS}


def test_arrays_are_read_by_the_names_of_their_features(tmp_path: Path) -> None:
    names = np.array(["x", "square"])
    file = tmp_path / "a.npz"
    np.savez(file, **arrays(), targets=np.arange(COUNT) % 2, feature_names=names)
    options = {"sequence": (), "step": None, "features": ()}
    trained, _ = untrained(config(path=(str(file),), **options))
    before = predictions(trained, file)
    assert [record["sequence"] for record in before] == [*range(1, COUNT + 1)]
    turned = arrays() | {"inputs": arrays()["inputs"][..., ::-1], "feature_names": names[::-1]}
    np.savez(file, **turned)
    assert predictions(trained, file) == before
    np.savez(file, **arrays())
    with pytest.raises(InvalidInput, match=r"a\.npz: expected a column 'x', got feature 1, "):
        predictions(trained, file)
    assert measured.of_arrays(trained, arrays() | {"feature_names": names}) == before


def test_arrays_are_refused_where_names_of_a_category_are_needed(
    write: Write, tmp_path: Path
) -> None:
    trained, _ = untrained(config(path=(str(write(rows())),), target=("label",)))
    np.savez(tmp_path / "a.npz", **arrays(), feature_names=np.array(["x", "kind"]))
    said = (
        r"a\.npz: expected a table, whose column kind holds names, as in training, got arrays of "
        "numbers; predict from a table with a row for each step, or from a folder of tables$"
    )
    with pytest.raises(InvalidInput, match=said):
        predictions(trained, tmp_path / "a.npz")


def test_steps_of_arrays_do_not_replace_the_sequences(write: Write, tmp_path: Path) -> None:
    """Though the table of the training had its steps in a column of that name."""
    table = rows().rename({"at": "sequence"})
    options = {"features": ("x",), "target": ("label",), "per_step": True, "step": "sequence"}
    trained, _ = untrained(config(path=(str(write(table)),), **options))
    np.savez(tmp_path / "a.npz", inputs=X[..., None], lengths=LENGTHS, feature_names=["x"])
    found = predictions(trained, tmp_path / "a.npz")
    expected = [(i + 1, t + 1) for i, length in enumerate(LENGTHS) for t in range(length)]
    assert [(record["sequence"], record["step"]) for record in found] == expected
    counted = [(r["id"], r["sequence"]) for r in predictions(trained, write(table))]
    assert counted == [(f"s{i - 1}", 10 * (t - 1)) for i, t in expected]


def test_arrays_of_another_width_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, **arrays(), targets=np.arange(COUNT) % 2)
    trained, _ = untrained(config(path=(str(file),), sequence=(), step=None, features=()))
    np.save(tmp_path / "b.npy", np.zeros((4, 3, 3)))
    with pytest.raises(InvalidInput, match=r"b\.npy: expected inputs \(.*, 2\), got 3 features$"):
        predictions(trained, tmp_path / "b.npy")
    np.save(tmp_path / "b.npy", arrays()["inputs"][0])
    assert [record["sequence"] for record in predictions(trained, tmp_path / "b.npy")] == [1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda t: t.rename({"x": "xx"}),
         r"a\.csv: expected a column 'x', got id, at, xx, kind, label, goal; did you mean 'xx'\?$"),
        (lambda t: t.drop("id"), r"a\.csv: expected a column 'id', got at, x, kind, label, goal"),
        (lambda t: t.with_columns(kind=pl.when(pl.col("at") > 0).then(pl.lit("c"))
                                  .otherwise(pl.col("kind"))),
         r"a\.csv, line 3: expected a value in column kind that the training part has \(a, b\), "
         r"got 'c'; trained with --data.new-categories none, .*$"),
        (lambda t: t.with_columns(x=pl.when(pl.col("at") == 0).then(pl.col("x"))),
         r"a\.csv, line 3: expected a number in column x, got none"),
        (lambda t: t.with_columns(x=pl.lit("much")),
         r"a\.csv, line 2: expected a number in column x, got 'much'$"),
        (lambda t: t.with_columns(at=pl.lit(5)),
         r"a\.csv, line 3: expected each step of a sequence once, got 5 in column at again"),
        (lambda t: t.with_columns(x=pl.lit(1e308) * (pl.col("at") - 15)),
         r"a\.csv.*: expected (a finite number in column x|numbers of a size)"),
    ],
)  # fmt: skip
def test_new_data_that_does_not_fit_is_refused_by_name_and_row(
    write: Write, changed: Callable[[pl.DataFrame], pl.DataFrame], said: str
) -> None:
    trained, _ = untrained(config(path=(str(write(rows())),), target=("label",)))
    with pytest.raises(InvalidInput, match=said):
        predictions(trained, write(changed(rows())))


def test_a_missing_value_is_read_by_the_rule_of_training(write: Write) -> None:
    file = write(rows())
    trained, _ = untrained(config(path=(str(file),), target=("label",), missing="previous"))
    filled = rows().with_columns(
        pl.when(pl.col("at") == 10).then(pl.col("x").shift(1)).otherwise(pl.col("x")).alias("x")
    )
    gaps = rows().with_columns(pl.when(pl.col("at") != 10).then(pl.col("x")).alias("x"))
    assert predictions(trained, write(gaps)) == predictions(trained, write(filled))


def test_a_network_without_named_features_takes_no_table(write: Write) -> None:
    trained, _ = untrained(config(path=(str(write(rows())),), target=("label",)))
    unnamed = trained._replace(schema=replace(trained.schema, task="vowels", measured=None))
    with pytest.raises(
        InvalidInput, match=r"^expected a network of task sequences, got .* vowels$"
    ):
        measured.of_table(unnamed, as_table(rows()))
