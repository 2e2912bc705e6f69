"""Tables of series that cannot be used: each is refused in one line, with file, column and row."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shared.errors import InvalidInput
from shared.tasks import TASKS, load_task
from tests.support.forecast_cases import DAYS, Columns, load, options, sales, stores


def changed(name: str, row: int, value: Any, columns: Columns | None = None) -> Columns:
    columns = sales() if columns is None else columns
    column = columns[name].astype(object) if isinstance(value, str) else columns[name].copy()
    column[row] = value
    return columns | {name: column}


def without(rows: Any, columns: Columns | None = None) -> Columns:
    columns = sales() if columns is None else columns
    return {name: np.delete(column, rows) for name, column in columns.items()}


def refused(columns: Columns, message: str, **chosen: Any) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}$") as caught:
        load(columns, **chosen)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"target": ()}, "--data.target: expected the columns to predict, got none"),
        ({"features": ("sold",)},
         "expected a column in one place, got 'sold' in --data.target and --data.features"),
        ({"known_ahead": ("price",), "features": ("price",)},
         "expected a column in one place, got 'price' in --data.features and --data.known-ahead"),
        ({"time": "price", "features": ("price",)},
         "expected a column in one place, got 'price' in --data.features and --data.time"),
        ({"group": ("sold",)},
         "expected a column in one place, got 'sold' in --data.target and --data.group"),
        ({"group": ("weather", "weather")},
         "expected a column in one place, got 'weather' in --data.group twice"),
        ({"categories": ("price",)},
         r"--data.categories: expected one of the columns that are read \(none\), got 'price'"),
        ({"log": ("price",)},
         r"--data.log: expected one of the columns that are read \(sold\), got 'price'"),
        ({"log": ("weather",), "features": ("weather",)},
         "--data.log weather: expected a column of numbers, got one of names"),
        ({"calendar": ("month",), "time": None},
         "--data.calendar month needs times: expected --data.time COLUMN"),
        ({"window": 3, "horizon": 4, "calendar": ("weekday",)},
         "--data.window 3: expected at least the 4 rows of --data.horizon, so that a window can "
         "hold what --data.calendar weekday says .*"),
        ({"window": 3, "horizon": 4, "known_ahead": ("price",)},
         ".* --data.known-ahead price says .*"),
        ({"season": 70},
         "--data.season 70: the table: expected two values of column sold that are 70 rows apart "
         "in the training part of the series, got none in its 70 rows"),
        ({"target": ("sol",)},
         "the table: expected a column 'sol', got .*; did you mean 'sold'.*"),
        ({"target": ("weather",)},
         "the table, row 1: expected a number in column weather, got '(rain|sun|wind)'"),
        ({"window": 70}, "--data.window 70, --data.horizon 1: expected at least 71 rows in the "
         "training part of the series, got 70 of its 100"),
        ({"horizon": 16},
         "--data.split: expected a validation part with a forecast, which predicts 16 rows "
         r"\(--data.horizon\) from the 7 before \(--data.window\), got none in 15 rows"),
        ({"split": (0.9, 0.099, 0.001)},
         "--data.split: expected a test part with rows, got none of 100"),
        ({"time": "price"}, "the table, row .*: expected each time once in the series, got 2 as in "
         "row .*; --data.group tells series apart"),
        ({"calendar": ("weekday",), "split": (0.1, 0.1, 0.8), "window": 2, "time": "month"},
         "the table: expected dates in column month for --data.calendar weekday, got numbers"),
    ],
)  # fmt: skip
def test_options_that_the_table_does_not_fit_are_named(
    chosen: dict[str, Any], message: str
) -> None:
    refused(sales() | {"month": np.arange(100)}, message, **chosen)


@pytest.mark.parametrize(
    ("columns", "chosen", "message"),
    [
        (changed("sold", 17, "n/a"), {},
         "the table, row 18: expected a number in column sold, got 'n/a'"),
        (changed("sold", 17, np.inf), {},
         "the table, row 18: expected a finite number in column sold, got inf"),
        (changed("sold", 17, np.nan), {},
         "the table, row 18: expected a value in column sold, got none; --data.missing previous "
         "reads the one before, skip leaves out the windows that have it"),
        (changed("price", 99, np.nan), {"known_ahead": ("price",)},
         "the table, row 100: expected a value in column price, got none; --data.missing .*"),
        (changed("weather", 5, ""), {"features": ("weather",)},
         "the table, row 6: expected a value in column weather, got none; --data.missing .*"),
        (changed("sold", 17, -0.5), {"log": ("sold",)},
         r"the table, row 18: expected numbers from 0 on in column sold, .*--data.log\), got -0.5"),
        (changed("weather", 80, "snow"), {"features": ("weather",)},
         r"the table, row 81: expected a value of the training part in column weather "
         r"\(rain, sun, wind\), got 'snow'; trained with .*"),
        (sales() | {"sold": np.ones(100)}, {},
         r"the table: expected values of column sold \(--data.target\) that differ in the training "
         "part of the series, got 1 in all rows"),
        (sales() | {"price": np.ones(100)}, {"known_ahead": ("price",)},
         r"the table: expected values of column price \(--data.known-ahead\) that differ in the "
         "training part, got 1 in all rows: it says nothing"),
        (sales() | {"weather": np.full(100, "rain")}, {"features": ("weather",)},
         "the table: expected values of column weather that differ in the training part, got "
         "'rain' in all rows: it says nothing"),
        (sales() | {"weather": np.append(np.full(70, ""), np.full(30, "sun"))},
         {"features": ("weather",), "missing": "previous"},
         "the table: expected values of column weather .*, got none: it says nothing"),
        (sales() | {"sold": np.append(np.arange(85.0), np.full(15, np.nan))},
         {"missing": "previous"},
         "--data.split: the table: expected a test part whose values of column sold differ, got "
         "none"),
        (sales() | {"sold": np.append(np.arange(85.0), np.ones(15))}, {},
         "--data.split: the table: expected a test part whose values of column sold differ, got 15 "
         "rows of 1"),
        (sales() | {"price": np.append(np.full(70, np.nan), np.arange(30.0))},
         {"features": ("price",), "missing": "previous"},
         r"the table: expected values of column price \(--data.features\) in the training part of "
         "the series, got none"),
        (changed("sold", 90, -1e100), {},
         r"the table, row 91: expected a number within 1e\+12 standard deviations of the training "
         r"part's mean in column sold, got -1e\+100"),
        (changed("price", 90, 1e100), {"known_ahead": ("price",)},
         r"the table, row 91: .* mean in column price, got 1e\+100"),
        (changed("sold", 90, 1e300), {"log": ("sold",)},
         r"the table, row 91: expected a number within 1e\+150 in column sold, got 1e\+300"),
        (sales() | {"sold": np.tile([1e-300, 2e-300], 50)}, {},
         r"the table: expected values of column sold \(--data.target\) that differ by more than a "
         "float64 can square, got less"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_read_or_say_nothing_are_named(
    columns: Columns, chosen: dict[str, Any], message: str
) -> None:
    refused(columns, message, **chosen)


@pytest.mark.parametrize(
    ("columns", "chosen", "message"),
    [
        (changed("date", 41, DAYS[40]), {},
         "the table, row 42: expected each time once in the series, got 2024-02-10 as in row 41; "
         "--data.group tells series apart"),
        (without([17, 18]), {},
         "the table, row 18: expected 2024-01-18 after 2024-01-17 in the series, in steps of 1d, "
         "got 2024-01-20; --data.gaps split lets no window reach over a jump, ignore takes each "
         "row for the next step"),
        (without(100 + 30, stores()), {"group": ("store",)},
         "the table, row 131: expected 2024-02-05 after 2024-02-04 in series south, .*"),
        (changed("date", 5, "3/1/2024", sales() | {"date": DAYS.astype(str)}), {},
         "the table, row 6: expected a date as YYYY-MM-DD in column date, got '3/1/2024'"),
    ],
)  # fmt: skip
def test_times_that_repeat_or_jump_are_named(
    columns: Columns, chosen: dict[str, Any], message: str
) -> None:
    refused(columns, message, **chosen)


def test_series_of_unlike_steps_are_named() -> None:
    columns = stores()
    odd = columns["store"] == "south"
    columns = without(np.flatnonzero(odd)[1::2], columns)
    message = (
        "the table: expected one step of time, 1d, in all series and as in training, got 2d in "
        "series south"
    )
    for gaps in ("refuse", "split"):
        refused(columns, message, group=("store",), gaps=gaps)


def test_a_series_that_is_too_short_is_named() -> None:
    columns = stores()
    late = (columns["store"] == "west") & (columns["date"] < DAYS[63])
    refused(
        without(np.flatnonzero(late), columns),
        "--data.window 7, --data.horizon 1: expected at least 8 rows in the training part of "
        "series west, got 7 of its 37",
        group=("store",),
    )


def test_a_constant_target_of_one_series_is_named_and_a_feature_is_not() -> None:
    columns = stores()
    one = columns["store"] == "south"
    columns["price"][one] = 3.0
    assert len(load(columns, group=("store",), features=("price",)).train.inputs) > 0
    columns["sold"][one] = 3.0
    message = r".* column sold \(--data.target\) .* training part of series south, got 3 in all .*"
    refused(columns, message, group=("store",))


def test_a_weekday_that_training_lacks_is_named() -> None:
    weekdays = np.flatnonzero(np.arange(100) % 7 > 4)
    refused(
        without(weekdays[weekdays < 85]),
        r"the table, row .*: expected a weekday that the training part has \(Monday, Tuesday, "
        r"Wednesday, Thursday, Friday\), got 2024-03-30, Saturday",
        gaps="ignore", calendar=("weekday",),
    )  # fmt: skip


def test_groups_that_would_have_one_name_are_refused() -> None:
    columns = sales() | {"one": np.repeat(["a / b", "a"], 50), "two": np.repeat(["c", "b / c"], 50)}
    message = "the table: expected groups whose names differ, got 'a / b / c' for two of them"
    refused(columns, message, group=("one", "two"))


def test_a_table_that_is_too_large_for_memory_is_refused(monkeypatch) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 40)  # 1600 bytes
    message = "the table: 100 rows of 3 features need 0.0 GB; this machine has 0.0 GB"
    refused(sales(), message, features=("price",), target=("sold", "returned"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_row_is_named_by_its_file(suffix: str, tmp_path: Path) -> None:
    frame = pl.DataFrame(sales())
    files = [tmp_path / f"{name}{suffix}" for name in ("one", "two")]
    for file, part in zip(files, (frame[:50], frame[50:]), strict=True):
        empty = pl.when(pl.col("date") == DAYS[60]).then(None)
        part = part.with_columns(empty.otherwise(pl.col("sold")).alias("sold"))
        part.write_csv(file) if suffix == ".csv" else part.write_parquet(file)
    data = options(path=tuple(map(str, files)))
    where = f"{files[1]}, " + ("line 12" if suffix == ".csv" else "row 11")
    with pytest.raises(InvalidInput, match=f"^{where}: expected a value in column sold, got none;"):
        load_task(replace(TASKS["forecast"].defaults, data=data))


def test_a_file_is_needed() -> None:
    with pytest.raises(InvalidInput, match=r"^--data\.path: expected a file, got none$"):
        load_task(replace(TASKS["forecast"].defaults, data=options()))


def test_options_are_refused_before_a_file_is_read() -> None:
    data = options(path=("missing.csv",), target=())
    with pytest.raises(InvalidInput, match=r"^--data\.target: expected the columns to predict"):
        load_task(replace(TASKS["forecast"].defaults, data=data))
