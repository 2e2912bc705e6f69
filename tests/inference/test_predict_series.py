"""Forecasts of a series: what the network says of its rows, and the date of each."""

import math
from pathlib import Path

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.inference import load_trained, predict
from shared.tasks import published
from tests.support.inference_cases import SERIES, table, write_csv


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
@pytest.mark.parametrize("name", SERIES)
def test_forecasts_are_what_the_network_says_of_the_published_rows(
    name: str, suffix: str, runs, tmp_path: Path
) -> None:
    """The last rows of a data set: the forecasts of a task's test part, and one more."""
    run, task = runs[name]
    trained = load_trained(run)
    series = task.series
    assert series is not None
    rows = table(task, slice(-series.window - 30, None))
    file = tmp_path / f"rows{suffix}"
    if suffix == ".npz":
        np.savez(file, **rows)  # pyright: ignore[reportArgumentType]
    else:
        write_csv(file, rows)
    records = predict.predictions(trained, file)
    assert len(records) == 31
    inputs = task.test.inputs[-30:]
    outputs, _ = trained.backend.predict(trained.state, inputs)
    level = inputs[:, -1, 0] if series.difference else 0
    (target,), scale = series.predicted, series.scales[""][0]
    expected = (outputs[:, 0] + level) * scale.std + scale.mean
    unit = f" ({target.unit})" if target.unit else ""
    predicted, actual = (f"{kind} {target.name}{unit}" for kind in ("predicted", "actual"))
    # The published numbers are float32, and a file has the nearest decimals.
    np.testing.assert_allclose([r[predicted] for r in records[:-1]], expected, 1e-6, 1e-5)
    true = published.load(task.name)[target.name][-30:]
    np.testing.assert_allclose([r[actual] for r in records[:-1]], true, rtol=1e-6)
    assert records[-1][actual] is None
    assert math.isfinite(records[-1][predicted])
    first = "row" if task.name == "sunspots" else "date"
    assert list(records[0]) == [first, predicted, actual]
    assert task.times is not None
    if first == "date":
        days = task.times[-30:].astype("datetime64[D]").astype(str)
        assert [r["date"] for r in records[:-1]] == days.tolist()
    else:
        assert [r["row"] for r in records] == list(range(37, 68))


@pytest.mark.parametrize(
    ("last", "after"),
    [("2024-03-01", "2024-03-04"), ("2024-03-04", "2024-03-05"), ("2024-02-29", "2024-03-01")],
)
def test_the_day_after_friday_is_monday_where_weekdays_count(
    last: str, after: str, runs, tmp_path: Path
) -> None:
    run, task = runs["volume"]
    trained = load_trained(run)
    columns = table(task, slice(-5, None))
    columns["date"] = np.busday_offset(np.datetime64(last), np.arange(-4, 1)).astype(str)
    (record,) = predict.predictions(trained, write_csv(tmp_path / "week.csv", columns))
    assert record["date"] == after
    columns["date"] = np.busday_offset(np.datetime64(last), np.arange(-3, 2)).astype(str)
    (other,) = predict.predictions(trained, write_csv(tmp_path / "week.csv", columns))
    assert other["predicted log_volume"] != record["predicted log_volume"]


def test_every_day_has_weather(runs, tmp_path: Path) -> None:
    run, task = runs["weather"]
    records = predict.predictions(
        load_trained(run), write_csv(tmp_path / "days.csv", table(task, slice(-7, None)))
    )
    assert [record["date"] for record in records] == ["2016-01-01"]


def test_a_month_follows_a_month(runs, tmp_path: Path) -> None:
    run, _ = runs["sunspots"]
    months = np.array([f"{1978 + m // 12}-{m % 12 + 1:02d}-15" for m in range(36)])
    columns = {"date": months, "monthly": np.arange(36.0)}
    records = predict.predictions(load_trained(run), write_csv(tmp_path / "m.csv", columns))
    assert [record["date"] for record in records] == ["1981-01-15"]


@pytest.mark.parametrize(("name", "step"), [("weather", "1d"), ("sunspots", "1mo")])
def test_a_day_or_month_that_is_missing_is_named(name: str, step: str, runs, tmp_path) -> None:
    run, task = runs[name]
    whole = table(task, slice(-60, None))
    if "date" not in whole:
        whole["date"] = np.datetime64("1978-01") + np.arange(60)
        whole["date"] = whole["date"].astype("datetime64[D]")
    gap = {key: np.delete(column, 50) for key, column in whole.items()}
    before, missing, after = whole["date"][49:52]
    message = (
        f"gap.csv, line 52: expected {missing} after {before} in the series, in steps of {step}, "
        f"got {after};"
    )
    with pytest.raises(InvalidInput, match=message):
        predict.predictions(load_trained(run), write_csv(tmp_path / "gap.csv", gap))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {k: v[:4] for k, v in c.items()},
         ": expected at least 5 rows, which the network reads, up to the last value of the series, "
         "got 4"),
        (lambda c: {k: v for k, v in c.items() if k != "date"}, ": expected a column 'date', got"),
        (lambda c: c | {"date": np.arange("2024-03-01", "2024-03-09", dtype="datetime64[D]")},
         r", line 3: expected a weekday that the training part has \(Monday, .*, Friday\), "
         "got 2024-03-02, Saturday$"),
    ],
    ids=["too few rows", "no dates", "weekend"],
)  # fmt: skip
def test_rows_that_are_no_series_are_refused(change, message: str, runs, tmp_path: Path) -> None:
    run, task = runs["volume"]
    file = write_csv(tmp_path / "rows.csv", change(table(task, slice(-8, None))))
    with pytest.raises(InvalidInput, match=f"rows.csv{message}"):
        predict.predictions(load_trained(run), file)
