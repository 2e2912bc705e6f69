"""A forecast checks the rows that it reads, and no others; and it says which series it cannot go on
from."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shared.config.data import ForecastData
from shared.errors import InvalidInput
from shared.inference import load_trained
from shared.inference.forecasts import forecasts
from shared.inference.trained import Trained
from shared.system.tables import as_table
from tests.support.forecast_cases import DAYS, Columns, options, sales, stores
from tests.support.inference_cases import made

WINDOW, HORIZON, COUNT = 7, 2, 90
"""Rows that are read and predicted, and the rows with a known target of 100."""


def trained_on(folder: Path, columns: Columns, data: ForecastData) -> Trained:
    file = folder / "table.parquet"
    pl.DataFrame(columns).write_parquet(file)
    run, _ = made(folder / "run", ForecastData(**{**vars(data), "path": (str(file),)}))
    return load_trained(run)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    data = options(
        features=("weather",), known_ahead=("price", "returned"), log=("sold", "returned"),
        horizon=HORIZON, categories=("price",),
    )  # fmt: skip
    return trained_on(tmp_path_factory.mktemp("single"), sales(), data)


def changed(column: str, row: int, value: Any) -> Columns:
    columns = sales()
    columns["sold"][COUNT:] = np.nan
    cells = columns[column].astype(object) if isinstance(value, str) else columns[column]
    cells[row] = value
    return columns | {column: cells}


BEFORE, FIRST, LAST = COUNT - WINDOW - 1, COUNT - WINDOW, COUNT + HORIZON - 1


@pytest.mark.parametrize(
    ("column", "value", "within"),
    [
        ("weather", "hail", (FIRST, COUNT - 1)),
        ("price", 9.0, (FIRST + HORIZON, LAST)),
        ("returned", -3.0, (FIRST + HORIZON, LAST)),
        ("returned", 1e200, (FIRST + HORIZON, LAST)),
        ("sold", -3.0, (FIRST, COUNT - 1)),
    ],
)
def test_only_rows_that_are_read_are_checked(
    column: str, value: Any, within: tuple[int, int], single: Trained
) -> None:
    first, last = within
    before = forecasts(single, as_table(changed(column, 0, sales()[column][0])))
    for row in (0, first - 1, last + 1):
        if column == "sold" and row >= COUNT:
            continue  # a later target would be the last one
        assert forecasts(single, as_table(changed(column, row, value))) == before
    for row in within:
        with pytest.raises(InvalidInput, match=f"^the table, row {row + 1}: .* column {column}"):
            forecasts(single, as_table(changed(column, row, value)))


def test_all_earlier_rows_are_checked_where_they_are_predicted(single: Trained) -> None:
    with pytest.raises(InvalidInput, match=r"^the table, row 1: .* column weather .*, got 'hail'"):
        forecasts(single, as_table(changed("weather", 0, "hail")), past=True)
    later = as_table(changed("weather", COUNT, "hail"))
    expected = forecasts(single, as_table(changed("weather", COUNT, "sun")), past=True)
    assert forecasts(single, later, past=True) == expected


def test_an_earlier_value_is_checked_where_it_may_be_read_later(tmp_path: Path) -> None:
    data = options(features=("weather",), missing="previous", horizon=HORIZON)
    trained = trained_on(tmp_path, sales(), data)
    with pytest.raises(InvalidInput, match=r"^the table, row 1: .* column weather .*, got 'hail'"):
        forecasts(trained, as_table(changed("weather", 0, "hail")))
    later = as_table(changed("weather", COUNT + HORIZON, "hail"))
    assert len(forecasts(trained, later)) == HORIZON


def test_a_weekday_that_training_lacks_is_refused_only_where_it_is_read(tmp_path: Path) -> None:
    workdays = np.arange(100) % 7 < 5
    columns = {name: column[workdays] for name, column in sales().items()}
    data = options(calendar=("weekday",), gaps="ignore", window=2)
    trained = trained_on(tmp_path, columns, data)
    days = np.concatenate([[DAYS[5]], DAYS[workdays][5:40]])
    table = {"date": days, "sold": np.arange(36.0)}
    assert len(forecasts(trained, as_table(table))) == 1
    with pytest.raises(InvalidInput, match=r"^the table, row 1: .*, got 2024-01-06, Saturday$"):
        forecasts(trained, as_table(table), past=True)


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    data = options(group=("store",), gaps="split", horizon=HORIZON)
    return trained_on(tmp_path_factory.mktemp("groups"), stores(), data)


def without(drop: np.ndarray) -> Columns:
    return {name: np.delete(column, np.flatnonzero(drop)) for name, column in stores().items()}


def test_a_jump_before_a_forecast_is_named_with_its_row_and_a_way_out(groups: Trained) -> None:
    columns = stores()
    south = columns["store"] == "south"
    table = without(south & (columns["date"] == DAYS[96]))
    said = (
        "^the table, row 192: expected at least 7 rows, which the network reads, without a jump in "
        "their times before the forecast of series south, got 2024-04-07 after 2024-04-05; add the "
        "rows between them, or leave out the rows of this series to predict the others$"
    )
    with pytest.raises(InvalidInput, match=said):
        forecasts(groups, as_table(table))
    others = {name: column[table["store"] != "south"] for name, column in table.items()}
    assert len(forecasts(groups, as_table(others))) == 2 * HORIZON
    early = without(south & (columns["date"] == DAYS[90]))
    assert len(forecasts(groups, as_table(early))) == 3 * HORIZON


def test_a_series_that_is_too_short_is_named_with_its_row_and_a_way_out(groups: Trained) -> None:
    columns = stores()
    table = without((columns["store"] == "south") & (columns["date"] < DAYS[94]))
    said = (
        "^the table, row 101: expected at least 7 rows, which the network reads, up to the last "
        "value of series south, got 6; leave out the rows of this series to predict the others$"
    )
    with pytest.raises(InvalidInput, match=said):
        forecasts(groups, as_table(table))
