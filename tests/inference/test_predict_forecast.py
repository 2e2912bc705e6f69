"""Forecasts of your own series: the next values of each, with their times, from the same kind of
table."""

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
from shared.protocol import Snapshot
from shared.runs import checkpoint
from shared.runs.checkpoint import Checkpoint
from shared.system.tables import as_table
from shared.tasks.forecast_rows import values
from shared.tasks.forecast_scores import last_values
from shared.tasks.task import Task
from tests.support.forecast_cases import DAYS, Columns, options, sales, stores
from tests.support.inference_cases import FIRST, made

Run = tuple[Trained, Task]
GROUPS = options(
    target=("sold", "returned"), features=("weather",), known_ahead=("price", "store"),
    calendar=("weekday",), group=("store",), horizon=3, log=("returned",), difference=True,
)  # fmt: skip


def run(folder: Path, columns: Columns, data: ForecastData) -> Run:
    file = folder / "table.parquet"
    pl.DataFrame(columns).write_parquet(file)
    made_run, task = made(folder / "run", _with_path(data, file))
    return load_trained(made_run), task


def _with_path(data: ForecastData, file: Path) -> ForecastData:
    return ForecastData(**{**vars(data), "path": (str(file),)})


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("plain"), sales(), options(horizon=2))


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("groups"), stores(), GROUPS)


def with_future(columns: Columns, days: int = 3) -> pl.DataFrame:
    """The rows of stores, and after each series days of which the price and the store are known."""
    frame = pl.DataFrame(columns)
    last = frame.group_by("store").agg(pl.col("date").max())
    future = [
        last.with_columns(pl.col("date") + pl.duration(days=1 + i), price=pl.lit(2.0 + i % 2))
        for i in range(days)
    ]
    return pl.concat([frame, *future], how="diagonal_relaxed").sample(
        fraction=1.0, shuffle=True, seed=1
    )


@pytest.mark.parametrize("name", ["plain", "groups"])
def test_past_forecasts_are_those_of_the_task(name: str, request) -> None:
    """The windows of a table are the same for training and for prediction."""
    trained, task = request.getfixturevalue(name)
    columns = sales() if name == "plain" else stores()
    table = as_table(columns if name == "plain" else with_future(columns))
    records = forecasts(trained, table, past=True)
    series = task.series
    assert series is not None
    assert task.group is not None
    inputs = task.test.inputs[:]
    outputs = trained.backend.predict(trained.state, inputs)[0]
    expected = values(series, outputs, last_values(series, inputs), task.group)
    place = {(r.get("store", ""), r["date"], r["ahead"]): r for r in records}
    names = [*series.scales]
    for i, (day, group) in enumerate(zip(task.times, task.group, strict=True)):
        for step in range(series.horizon):
            date = str((day + np.timedelta64(step, "D")).astype("datetime64[D]"))
            record = place[names[group], date, step + 1]
            for o, column in enumerate(series.predicted):
                assert record[f"predicted {column.name}"] == pytest.approx(expected[i, step, o])
                own = columns["date"] == np.datetime64(date)
                own &= columns.get("store", names[group]) == names[group]
                assert record[f"actual {column.name}"] == pytest.approx(
                    columns[column.name][own][0]
                )


def test_the_next_values_of_each_series_are_predicted(groups: Run) -> None:
    trained, _ = groups
    table = as_table(with_future(stores()))
    records = forecasts(trained, table)
    assert [*records[0]] == ["store", "date", "ahead", "predicted sold", "predicted returned"]
    dates = ["2024-04-10", "2024-04-11", "2024-04-12"]
    expected = [(s, d, i + 1) for s in ("north", "south", "west") for i, d in enumerate(dates)]
    assert [(r["store"], r["date"], r["ahead"]) for r in records] == expected
    last = [r for r in forecasts(trained, table, past=True) if r["actual sold"] is None]
    by_place = {(r["store"], r["date"], r["ahead"]): r for r in last}
    for record in records:
        other = by_place[record["store"], record["date"], record["ahead"]]
        assert record["predicted sold"] == pytest.approx(other["predicted sold"], rel=1e-12)


def test_the_order_of_rows_and_the_rows_after_the_horizon_do_not_count(groups: Run) -> None:
    trained, _ = groups
    found = forecasts(trained, as_table(with_future(stores())))
    ordered = with_future(stores(), days=5).sort("store", "date")
    window = ordered.filter(pl.col("date") > DAYS[-8])
    for frame in (ordered, window):
        assert forecasts(trained, as_table(frame)) == found


