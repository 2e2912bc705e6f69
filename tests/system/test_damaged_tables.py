"""Damaged tables: read as what they say now, or refused in one line that names the file.

What text says is what Python's csv and json modules find in it.
"""

import csv
import json
import math
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.system import table_blocks
from shared.system.tables import Table, categories, numbers, read_table, texts, times
from tests.support.fuzz import EDITS, Edit, damaged, fuzz

ROWS = [
    [str(date(2024, 2, 20) + timedelta(i)), str(i - 3), repr(i / 7), ["ä", "b c", "n/a"][i % 3]]
    for i in range(12)
]
NAMES = ["day", "count", "price", "store"]
FRAME = pl.DataFrame(
    {"day": [date.fromisoformat(row[0]) for row in ROWS], "count": [int(row[1]) for row in ROWS],
     "price": [float(row[2]) for row in ROWS], "store": [row[3] for row in ROWS]}
)  # fmt: skip
MARKS = {".csv": ",", ".tsv": "\t"}
CELLS = st.sampled_from(
    ["", " ", "n/a", "nan", "inf", "-inf", "1e400", "-0", "007", "1_0", "1,5", "9" * 25,
     "0x1f", "é", " 12 ", "true", "2024-02-30", "2024-03-01", "03/01/2024", '"', '"x', 'x"y',
     "\x00", "1e-400"]
)  # fmt: skip


def text_of(rows: list[list[str]], mark: str) -> str:
    return "\n".join(mark.join(row) for row in rows) + "\n"


def read(file: Path) -> Table | None:
    """Reads a table; None if it is refused, by a good line."""
    try:
        found = read_table([file], option="")
        for name in found.frame.columns:
            for how in (numbers, texts, categories, times):
                attempt(found, name, how)
        return found
    except InvalidInput as error:
        check_line(error, file)
        return None


def attempt(found: Table, name: str, how: Any) -> Any:
    """Takes a column for numbers, texts or times; None if it is refused, by a good line."""
    try:
        return how(found, name)
    except InvalidInput as error:
        check_line(error, Path(found.name))
        return None


def check_line(error: InvalidInput, file: Path) -> None:
    said = str(error)
    assert said.startswith((f"{file}: ", f"{file}, line ", f"{file}, row ")), said
    assert said.isprintable(), repr(said)
    assert "expected" in said, said
    assert len(said) < 1000, said


@pytest.mark.parametrize("suffix", [".csv", pytest.param(".tsv", marks=pytest.mark.slow)])
@fuzz(80)
@given(row=st.integers(1, len(ROWS)), column=st.sampled_from(["count", "price"]), cell=CELLS)
def test_a_damaged_cell_is_read_or_refused_by_its_line(
    suffix: str, row: int, column: str, cell: str, tmp_path: Path
) -> None:
    """Its neighbours are read as before."""
    rows = [NAMES, *map(list, ROWS)]
    rows[row][NAMES.index(column)] = f'"{cell}"' if MARKS[suffix] in cell else cell
    file = tmp_path / f"t{suffix}"
    file.write_text(text_of(rows, MARKS[suffix]), encoding="utf-8")
    found = read(file)
    if found is None:
        assert '"' in cell
        return
    for name in NAMES:
        if name != column:
            assert found.frame[name].equals(FRAME[name]), name
    expected = FRAME[column].cast(pl.Float64).to_numpy().copy()
    try:
        expected[row - 1] = as_float(cell)
        if math.isinf(expected[row - 1]):
            raise ValueError
    except ValueError:
        with pytest.raises(InvalidInput, match=f", line {row + 1}: expected a .*{column}, got "):
            numbers(found, column, missing=True)
    else:
        np.testing.assert_array_equal(numbers(found, column, missing=True), expected)


def as_float(cell: str) -> float:
    """Reads a number as the tables' rules have it: without underscores, and empty is NaN."""
    if "_" in cell:
        raise ValueError
    return float(cell.strip() or "nan")


LINE_EDITS = st.lists(
    st.tuples(
        st.sampled_from(["drop", "double", "merge", "swap", "blank", "cell", "mark", "return"]),
        st.integers(0, len(ROWS)), st.integers(0, 3), CELLS,
    ),
    min_size=1, max_size=3,
)  # fmt: skip


def edited(lines: list[str], edits: list[Any], mark: str) -> str:
    for kind, at, column, cell in edits:
        at = min(at, len(lines) - 1)
        if kind == "drop" and len(lines) > 1:
            del lines[at]
        elif kind == "double":
            lines.insert(at, lines[at])
        elif kind == "merge" and at + 1 < len(lines):
            lines[at : at + 2] = [lines[at] + lines[at + 1]]
        elif kind == "swap":
            lines[0], lines[at] = lines[at], lines[0]
        elif kind == "blank":
            lines.insert(at, "")
        elif kind == "cell":
            cells = lines[at].split(mark)
            cells[column % len(cells)] = cell
            lines[at] = mark.join(cells)
        elif kind == "mark":
            lines[at] = lines[at].replace(mark, ";")
        elif kind == "return":
            lines[at] += "\r"
    return "\n".join(lines) + "\n"


