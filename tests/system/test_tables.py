"""Tables of a user: the values that are in the file, and the names of its rows."""

import csv
import io
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.system import table_blocks
from shared.system.tables import (
    as_table,
    categories,
    is_text,
    numbers,
    read_table,
    texts,
    times,
)  # fmt: skip
from tests.support.fuzz import fuzz
from tests.support.table_files import table

SALES = "date,store,sales\n2024-03-01,a,1.5\n2024-03-02,b,-2e1\n"


@pytest.mark.parametrize(
    "content",
    [
        SALES,
        SALES.replace("\n", "\r\n"),
        SALES.replace("\n", "\r"),
        SALES.rstrip("\n"),
        "\ufeff" + SALES,
        "\n\n" + SALES + "\n\n",
        SALES.replace(",", ";"),
        SALES.replace(",", "\t"),
        SALES.replace(",", " , "),
        '"date","store","sales"\n"2024-03-01","a","1.5"\n"2024-03-02","b"," -20"\n',
    ],
    ids=["plain", "windows", "old mac", "no last end", "byte order mark", "blank lines",
         "semicolons", "tabs", "blanks", "quoted"],
)  # fmt: skip
def test_columns_are_read_by_their_names(content: str, tmp_path: Path) -> None:
    found = table(tmp_path, content)
    assert found.frame.columns == ["date", "store", "sales"]
    assert numbers(found, "sales").tolist() == [1.5, -20.0]
    assert [text.strip() for text in texts(found, "store")] == ["a", "b"]
    assert times(found, "date").tolist() == [datetime(2024, 3, 1), datetime(2024, 3, 2)]


FRAME = pl.DataFrame(
    {"n": [3, 1, 2], "x": [0.5, None, 2.0], "t": ["b", "a", "ä,\n"], "flag": [True, False, True],
     "day": [date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 3)]}
)  # fmt: skip


def written(kind: str, folder: Path) -> Path:
    """Writes the same table as a file of a kind."""
    file = folder / f"table{kind}"
    if kind in (".parquet", ".pq"):
        FRAME.write_parquet(file)
    elif kind == ".npz":
        np.savez(file, t=np.array(FRAME["t"].to_list()), n=np.array([3, 1, 2]))
    elif kind in (".jsonl", ".ndjson"):
        FRAME.with_columns(pl.col("day").cast(pl.String)).write_ndjson(file)
    else:
        FRAME.write_csv(file, separator="," if kind == ".csv" else "\t")
    return file


@pytest.mark.parametrize(
    "kind", [".csv", ".tsv", ".tab", ".txt", ".parquet", ".pq", ".jsonl", ".ndjson", ".CSV"]
)
def test_all_kinds_of_files_hold_the_same_table(kind: str, tmp_path: Path) -> None:
    found = read_table([written(kind.lower(), tmp_path).rename(tmp_path / f"t{kind}")])
    assert numbers(found, "n").tolist() == [3.0, 1.0, 2.0]
    np.testing.assert_array_equal(numbers(found, "x", missing=True), [0.5, np.nan, 2.0])
    assert texts(found, "t") == ["b", "a", "ä,\n"]
    assert numbers(found, "flag").tolist() == [1.0, 0.0, 1.0]
    assert times(found, "day")[2] == np.datetime64("2024-03-03")
    assert categories(found, "n")[0] == ["1", "2", "3"]
    assert [is_text(found, name) for name in "nxt"] == [False, False, True]