def test_one_series_of_those_that_are_known_is_enough(groups: Run) -> None:
    trained, _ = groups
    whole = with_future(stores())
    south = whole.filter(pl.col("store") == "south")
    found = forecasts(trained, as_table(south))
    expected = [r for r in forecasts(trained, as_table(whole)) if r["store"] == "south"]
    assert len(found) == len(expected) == 3
    for one, other in zip(found, expected, strict=True):
        for name, value in one.items():
            assert value == (pytest.approx(other[name]) if "predicted" in name else other[name])


def test_what_is_known_ahead_changes_the_forecast(groups: Run) -> None:
    trained, _ = groups
    table = with_future(stores())
    dear = table.with_columns(
        price=pl.when(pl.col("sold").is_null()).then(9.0).otherwise(pl.col("price"))
    )
    one, other = (forecasts(trained, as_table(frame)) for frame in (table, dear))
    assert one[0]["predicted sold"] != other[0]["predicted sold"]


def with_slopes(folder: Path, trained: Trained, task: Task, slopes: np.ndarray) -> Trained:
    """The run with zeros for weights, and a highway that adds so many times the last slope."""
    exported = trained.backend.export(trained.state).weights
    weights = {name: np.zeros_like(value) for name, value in exported.items()}
    weights["highway.weight"][:, -1], weights["highway.weight"][:, -2] = slopes, -slopes
    checkpoint.write(folder / "run" / FIRST, Checkpoint(Snapshot.of(weights), task.fingerprint))
    return load_trained(folder / "run")


def test_a_linear_series_goes_on(tmp_path: Path) -> None:
    columns = {"day": np.arange(100.0), "sold": 3.0 * np.arange(100.0) + 5}
    trained, task = run(tmp_path, columns, options(time="day", horizon=3, difference=True))
    trained = with_slopes(tmp_path, trained, task, np.arange(1, 4.0))
    records = forecasts(trained, as_table({name: c[:20] for name, c in columns.items()}))
    assert [record["day"] for record in records] == [20, 21, 22]
    np.testing.assert_allclose([r["predicted sold"] for r in records], [65, 68, 71], rtol=1e-9)


def test_a_forecast_that_is_too_large_a_number_is_refused(tmp_path: Path) -> None:
    trained, task = run(tmp_path, sales(), options(log=("sold",)))
    trained = with_slopes(tmp_path, trained, task, np.array([1e4]))
    columns = sales()
    columns["sold"][-1] *= 100
    message = "^the table: expected numbers of a size that the network can compute with, got some "
    with pytest.raises(InvalidInput, match=message + r"that lead to 1e\+150$"):
        forecasts(trained, as_table(columns))


def test_the_name_of_a_series_is_known_ahead(tmp_path: Path) -> None:
    """Such columns and facts about the time need no rows after the last one."""
    data = options(group=("store",), known_ahead=("store",), calendar=("weekday",), horizon=2)
    trained, _ = run(tmp_path, stores(), data)
    found = forecasts(trained, as_table(stores()))
    dates = ["2024-04-10", "2024-04-11"]
    expected = [(store, date) for store in ("north", "south", "west") for date in dates]
    assert [(record["store"], record["date"]) for record in found] == expected
    future = with_future(stores(), 2).with_columns(price=None, weather=None, returned=None)
    assert forecasts(trained, as_table(future)) == found


def test_without_times_rows_are_counted(tmp_path: Path) -> None:
    columns = stores()
    trained, _ = run(tmp_path, columns, options(time=None, group=("store",), horizon=2))
    records = forecasts(trained, as_table(columns))
    assert [record["row"] for record in records] == [101, 102, 96, 97, 91, 92]


@pytest.mark.parametrize(
    ("begin", "unit", "expected"),
    [("2015-01", "M", ["2023-05-01", "2023-06-01"]), ("1901", "Y", ["2001-01-01", "2002-01-01"])],
)
def test_months_and_years_go_on(begin: str, unit: str, expected: list, tmp_path: Path) -> None:
    times = np.datetime64(begin, unit) + np.arange(100)
    columns = sales() | {"date": times.astype("datetime64[D]")}
    trained, _ = run(tmp_path, columns, options(horizon=2))
    assert [record["date"] for record in forecasts(trained, as_table(columns))] == expected


