"""Tables that cannot be used are refused in one line with file, line and column."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shared.errors import InvalidInput
from shared.system import table_text, tables
from shared.system.tables import as_table, categories, numbers, read_table, texts, times

TEXTS = {
    "empty": ("", ": expected a table, got an empty file"),
    "blank": ("\n\n", ": expected a table, got an empty file"),
    "no rows": ("a,b\n", ": expected a line of names and lines of values, got only the names"),
    "no column": ("day,sales\n1,2\n", ": expected a column 'a', got day, sales"),
    "another case": ("A,sales\n1,2\n", ": expected a column 'a', got A, sales; did you mean 'A'?"),
    "no names": ("0.5,-2\n1,2\n", ": expected a line of names first, got numbers: 0.5, -2"),
    "twice": ("a,b,a\n1,2,3\n", ": expected a name for each column, got 'a' twice"),
    "too few": ("a,b\n1,2\n3\n", ", line 3: expected 2 values, got 1"),
    "too many": ("a,b\n1,2\n3,4,5\n", ", line 3: expected 2 values, got 3"),
    "both": ("a,b\n1,2\n3\n4,5,6\n", ", line 3: expected 2 values, got 1"),
    "after blank lines": ("\n\na,b\n\n1,2\n\n3\n", ", line 7: expected 2 values, got 1"),
    "after a long cell": ('a,b\n1,"x\n\ny"\n3\n', ", line 5: expected 2 values, got 1"),
    "quote within": ('a,b\n1,2\n3,5" x\n', ", line 3: expected quotes around a whole cell, and "
                     "doubled ones within it, got one within a cell: '\" x'"),
    "quote too early": ('a,b\n1,"2" x\n', ", line 2: expected quotes around a whole cell, and "
                        "doubled ones within it, got: '\"2\" x'"),
    "open quote": ('a,b\n1,2\n3,"4\n5,6\n', ", line 3: expected quotes around a whole cell, and "
                   "doubled ones within it, got one that is not closed: '\"4'"),
    "open names": ('a,"b\n1,2\n', ", line 1: expected names, got: unexpected end of data"),
    "latin-1": ("a\nü\n".encode("latin-1"), ", line 2: expected UTF-8 text, got byte 0xfc at "
                "position 2; save the file as UTF-8"),
    "mixed": ("a\nü\n".encode() + "ü\n".encode("latin-1"), ", line 3: expected UTF-8 text, got "
              "byte 0xfc at position 5; save the file as UTF-8"),
    "UTF-16": ("a\n1\n".encode("utf-16"), ": expected UTF-8 text, got UTF-16; save it as UTF-8 in "
               "the program that wrote it"),
    "UTF-16 without mark": ("a\n1\n".encode("utf-16-le"), ": expected UTF-8 text, got bytes of 0 "
                            "among the names"),
    "gzip": (b"\x1f\x8b\x08\x00", ": expected a table in text, got a compressed or binary file of "
             "another kind"),
}  # fmt: skip


@pytest.mark.parametrize("case", TEXTS)
def test_text_that_is_no_table_is_refused(case: str, tmp_path: Path) -> None:
    content, message = TEXTS[case]
    file = tmp_path / "t.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInput) as caught:
        read_table([file], columns=["a"])
    assert str(caught.value) == f"{file}{message}"


LINES = {
    "a list": ('{"a": [1]}', ", line 2: expected a number or text in column a, got a list"),
    "an object": ('{"a": {}}', ", line 2: expected a number or text in column a, got an object"),
    "a number": ("3", ", line 2: expected a JSON object, got int"),
    "cut off": ('{"a": 1', ", line 2: expected a JSON object, got: Expecting ',' .*"),
    "twice": ('{"a": 1, "a": 2}', ", line 2: expected a JSON object, got: the name 'a' twice"),
}


@pytest.mark.parametrize("case", LINES)
def test_lines_that_are_no_json_objects_are_refused(case: str, tmp_path: Path) -> None:
    line, message = LINES[case]
    file = tmp_path / "t.jsonl"
    file.write_text(f'{{"a": 1}}\n{line}\n')
    with pytest.raises(InvalidInput, match=f"^{re.escape(str(file))}{message}$"):
        read_table([file])
    file.write_text('{"b": 1}\n{"b": 2, "c": 3}\n')
    with pytest.raises(InvalidInput, match=r"t\.jsonl: expected a column 'a', got b, c$"):
        read_table([file], columns=["a"])


CELLS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "text": (numbers, "1\nn/a", "line 3: expected a number in column c, got 'n/a'"),
    "comma": (numbers, '"1,5"', "line 2: expected a number in column c, got '1,5'; write decimals "
              "with a point"),
    "groups": (numbers, "1\n1_000", "line 3: expected a number in column c, got '1_000'"),
    "hexadecimal": (numbers, "0x1F", "line 2: expected a number in column c, got '0x1F'"),
    "no number": (numbers, "1\n \n2", "line 3: expected a number in column c, got none"),
    "no number beside text": (numbers, "001\n \n2", "line 3: expected a number in column c, got "
                              "none"),
    "nan": (numbers, "1\nNaN", "line 3: expected a number in column c, got nan"),
    "infinity": (numbers, "1\n-inf", "line 3: expected a finite number in column c, got -inf"),
    "huge": (numbers, "1\n1e999", "line 3: expected a finite number in column c, got inf"),
    "a day": (numbers, "2024-03-01", ": expected numbers in column c, got dates"),
    "no text": (texts, "a\n\nb", "line 3: expected a value in column c, got none"),
    "blanks": (texts, "a\n  \nb", "line 3: expected a value in column c, got none"),
    "no category": (categories, "1\n\n2", "line 3: expected a value in column c, got none"),
    "American": (times, "2024-03-01\n3/1/2024", "line 3: expected a date as YYYY-MM-DD in column "
                 "c, got '3/1/2024'"),
    "German": (times, "01.03.2024", "line 2: expected a date as YYYY-MM-DD in column c, got "
               "'01.03.2024'"),
    "short": (times, "2024-3-1", "line 2: expected a date as YYYY-MM-DD in column c, got "
              "'2024-3-1'"),
    "a day's name": (times, "2024-03-01\ntoday", "line 3: expected a date as YYYY-MM-DD in column "
                     "c, got 'today'"),
    "one number": (times, "20240301\n20240302", "line 2: expected a date as YYYY-MM-DD in column "
                   "c, got 20240301"),
    "no such day": (times, "2024-02-29\n2023-02-29", "line 3: expected a date that exists in "
                    "column c, got '2023-02-29'"),
    "no such year": (times, "0000-02-28", "line 2: expected a date that exists in column c, got "
                     "'0000-02-28'"),
    "no such hour": (times, "2024-02-29 24:00", "line 2: expected a date that exists in column c, "
                     "got '2024-02-29 24:00'"),
    "no date": (times, "2024-03-01\n\n2024-03-03", "line 3: expected a date as YYYY-MM-DD in "
                "column c, got none"),
    "a zone": (times, "2024-03-01T10:00Z\n2024-03-01T11:00", "line 3: expected times in column c "
               "with a time zone in all rows or in none, got '2024-03-01T11:00' after "
               "'2024-03-01T10:00Z'"),
    "another zone": (times, "2024-03-01T10:00+01:00\n2024-03-01T11:00+0100\n2024-04-01T10:00Z",
                     "line 4: expected times in column c with the same offset from UTC in all "
                     "rows, got '2024-04-01T10:00Z' after '2024-03-01T10:00+01:00'; write all "
                     "times in UTC with Z, or all as those of a clock without a zone"),
    "true": (times, "true", ": expected dates in column c, got booleans"),
}  # fmt: skip


@pytest.mark.parametrize("case", CELLS)
def test_a_cell_of_another_kind_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    read, content, message = CELLS[case]
    file = tmp_path / "t.csv"
    file.write_text(f"c\n{content}\n")
    with pytest.raises(InvalidInput) as caught:
        read(read_table([file]), "c")
    assert str(caught.value) == f"{file}{message if message[0] == ':' else ', ' + message}"


def test_the_way_out_of_a_missing_value_is_told() -> None:
    found = as_table({"c": [1.0, None], "t": ["a", None]})
    with pytest.raises(InvalidInput, match=r"^the table, row 2: .* got none; --x goes on$"):
        numbers(found, "c", way_out="--x goes on")
    for read in (texts, categories):
        with pytest.raises(InvalidInput, match=r"^the table, row 2: .* in column t, got none$"):
            read(found, "t")
    with pytest.raises(InvalidInput, match=r"expected a column 'd', got c, t$"):
        numbers(found, "d")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "t.xlsx").write_text("a")
    cases = {
        tmp_path / "none.csv": "expected a readable file, got: No such file or directory",
        tmp_path / "folder.csv": "expected a readable file, got: Is a directory",
        Path("/dev/null"): "expected a readable file, got a device",
        tmp_path / "t.xlsx": r"expected a table, a file named \.csv, .*, got \.xlsx",
    }
    for file, message in cases.items():
        with pytest.raises(InvalidInput, match=f"^--input {re.escape(str(file))}: {message}$"):
            read_table([file], option="--input")
    with pytest.raises(InvalidInput, match=r"^--data\.path: expected a file, got none$"):
        read_table([])


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("a,b\n1,2\n", "a\n1\n", ": expected the columns of .*1.csv, got none of b"),
        ("a\n1\n", "a,b\n1,2\n", ": expected the columns of .*1.csv, got also b"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(
    first: str, second: str, message: str, tmp_path: Path
) -> None:
    files = [tmp_path / "1.csv", tmp_path / "2.csv"]
    files[0].write_text(first)
    files[1].write_text(second)
    with pytest.raises(InvalidInput, match=f"^{re.escape(str(files[1]))}{message}$"):
        read_table(files)


def test_files_of_different_kinds_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("1.parquet", "2.parquet", "3.csv")]
    pl.DataFrame({"a": [1]}).write_parquet(files[0])
    pl.DataFrame({"a": ["x"]}).write_parquet(files[1])
    files[2].write_text("a\n1\n")
    message = r"2\.parquet: expected numbers in column a, as in .*1\.parquet, got text$"
    with pytest.raises(InvalidInput, match=message):
        read_table(files[:2])
    with pytest.raises(InvalidInput, match=r"3\.csv: expected a file of the kind of .*1\.parquet$"):
        read_table([files[0], files[2]])


@pytest.mark.parametrize(
    ("read", "contents", "message"),
    [
        (numbers, ("1", "2\nx"), "2.csv, line 3: expected a number in column a, got 'x'"),
        (numbers, ("x", "1"), "1.csv, line 2: expected a number in column a, got 'x'"),
        (numbers, ("true", "1.5"), "1.csv, line 2: expected a number in column a, got 'true'"),
        (times, ("2024-03-01", "3/1/2024"), "2.csv, line 2: expected a date .* got '3/1/2024'"),
    ],
)
def test_text_in_one_of_several_files_is_refused_with_its_file_and_line(
    read: Callable[..., Any], contents: tuple[str, str], message: str, tmp_path: Path
) -> None:
    files = [tmp_path / "1.csv", tmp_path / "2.csv"]
    for file, content in zip(files, contents, strict=True):
        file.write_text(f"a\n{content}\n")
    with pytest.raises(InvalidInput, match=f"{message}$"):
        read(read_table(files), "a")


def test_a_file_that_grows_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a\n1\n")

    def read(path: Path, columns: Any) -> Any:
        found = table_text.read_delimited(path, columns)
        with open(path, "a") as opened:
            opened.write("2\n")
        return found

    monkeypatch.setitem(tables.READERS, tables.DELIMITED, read)
    with pytest.raises(InvalidInput, match="expected a file that stays the same, got one that ch"):
        read_table([file])


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_file_that_was_exchanged_while_it_was_read_is_refused(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a\n1\n")

    def read(path: Path, columns: Any) -> Any:
        found = table_text.read_delimited(path, columns)
        if change == "size":
            path.write_text("a\n")
        else:
            os.utime(path, ns=(0, 0))
        return found

    monkeypatch.setitem(tables.READERS, tables.DELIMITED, read)
    with pytest.raises(InvalidInput, match="expected a file that stays the same, got one that ch"):
        read_table([file])


COLUMNS: dict[str, tuple[Any, str]] = {
    "lengths": ({"a": [1, 2], "b": [1]}, "expected columns of one length, got a 2, b 1"),
    "a matrix": ({"a": np.ones((2, 2))}, r"expected a column a of .*, got shape \(2, 2\)"),
    "a number": ({"a": np.float64(1)}, "expected an array or a list as column a, got float64"),
    "nothing": ({"a": np.ones(0)}, r"expected a column a of .* values, got shape \(0,\)"),
    "an empty list": ({"a": []}, "expected one or more rows, got none"),
    "no columns": ({}, "expected one or more rows, got none"),
    "complex": ({"a": np.ones(2) * 1j}, "expected real numbers in a, got complex128"),
    "lists": ({"a": [[1], [2]]}, r"expected numbers, text or dates in column a, got List\(Int64\)"),
    "structures": (
        pl.DataFrame({"a": [{"x": 1}]}),
        "expected numbers, text or dates in column a.*",
    ),
    "bytes": ({"a": np.array([b"\xff"])}, "expected UTF-8 text in column a, got other bytes"),
    "far times": ({"a": np.array([2**60], "datetime64[s]")}, "expected dates of the years 1 to .*"),
    "one name": ({1: [1], "1": [2]}, "expected a name for each column, got '1' twice"),
    "no table": (3, "expected arrays by name or a table of polars, pandas or Arrow, got int"),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_data_in_memory_that_is_no_table_is_refused(case: str) -> None:
    data, message = COLUMNS[case]
    with pytest.raises(InvalidInput, match=f"^the table: {message}$"):
        as_table(data)


def test_arrays_that_are_no_table_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.npz"
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "matrix": ({"a": np.ones((2, 2))}, r"expected a column a of .* got shape \(2, 2\)"),
        "lengths": ({"a": np.ones(2), "b": np.ones(3)}, "expected columns of one length, got a 2, "
                    "b 3"),
        "objects": ({"a": np.array([1, None])}, "expected arrays of numbers, got: Object arrays.*"),
        "missing": ({"b": np.ones(2)}, "expected a column 'a', got b"),
    }  # fmt: skip
    for arrays, message in cases.values():
        np.savez(file, **arrays)
        with pytest.raises(InvalidInput, match=f"^{re.escape(str(file))}: {message}$"):
            read_table([file], columns=None if "b" in arrays and "a" in arrays else ["a"])
    np.save(tmp_path / "t.npy", np.ones(2))
    (tmp_path / "t.npy").rename(file)
    with pytest.raises(InvalidInput, match=r"expected an NPZ file, got a single array$"):
        read_table([file])


def test_a_parquet_file_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    file.write_bytes(b"PAR1 and nothing more PAR1")
    with pytest.raises(InvalidInput, match=r"^.*t\.parquet: expected a Parquet file, got: [^\n]+$"):
        read_table([file])
    pl.DataFrame({"sales": [1]}).write_parquet(file)
    with pytest.raises(InvalidInput, match=r"'sale', got sales; did you mean 'sales'\?$"):
        read_table([file], columns=["sale"])
    pl.DataFrame({"a": []}, schema={"a": pl.Int64}).write_parquet(file)
    with pytest.raises(InvalidInput, match=r"expected a table, got 1 columns and 0 rows$"):
        read_table([file])
