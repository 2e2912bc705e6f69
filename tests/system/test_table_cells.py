"""Cells of a table that are easily read as something else: numbers that are text, times of a zone,
nanoseconds, halves of surrogate pairs, columns without a name."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shared.errors import InvalidInput
from shared.system import table_blocks
from shared.system.tables import as_table, categories, numbers, read_table, texts, times

WRITTEN = ["19.50", "+5", "0e1", "1.100", "TRUE", "2024-01-02T01:00:00", "100000000000000000.25",
           "nan", "-0", " 7 "]  # fmt: skip


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "quoted.csv"])
@pytest.mark.parametrize("cell", WRITTEN)
def test_a_column_asked_for_as_text_is_what_stands_in_the_file(
    cell: str, name: str, tmp_path: Path
) -> None:
    file, mark = tmp_path / name, "," if name.endswith(".csv") else "\t"
    shown = f'"{cell}"' if name == "quoted.csv" else cell
    file.write_text(f"text{mark}n\n" + f"{shown}{mark}1.50\n" * 3)
    found = read_table([file], columns=["text", "n"], text=["text"])
    assert texts(found, "text") == [cell] * 3
    assert found.frame["n"].to_list() == [1.5] * 3


def test_a_column_asked_for_as_text_is_text_in_all_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if another column is read again because it is text in one of them."""
    monkeypatch.setattr(table_blocks, "SIZE", 1)
    files = [tmp_path / f"{i}.csv" for i in range(2)]
    for file, code in zip(files, ("1.0", "x"), strict=True):
        file.write_text(f"text,code\n1.50,{code}\n2.50,2.0\n")
    found = read_table(files, text={"text"})
    assert texts(found, "text") == ["1.50", "2.50"] * 2
    assert texts(found, "code") == ["1.0", "2.0", "x", "2.0"]