def test_missing_values_are_read_as_the_one_before_as_in_training(tmp_path: Path) -> None:
    trained, _ = run(tmp_path, sales(), options(features=("price",), missing="previous"))
    one, other = sales(), sales()
    one["price"][97] = np.nan
    other["price"][97] = other["price"][96]
    assert forecasts(trained, as_table(one)) == forecasts(trained, as_table(other))


def changed(name: str, row: int, value: Any) -> Columns:
    columns = sales()
    column = columns[name].astype(object) if isinstance(value, str) else columns[name].copy()
    column[row] = value
    return columns | {name: column}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({n: c[:6] for n, c in sales().items()},
         "the table: expected at least 7 rows, which the network reads, up to the last value of "
         "the series, got 6"),
        ({n: np.delete(c, 98) for n, c in sales().items()},
         "the table, row 99: expected 2024-04-08 after 2024-04-07 in the series, in steps of 1d, "
         "got 2024-04-09; .*"),
        ({n: c[::7] for n, c in sales().items()},
         "the table: expected one step of time, 1d, in all series and as in training, got 7d in "
         "the series"),
        (sales() | {"date": np.arange(100)},
         "the table: expected dates in column date, as in training, got numbers"),
        ({n: c for n, c in sales().items() if n != "date"},
         "the table: expected a column 'date', got sold, returned, price, weather"),
        (changed("sold", 97, np.nan),
         "the table, row 98: expected a value in column sold, got none; --data.missing .*"),
        (changed("sold", 97, "n/a"),
         "the table, row 98: expected a number in column sold, got 'n/a'"),
        (changed("date", 97, DAYS[96]),
         "the table, row 98: expected each time once in the series, got 2024-04-06 as in row 97.*"),
        (sales() | {"sold": np.full(100, np.nan)},
         "the table: expected values of sold in the series, got none"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_predicted_from_is_refused(
    columns: Columns, message: str, plain: Run
) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}$"):
        forecasts(plain[0], as_table(columns))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.with_columns(store=pl.col("store").replace("west", "wst")),
         "the table, row .*: expected one of the 3 series that the network is trained on, got "
         "'wst'; did you mean 'west'.*"),
        (lambda f: f.with_columns(weather=pl.col("weather").replace("sun", "hail")),
         r"the table, row .*: expected a value of the training part in column weather \(rain, sun, "
         r"wind\), got 'hail'; trained with --data.new-categories none, .*"),
        (lambda f: f.filter(pl.col("sold").is_not_null()),
         "the table: expected 3 rows with price, known ahead, after the last value of sold in "
         "series north, got 0"),
        (lambda f: f.filter((pl.col("store") != "south") | (pl.col("date") < DAYS[-1] + 2)),
         "the table: .* in series south, got 1"),
        (lambda f: f.with_columns(price=pl.when(pl.col("date") == DAYS[-1] + 2).then(None)
                                  .otherwise(pl.col("price"))),
         "the table, row .*: expected a value in column price, got none; .*"),
        (lambda f: f.with_columns(returned=pl.col("returned") - 10),
         "the table, row .*: expected numbers from 0 on in column returned, .*"),
        (lambda f: f.drop("price"), "the table: expected a column 'price', got .*"),
    ],
    ids=["series", "category", "no future", "short future", "missing ahead", "logarithm", "column"],
)  # fmt: skip
def test_what_the_network_does_not_know_is_named(change, message: str, groups: Run) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}$"):
        forecasts(groups[0], as_table(change(with_future(stores()))))


def test_a_window_with_a_missing_value_or_a_jump_is_refused_by_name(tmp_path: Path) -> None:
    trained, _ = run(tmp_path, sales(), options(missing="skip", gaps="split"))
    columns = changed("sold", 97, np.nan)
    message = (
        "^the table, row 98: expected a value in column sold, which the forecast of the series"
    )
    with pytest.raises(InvalidInput, match=message):
        forecasts(trained, as_table(columns))
    assert len(forecasts(trained, as_table(changed("sold", 60, np.nan)))) == 1
    jumped = {name: np.delete(column, 97) for name, column in sales().items()}
    message = (
        "^the table, row 98: expected at least 7 rows, which the network reads, without a jump in "
        "their times before the forecast of the series, got 2024-04-08 after 2024-04-06; add the "
        "rows between them$"
    )
    with pytest.raises(InvalidInput, match=message):
        forecasts(trained, as_table(jumped))
