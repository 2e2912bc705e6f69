"""Columns of a table as numbers, categories and times, of a file or of data in memory."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shared.errors import InvalidInput
from shared.system.tables import (
    as_table,
    categories,
    is_whole,
    numbers,
    read_table,
    texts,
    times,
    write_records,
)
from tests.support.table_files import table


def test_categories_are_sorted_and_numbered(tmp_path: Path) -> None:
    found = table(tmp_path, "n,t,x,b\n10,b,1.0,true\n-9,a,2.0,false\n9,B,1.0,true\n")
    values, codes = categories(found, "n")
    assert (values, codes.tolist(), codes.dtype) == (["-9", "9", "10"], [2, 0, 1], np.int32)
    assert categories(found, "t")[0] == ["B", "a", "b"]
    assert categories(found, "x")[0] == ["1", "2"]
    values, codes = categories(found, "b")
    assert [values[code] for code in codes] == ["true", "false", "true"]
    assert texts(found, "x") == ["1", "2", "1"]
    zeros = as_table({"z": [0.0, -0.0, 0.5]})
    assert categories(zeros, "z")[1].tolist() == [0, 0, 1]
    long = ["9" * 5000, "8" * 5000]
    assert categories(as_table({"l": long}), "l")[0] == long[::-1]
    mixed = as_table({"m": [2.0, 0.5, 1e300, -3.0, 123456789012345.0]})
    assert texts(mixed, "m") == ["2", "0.5", "1e+300", "-3", "123456789012345"]


def test_whole_numbers_are_recognised() -> None:
    found = as_table({"i": [1, 2], "f": [1.0, np.nan], "x": [1.5, 2], "b": [True, False],
                      "t": ["1", "2"]})  # fmt: skip
    assert [is_whole(found, name) for name in "ifxbt"] == [True, True, False, True, False]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["2024-03-01", "2024-02-29"], ["2024-03-01", "2024-02-29"]),
        (["2024-03", "2024-04"], ["2024-03-01", "2024-04-01"]),
        (["2024-03-01 13:00"], ["2024-03-01T13:00"]),
        (["2024-03-01T13:00:05"], ["2024-03-01T13:00:05"]),
        (["2024-03-01T13:00:05.25"], ["2024-03-01T13:00:05.250"]),
        (["2024-03-01", "2024-03-01 13:00", "2024-03-01T14:00:01", "2024-04"],
         ["2024-03-01", "2024-03-01T13:00", "2024-03-01T14:00:01", "2024-04-01"]),
        (["2024-03-01T13:00Z", "2024-03-01 13:00:05+00:00", "2024-03-01T13:00:05.5-0000"],
         ["2024-03-01T13:00", "2024-03-01T13:00:05", "2024-03-01T13:00:05.500"]),
        (["2024-03-01T13:00-02:30", "2024-03-01 13:00:05-0230"],
         ["2024-03-01T13:00", "2024-03-01T13:00:05"]),
        (["2024-03-01T13:00:05Z"] * 2, ["2024-03-01T13:00:05"] * 2),
        ([" 2024-03-01 "], ["2024-03-01"]),
    ],
)  # fmt: skip
def test_dates_are_read(cells: list[str], expected: list[str], tmp_path: Path) -> None:
    found = times(table(tmp_path, "d\n" + "\n".join(cells) + "\n"), "d")
    assert found.dtype == np.dtype("datetime64[us]")
    np.testing.assert_array_equal(found, np.array(expected, "datetime64[us]"))


def test_years_and_counters_are_numbers(tmp_path: Path) -> None:
    found = table(tmp_path, "year,day\n1999,0.5\n2000,1.5\n")
    assert times(found, "year").tolist() == [1999.0, 2000.0]
    assert times(found, "day").tolist() == [0.5, 1.5]


def test_times_of_other_units_are_converted_and_those_of_a_zone_are_its_clock() -> None:
    moment = datetime(2024, 3, 1, 11, tzinfo=UTC)
    zoned = pl.Series([moment]).dt.convert_time_zone("Europe/Paris")
    found = as_table({"z": zoned, "ms": np.array(["2024-03-01T12"], "datetime64[ms]"),
                      "day": [date(2024, 3, 1)]})  # fmt: skip
    assert times(found, "z")[0] == times(found, "ms")[0] == np.datetime64("2024-03-01T12")
    assert times(found, "day")[0] == np.datetime64("2024-03-01")


class Pandas:
    """A table with what is used of pandas."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = [*columns]
        self.values = [*columns.values()]

    @property
    def iloc(self) -> "Pandas":
        return self

    def __getitem__(self, place: tuple[slice, int]) -> Any:
        return self.values[place[1]]


class Arrow:
    """A table of another library, as Arrow hands it on."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}).__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "data",
    [
        {"a": [1, 2], "b": ["x", "y"]},
        {"a": np.array([1, 2]), "b": np.array(["x", "y"])},
        {"a": (1.0, 2.0), "b": np.array(["x", "y"], object)},
        {"a": range(1, 3), "b": pl.Series(["x", "y"], dtype=pl.Categorical)},
        pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
        pl.LazyFrame({"a": [1, 2], "b": ["x", "y"]}),
        Pandas({"a": pl.Series([1, 2]), "b": np.array(["x", "y"], object)}),
        Arrow(),
        as_table({"a": [1, 2], "b": ["x", "y"], "c": [0, 0]}),
    ],
    ids=["lists", "arrays", "tuples", "ranges", "polars", "lazy", "pandas", "arrow", "a table"],
)
def test_data_in_memory_is_a_table(data: Any) -> None:
    found = as_table(data, columns=["b", "a"])
    assert sorted(found.frame.columns) == ["a", "b"]
    assert numbers(found, "a").tolist() == [1.0, 2.0]
    assert texts(found, "b") == ["x", "y"]


def test_what_is_missing_in_a_list_is_missing() -> None:
    found = as_table({"x": [1, None, 2.5], "t": np.array(["a", np.nan, None], object)})
    np.testing.assert_array_equal(numbers(found, "x", missing=True), [1, np.nan, 2.5])
    assert texts(found, "t", missing=True) == ["a", "", ""]


def test_what_is_returned_may_be_changed_without_the_table() -> None:
    data = {"x": np.array([1.0, 2.0])}
    found = as_table(data)
    numbers(found, "x")[:] = 7
    assert numbers(found, "x").tolist() == data["x"].tolist() == [1.0, 2.0]


RECORDS = [{"a": 1, "b é": "x,y", "c": None}, {"a": 2, "b é": 'say "z"', "c": 0.5}]


def test_records_are_read_back(tmp_path: Path) -> None:
    for kind in ("csv", "json", "parquet"):
        write_records(tmp_path / f"r.{kind}", RECORDS)
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == RECORDS
    for kind in ("csv", "parquet"):
        found = read_table([tmp_path / f"r.{kind}"])
        assert found.frame.to_dicts() == RECORDS
    with pytest.raises(InvalidInput, match=r"r\.xml: expected a name in \.csv, \.json, \.parq"):
        write_records(tmp_path / "r.xml", RECORDS)
    assert len(list(tmp_path.iterdir())) == 3