def readings(content: bytes, suffix: str) -> Iterator[dict[str, list[str]]]:
    """Yields what the csv module finds in a text: in TSV, also without a rule for quotes."""
    text = content.decode("utf-8").removeprefix("\ufeff")
    text = re.sub("\r+\n", "\n", text)
    text = text if "\n" in text else text.replace("\r", "\n")
    text = text.replace("\r", "\ue000")  # which ends no line beside others that end in \n
    first = text.lstrip("\n").split("\n")[0]
    marks = [mark for mark in ",;\t" if mark in first] if suffix == ".csv" else ["\t"]
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE)[: 1 + (suffix == ".tsv")]:
        lines = (line + "\n" for line in text.rstrip("\n").split("\n"))
        rows = [*csv.reader(lines, delimiter=(marks or [","])[0], quoting=quoting)]
        header, *body = [row for row in rows if row]
        if len(set(map(len, [header, *body]))) > 1:
            continue
        columns = [
            [cell.replace("\ue000", "\r") for cell in cells] for cells in zip(*body, strict=True)
        ]
        names = [" ".join(name.replace("\ue000", "\r").split()) for name in header]
        yield dict(zip(names, columns, strict=True))


def says(found: Table, reading: dict[str, list[str]]) -> bool:
    """Tells whether a table has exactly these cells."""
    return found.frame.columns == [*reading] and all(
        len(found) == len(cells) and all(map(equal, found.frame[name].to_list(), cells))
        for name, cells in reading.items()
    )


def equal(value: Any, cell: str) -> bool:
    if value is None:
        return not cell.strip()
    if isinstance(value, bool):
        return cell.lower() == str(value).lower()
    if isinstance(value, str):
        return value == cell
    if isinstance(value, date):
        return datetime.fromisoformat(cell).date() == date(value.year, value.month, value.day)
    number = as_float(cell)
    return value == number or (math.isnan(value) and math.isnan(number))


@pytest.mark.parametrize("suffix", MARKS)
@fuzz(120)
@given(
    lines=LINE_EDITS, edits=st.one_of(st.just([]), EDITS), size=st.sampled_from([40, 200, 1 << 22])
)
def test_damaged_text_is_read_as_what_it_says_or_refused(
    suffix: str, lines: list[Any], edits: list[Edit], size: int, tmp_path: Path
) -> None:
    whole = text_of([NAMES, *ROWS], MARKS[suffix]).splitlines()
    content = damaged(edited(whole, lines, MARKS[suffix]).encode(), edits)
    file = tmp_path / f"t{suffix}"
    file.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_blocks, "SIZE", size)
        found = read(file)
    if found is not None:
        assert any(says(found, reading) for reading in readings(content, suffix))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("suffix", [*MARKS, ".jsonl"])
def test_text_in_another_encoding_is_refused(suffix: str, encoding: str, tmp_path: Path) -> None:
    file = tmp_path / f"t{suffix}"
    if suffix == ".jsonl":
        FRAME.with_columns(pl.col("day").cast(pl.String)).write_ndjson(file)
        text = file.read_text(encoding="utf-8")
    else:
        text = text_of([NAMES, *ROWS], MARKS[suffix])
    file.write_bytes(text.encode(encoding))
    assert read(file) is None


@fuzz(80)
@given(edits=EDITS)
def test_damaged_json_lines_are_read_as_what_they_say_or_refused(
    edits: list[Edit], tmp_path: Path
) -> None:
    file = tmp_path / "t.jsonl"
    FRAME.with_columns(pl.col("day").cast(pl.String)).write_ndjson(file)
    content = damaged(file.read_bytes(), edits)
    file.write_bytes(content)
    found = read(file)
    if found is None:
        return
    text = content.decode("utf-8").removeprefix("\ufeff")
    rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    assert set(found.frame.columns) == {name for row in rows for name in row}
    for name in found.frame.columns:
        values = [row.get(name) for row in rows]
        kept = found.frame[name].to_list()
        if found.frame.schema[name] == pl.String:
            values = [value if value is None else str(value) for value in values]
        assert kept == values or all(map(equal, kept, map(str, values)))


@pytest.mark.parametrize("compressed", [False, True])
@fuzz(60)
@given(edits=EDITS)
def test_a_damaged_npz_file_is_refused_or_the_same(
    compressed: bool, edits: list[Edit], tmp_path: Path
) -> None:
    """Each array in it has a checksum."""
    file = tmp_path / "t.npz"
    arrays: dict[str, Any] = {name: FRAME[name].to_numpy() for name in NAMES[:3]}
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    file.write_bytes(damaged(file.read_bytes(), edits))
    found = read(file)
    if found is not None:
        assert found.frame.columns == NAMES[:3]
        for name in NAMES[1:3]:
            np.testing.assert_array_equal(numbers(found, name), arrays[name])


@pytest.mark.parametrize("compression", ["uncompressed", "snappy", "zstd"])
@fuzz(40)
@given(edits=EDITS)
def test_a_damaged_parquet_file_is_refused_or_read_in_silence(
    compression: Any, edits: list[Edit], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It has no checksums: damaged numbers are other numbers."""
    file = tmp_path / "t.parquet"
    FRAME.write_parquet(file, compression=compression)
    file.write_bytes(damaged(file.read_bytes(), edits))
    found = read(file)
    assert found is None or len(found) > 0
    assert capfd.readouterr() == ("", "")