def test_arrays_of_an_npz_are_columns(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(
        file, i=np.array([1, 2], ">i2"), f=np.array([0.5, np.nan], np.float16),
        u=np.array(["a", "ä"]), s=np.array([b"x", b"y"]), b=np.array([True, False]),
        d=np.array(["2024-03-01", "NaT"], "datetime64[D]"), image=np.zeros((2, 2)),
    )  # fmt: skip
    found = read_table([file], columns=["i", "f", "u", "s", "b", "d"])
    assert numbers(found, "i").tolist() == [1.0, 2.0]
    np.testing.assert_array_equal(numbers(found, "f", missing=True), [0.5, np.nan])
    assert texts(found, "u") + texts(found, "s") == ["a", "ä", "x", "y"]
    assert numbers(found, "b").tolist() == [1.0, 0.0]
    with pytest.raises(InvalidInput, match=r"a\.npz, row 2: expected a date .* d, got none$"):
        times(found, "d")


def test_only_the_wanted_columns_are_read(tmp_path: Path) -> None:
    table(tmp_path, SALES)
    found = read_table([tmp_path / "sales.csv"], columns=["sales", "date"])
    assert found.frame.columns == ["date", "sales"]
    for kind in (".parquet", ".npz", ".jsonl"):
        found = read_table([written(kind, tmp_path)], columns={"t"})
        assert found.frame.columns == ["t"], kind


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "2"], pl.Int64),
        (["1", "", "3"], pl.Int64),
        (["1", "2.5"], pl.Float64),
        (["1e3", "nan", "-.5"], pl.Float64),
        (["007", "12"], pl.String),
        (["12", "007"], pl.String),
        (["1234567890123456789012", "1"], pl.String),
        (["1", "n/a"], pl.String),
        (["1_0", "2"], pl.String),
        (["0x10", "2"], pl.String),
        (["true", "False", ""], pl.Boolean),
        (["true", "1"], pl.String),
        (["2024-03-01", "2024-03-02"], pl.Date),
        (["2024-03-01", "2023-02-29"], pl.String),
        (["2024-03-01", "2024-3-2"], pl.String),
        (["2024-03-01 13:00", "2024-03-01 14:00"], pl.Datetime("us")),
        (["2024-03-01T13:00:05Z"], pl.Datetime("us", "UTC")),
        (["2024-03-01T13:00:05Z", "2024-03-01T13:00:05"], pl.String),
        (["", "", ""], pl.Null),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 22], ids=["line by line", "whole"])