def test_numbers_of_json_lines_asked_for_as_text_are_as_written(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    rows = ["1.50", "1e3", "100000000000000000.25", "true", '"a"', "null"]
    file.write_text("".join(f'{{"text": {row}, "n": 1.50}}\n' for row in rows))
    found = read_table([file], text={"text"})
    assert texts(found, "text", missing=True) == [*rows[:4], "a", ""]
    assert numbers(found, "n").tolist() == [1.5] * 6


def test_numbers_of_parquet_and_npz_asked_for_as_text_are_numbers(tmp_path: Path) -> None:
    pl.DataFrame({"text": [1.50, 2.0]}).write_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", text=np.array([1.50, 2.0]))
    for name in ("t.parquet", "t.npz"):
        assert texts(read_table([tmp_path / name], text={"text"}), "text") == ["1.5", "2"]


def test_blanks_around_categories_are_left_out_where_that_is_asked() -> None:
    found = as_table({"t": ["pos", " pos", "pos ", "neg"]})
    enum = as_table({"t": pl.Series(["pos", " pos", "pos ", "neg"], dtype=pl.Categorical)})
    assert len(categories(found, "t")[0]) == 4
    for one in (found, enum):
        values, codes = categories(one, "t", strip=True)
        assert (values, codes.tolist()) == (["neg", "pos"], [1, 1, 1, 0])


@pytest.mark.parametrize("ending", ["Z", "+01:00", "-0230"])
def test_times_of_one_offset_keep_their_hour(ending: str, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    clock = [f"2024-03-01T{hour:02}:00:00" for hour in range(3)]
    file.write_text("d\n" + "".join(f"{one}{ending}\n" for one in clock))
    expected = np.array(clock, "datetime64[us]")
    np.testing.assert_array_equal(times(read_table([file]), "d"), expected)


def test_times_of_a_zone_keep_the_hour_of_its_clock(tmp_path: Path) -> None:
    start = datetime(2024, 3, 30, 23, tzinfo=UTC)
    moments = pl.Series([start + timedelta(hours=hour) for hour in range(4)])
    frame = pl.DataFrame({"d": moments.dt.convert_time_zone("Europe/Paris")})
    frame.write_parquet(tmp_path / "t.parquet")
    expected = np.array([f"2024-03-31T0{hour}:00" for hour in (0, 1, 3, 4)], "datetime64[us]")
    for found in (as_table(frame), read_table([tmp_path / "t.parquet"])):
        np.testing.assert_array_equal(times(found, "d"), expected)


def test_files_of_two_zones_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("1.csv", "2.csv", "1.parquet", "2.parquet")]
    files[0].write_text("d\n2024-03-01T10:00:00Z\n")
    files[1].write_text("d\n2024-03-01T11:00:00+01:00\n")
    with pytest.raises(
        InvalidInput, match=r"2\.csv, line 2: expected .* same offset .* with Z, or"
    ):
        times(read_table(files[:2]), "d")
    zoned = pl.Series([datetime(2024, 3, 1, tzinfo=UTC)])
    pl.DataFrame({"d": zoned}).write_parquet(files[2])
    for column, got in (
        (zoned.dt.convert_time_zone("Europe/Paris"), "dates of the time zone Europe/Paris"),
        (zoned.dt.replace_time_zone(None), "dates"),
    ):
        pl.DataFrame({"d": column}).write_parquet(files[3])
        message = (
            f"2.parquet: expected dates of the time zone UTC in column d, as in .*, got {got}$"
        )
        with pytest.raises(InvalidInput, match=message):
            read_table(files[2:])


MOMENT = np.datetime64("2024-03-01T12:00:00.000001")


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Paris"])
def test_nanoseconds_are_read(zone: str | None, tmp_path: Path) -> None:
    column = pl.Series("d", np.array([MOMENT, "NaT"], "datetime64[ns]"))
    frame = pl.DataFrame({"d": column.dt.replace_time_zone(zone)})
    frame.write_parquet(tmp_path / "t.parquet")
    for found in (as_table(frame), read_table([tmp_path / "t.parquet"])):
        with pytest.raises(InvalidInput, match=r"row 2: expected a date .* got none$"):
            times(found, "d")
        assert times(as_table(found.frame.head(1)), "d").tolist() == [MOMENT.item()]
    if zone is None:
        assert times(as_table({"d": column.to_numpy()[:1]}), "d").tolist() == [MOMENT.item()]


@pytest.mark.parametrize("of", [pl.Series, np.asarray])
def test_times_between_microseconds_are_refused(of: Callable[..., Any]) -> None:
    values = np.array([MOMENT, MOMENT], "datetime64[ns]") + np.array([0, 1], "timedelta64[ns]")
    message = "^the table, row 2: expected times in whole microseconds in column d, got nanosec"
    with pytest.raises(InvalidInput, match=message):
        as_table({"d": of(values)})


def test_half_of_a_surrogate_pair_is_refused_with_its_row(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"a": "\\ud83d\\ude00", "b": "\\ud83d"}\n\n{"a": "x\\ud83dy", "b": "z"}\n')
    what = r"expected text that UTF-8 can write in column {}, got half of a surrogate pair at ch"
    with pytest.raises(InvalidInput, match=rf"t\.jsonl, line 1: {what.format('b')}aracter 1: '"):
        read_table([file])
    for text in ((), {"a"}):
        with pytest.raises(InvalidInput, match=rf"line 3: {what.format('a')}aracter 2: 'x\\ud83d"):
            read_table([file], columns=["a"], text=text)
    file.write_text('{"a": "\\ud83d\\ude00"}\n')
    assert texts(read_table([file]), "a") == ["😀"]
    for values in (["a", "x\ud83d"], ["a", "x\ud83d", 3], np.array(["a", "x\ud83d"])):
        with pytest.raises(InvalidInput, match=f"^the table, row 2: {what.format('a')}aracter 2"):
            as_table({"a": values})


def test_a_column_without_a_name_is_refused_where_it_is_read(tmp_path: Path) -> None:
    """And is left out where others are named, as with the index that pandas writes."""
    (tmp_path / "t.csv").write_text(",a, \n0,1.5,\n1,2.5,\n")
    (tmp_path / "t.jsonl").write_text('{"": 0, "a": 1.5}\n{"": 1, "a": 2.5}\n')
    pl.DataFrame({"": [0, 1], "a": [1.5, 2.5]}).write_parquet(tmp_path / "t.parquet")
    message = r": expected a name for each column that is read, got none for column 1 of [123];"
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        assert numbers(read_table([tmp_path / name], ["a"]), "a").tolist() == [1.5, 2.5]
        for columns in (None, ["", "a"]):
            with pytest.raises(InvalidInput, match=name + message):
                read_table([tmp_path / name], columns)
    with pytest.raises(InvalidInput, match=f"^the table{message}"):
        as_table({" ": [1], "a": [2]})
    assert len(as_table({" ": [1], "a": [2]}, ["a"])) == 1
