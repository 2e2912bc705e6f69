"""Columns that predictions repeat must not be named like those that they add."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shared.config import resolve
from shared.errors import InvalidInput
from shared.system.tables import as_table
from shared.tasks import TASKS, load_task, sequences
from tests.support.forecast_cases import load, stores
from tests.support.sequence_cases import OF_TABLE, config, made, rows


def said(option: str, name: str) -> str:
    return (
        f"^--data.{option} {name}: expected another name, as predictions have a column '{name}' of "
        "their own; rename the column in the table$"
    )


@pytest.mark.parametrize(
    ("option", "column", "name", "chosen"),
    [
        ("group", "store", "ahead", {}),
        ("group", "store", "predicted sold", {}),
        ("group", "store", "actual sold", {}),
        ("group", "store", "predicted returned", {"target": ("sold", "returned")}),
        ("group", "store", "row", {"time": None}),
        ("time", "date", "ahead", {}),
        ("time", "date", "predicted sold", {}),
    ],
)
def test_a_column_of_a_forecast_is_not_lost_in_its_predictions(
    option: str, column: str, name: str, chosen: dict[str, Any]
) -> None:
    columns = {name if own == column else own: cells for own, cells in stores().items()}
    options = {"group": ("store",)} | chosen
    options[option] = (name,) if option == "group" else name
    with pytest.raises(InvalidInput, match=said(option, name)):
        load(columns, **options)


def test_other_names_of_forecasts_are_free() -> None:
    columns = stores()
    columns["row"] = columns.pop("store")
    assert len(load(columns, group=("row",)).train.inputs) > 0
    columns["predicted price"] = columns.pop("row")
    assert len(load(columns, group=("predicted price",)).train.inputs) > 0


@pytest.mark.parametrize(
    ("option", "name", "chosen"),
    [
        ("sequence", "predicted", {}),
        ("sequence", "probability", {}),
        ("sequence", "predicted goal", {"target": ("goal",), "per_step": True, "step": "at"}),
        ("sequence", "predicted goal", {"target": ("goal",), "per_step": True}),
        ("sequence", "step", {"per_step": True}),
        ("step", "predicted", {"per_step": True}),
    ],
)
def test_a_column_of_sequences_is_not_lost_in_their_predictions(
    option: str, name: str, chosen: dict[str, Any]
) -> None:
    arrays = made()
    table = rows(arrays)
    table["goal"] = table["x"]
    replaced = {"sequence": "name", "step": "at"}[option]
    table[name] = table.pop(replaced)
    own = {"sequence": (name,)} if option == "sequence" else {"step": name}
    with pytest.raises(InvalidInput, match=said(option, name)):
        sequences.from_table(config(**OF_TABLE | chosen | own), as_table(table))


@pytest.mark.parametrize("per_step", [False, True])
def test_a_step_of_files_is_not_named_file_if_steps_are_predicted(
    per_step: bool, tmp_path: Path
) -> None:
    for i in range(12):
        x = np.arange(3.0) + i
        goal = x**2 if per_step else np.full(3, i / 8)
        pl.DataFrame({"file": [1, 2, 3], "x": x, "goal": goal}).write_csv(tmp_path / f"{i}.csv")
    chosen = config(target=("goal",), step="file", path=(str(tmp_path),), per_step=per_step)
    if not per_step:
        assert len(load_task(chosen).train.inputs) > 0
        return
    with pytest.raises(InvalidInput, match=said("step", "file")):
        load_task(chosen)


def test_names_are_refused_before_a_table_is_read() -> None:
    defaults = TASKS["forecast"].defaults
    data = replace(
        defaults.data, path=("none.csv",), target=("y",), group=("predicted y",), time="t"
    )
    with pytest.raises(InvalidInput, match=said("group", "predicted y")):
        load_task(resolve(replace(defaults, data=data)))