def test_the_kind_of_a_column_is_that_of_all_its_cells(
    cells: list[str], expected: Any, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the file is cut into blocks. What is text is as it was written."""
    monkeypatch.setattr(table_blocks, "SIZE", size)
    found = table(tmp_path, "c,d\n" + "".join(f"{cell},x\n" for cell in cells))
    assert found.frame.schema["c"] == expected
    if expected == pl.String:
        assert texts(found, "c") == cells


def test_codes_that_begin_with_0_are_numbers_where_numbers_are_asked_for(tmp_path: Path) -> None:
    found = table(tmp_path, "hour\n00\n01\n23\n")
    assert numbers(found, "hour").tolist() == [0.0, 1.0, 23.0]
    assert categories(found, "hour")[0] == ["00", "01", "23"]


CELLS = st.text(st.sampled_from('ab"",;\t\n\r é01.-'), max_size=6)


@fuzz(60)
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12), size=st.integers(1, 60),
       separator=st.sampled_from(",;\t"))  # fmt: skip
def test_any_text_in_quotes_is_read_as_the_csv_module_wrote_it(
    rows: list[tuple[str, str]], size: int, separator: str, tmp_path: Path
) -> None:
    """Wherever blocks end, and with the number of the line in which each row begins."""
    content = io.StringIO()
    csv.writer(content, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        [("first", "second"), *rows]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_blocks, "SIZE", size)
        kind = "tsv" if separator == "\t" else "csv"
        found = table(tmp_path, content.getvalue(), f"t.{kind}")
    wanted = [[cell.replace("\r\n", "\n") for cell in row] for row in rows]
    line = 2
    for row, expected in enumerate(wanted):
        assert found.place(row).endswith(f", line {line}")
        line += sum(cell.count("\n") for cell in expected) + 1
    for name, cells in zip(("first", "second"), zip(*wanted, strict=True), strict=True):
        if is_text(found, name):
            assert texts(found, name, missing=True) == [
                cell if cell.strip() else "" for cell in cells
            ]
        else:
            assert [as_number(cell) for cell in cells] == pytest.approx(
                numbers(found, name, missing=True).tolist(), nan_ok=True
            )


def as_number(cell: str) -> float:
    return float(cell.strip() or "nan")


def test_rows_are_called_by_their_lines(tmp_path: Path) -> None:
    found = table(tmp_path, 'a,b\n1,"x\ny"\n\n\n2,z\n3,"\n"\n4,w\n')
    assert [found.place(i).split(", ")[1] for i in range(4)] == [
        "line 2", "line 6", "line 7", "line 9"
    ]  # fmt: skip
    second = tmp_path / "more.csv"
    second.write_text("b,a\nq,5\n")
    both = read_table([tmp_path / "sales.csv", second])
    assert both.place(3) == f"{tmp_path / 'sales.csv'}, line 9"
    assert both.place(4) == f"{second}, line 2"
    assert both.name == f"{tmp_path / 'sales.csv'} and 1 more"
    assert numbers(both, "a").tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(IndexError, match="expected a row of the 5"):
        both.place(5)
    found = table(tmp_path, '{"a": 1}\n\n{"a": 2}\n', "t.jsonl")
    assert found.place(1) == f"{tmp_path / 't.jsonl'}, line 3"
    assert as_table({"a": [1, 2]}).place(1) == "the table, row 2"
    assert len(both) == 5


def test_an_empty_line_is_an_empty_cell_of_a_single_column(tmp_path: Path) -> None:
    """A value that is missing in the middle is not left out; blank lines at the end are no rows."""
    found = table(tmp_path, "a\n1\n\n3\n\n\n")
    np.testing.assert_array_equal(numbers(found, "a", missing=True), [1, np.nan, 3])


def test_quotes_in_tsv_are_characters_unless_all_are_those_of_csv(tmp_path: Path) -> None:
    found = table(tmp_path, 'a\tb\n"Hi," he said.\t5" pipe\n"x"\ty\n', "t.tsv")
    assert texts(found, "a") == ['"Hi," he said.', '"x"']
    assert texts(found, "b") == ['5" pipe', "y"]
    found = table(tmp_path, 'a\tb\n"tab\t""in"" it"\tx\n', "t.tsv")
    assert texts(found, "a") == ['tab\t"in" it']


def test_several_files_may_have_whole_numbers_and_others(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.csv" for i in range(3)]
    for file, content in zip(files, ("x,y\n1,\n", "x,y\n2.5,\n", "y,x\n3,\n"), strict=True):
        file.write_text(content)
    found = read_table(files)
    np.testing.assert_array_equal(numbers(found, "x", missing=True), [1, 2.5, np.nan])
    np.testing.assert_array_equal(numbers(found, "y", missing=True), [np.nan, np.nan, 3])


def test_text_in_one_of_several_files_is_text_in_all_as_it_was_written(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.csv" for i in range(3)]
    contents = ("code,n\n1.50,1\n20,2\n", "code,n\n007,3\n", "n,code\n4,\n")
    for file, content in zip(files, contents, strict=True):
        file.write_text(content)
    found = read_table(files)
    assert texts(found, "code", missing=True) == ["1.50", "20", "007", ""]
    assert numbers(found, "n").tolist() == [1, 2, 3, 4]


def test_numbers_are_the_nearest_float64_of_their_text(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    expected = rng.normal(size=500) * 10.0 ** rng.integers(-300, 300, 500)
    found = table(tmp_path, "x\n" + "\n".join(map(repr, expected.tolist())) + "\n0.1\n")
    assert numbers(found, "x").tolist() == [*expected.tolist(), 0.1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak of memory")
def test_a_large_file_is_read_in_about_the_memory_of_its_size(tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    rows = np.arange(4_000_000)
    pl.DataFrame(
        {"day": np.datetime64("1990-01-01") + rows // 300, "store": rows % 300,
         "sales": np.sqrt(rows), "price": np.cbrt(rows)}
    ).write_csv(file)  # fmt: skip
    code = (
        "import re\n"
        "from shared.system.tables import read_table\n"
        "status = lambda: open('/proc/self/status').read()\n"
        "peak = lambda: int(re.search('VmHWM:[^0-9]+([0-9]+)', status())[1])\n"
        f"before = peak()\nassert len(read_table([{str(file)!r}])) == {len(rows)}\n"
        "print((peak() - before) * 1024)\n"
    )
    size = file.stat().st_size
    used = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    file.unlink()
    assert 0.2 * size < used < 1.25 * size
