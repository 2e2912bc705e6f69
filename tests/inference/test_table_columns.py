"""Columns of a user's file: the right arrays, or one line that names the file and what came."""

from pathlib import Path

import numpy as np
import pytest

from shared.inference.tables import read_columns
from tests.support.table_files import csv, npz, refused

DAYS = "date,high,low\n2024-03-01,1.5,-2\n2024-03-04,2e1,0\n"


@pytest.mark.parametrize(
    "content",
    [
        DAYS,
        DAYS.replace("\n", "\r\n"),
        DAYS.rstrip("\n"),
        "\ufeff" + DAYS,
        DAYS.replace("1.5", '" 1.5"'),
        "low,station,high,date\n-2,a,1.5,2024-03-01\n0,b,20,2024-03-04\n",
    ],
    ids=["plain", "windows", "no last end", "byte order mark", "quoted", "another order"],
)
def test_columns_are_read_by_their_names(content: str, tmp_path: Path) -> None:
    found = read_columns(csv(tmp_path, content), ["high", "low"], date=True)
    assert list(found) == ["date", "high", "low"]
    np.testing.assert_array_equal(found["high"], [1.5, 20.0])
    np.testing.assert_array_equal(found["low"], [-2.0, 0.0])
    expected = np.array(["2024-03-01", "2024-03-04"], "datetime64[D]")
    np.testing.assert_array_equal(found["date"], expected)
    assert [array.dtype for array in found.values()] == ["datetime64[D]", "float64", "float64"]


@pytest.mark.parametrize("dates", [["2024-03-01", "2024-03-04"], [19783, 19786]])
def test_columns_of_an_npz_may_have_any_type_of_numbers(dates: list, tmp_path: Path) -> None:
    file = npz(
        tmp_path,
        date=np.array(dates),
        high=np.array([1, 2], np.int16),
        low=np.array([0.5, 1], np.float32),
    )
    found = read_columns(file, ["low", "high"], date=True)
    assert list(found) == ["date", "low", "high"]
    np.testing.assert_array_equal(found["high"], [1.0, 2.0])
    assert found["low"].dtype == np.float64
    assert [str(day) for day in found["date"]] == ["2024-03-01", "2024-03-04"]


def test_dates_are_read_where_they_are_and_needed_only_where_they_count(tmp_path: Path) -> None:
    assert list(read_columns(csv(tmp_path, DAYS), ["low"], date=False)) == ["date", "low"]
    file = csv(tmp_path, "low\n1\n")
    assert list(read_columns(file, ["low"], date=False)) == ["low"]
    refused(
        file,
        lambda: read_columns(file, ["low"], date=True),
        r"expected columns date, low, got low \(without date\)",
    )


BAD_COLUMNS = {
    "missing": ("date,high\n2024-03-01,1\n",
                r"expected columns date, high, low, got date, high \(without low\)"),
    "none": ("a\n1\n", r"expected columns high, low, got a \(without high, low\)"),
    "nan": ("high,low\n1,2\n3,nan\n", "expected finite numbers in low, got nan in row 2"),
    "infinite": ("high,low\n-inf,2\n", "expected finite numbers in high, got -inf in row 1"),
    "a word": ("high,low\n1,2\n3,warm\n",
               "expected numbers in column low, got 'warm' in row 2"),
    "nothing": ("high,low\n1,2\n,4\n", "expected numbers in column high, got '' in row 2"),
    "digits in groups": ("high,low\n1,2\n3,1_0\n",
                         "expected numbers in column low, got '1_0' in row 2"),
    "ragged": ("high,low\n1,2\n3\n", "expected 2 values in line 3, got 1"),
    "too many": ("high,low\n1,2,3\n", "expected 2 values in line 2, got 3"),
    "ragged after a blank line": ("high,low\n\n3\n", "expected 2 values in line 3, got 1"),
    "blank lines": ("\n\n", "expected a line of names and lines of values, got 0 lines"),
    "one name twice": ("high,low,high\n1,2,3\n",
                       "expected a name for each column, got 'high' twice"),
    "no rows": ("high,low\n", "expected a line of names and lines of values, got 1 line"),
    "an open quote": ('high,low\n1,"2\n', "expected CSV, got: .*"),
    "no date": ("date,high,low\nyesterday,1,2\n",
                "expected dates as YYYY-MM-DD, got: .*yesterday.*"),
    "day first": ("date,high,low\n01.03.2024,1,2\n", "expected dates as YYYY-MM-DD, got: .*"),
    "date left out": ("date,high,low\n2024-03-01,1,2\n,3,4\n",
                      "expected dates as YYYY-MM-DD, got none in row 2"),
    "date in one number": ("date,high,low\n20240301,1,2\n",
                           "expected dates as YYYY-MM-DD, got: '20240301' in row 1"),
    "month alone": ("date,high,low\n2024-02-29,1,2\n2024-03,1,2\n",
                    "expected dates as YYYY-MM-DD, got: '2024-03' in row 2"),
    "a day by its name": ("date,high,low\ntoday,1,2\n",
                          "expected dates as YYYY-MM-DD, got: 'today' in row 1"),
    "an hour": ("date,high,low\n2024-03-01T10:00Z,1,2\n",
                "expected dates as YYYY-MM-DD, got: '2024-03-01T10:00Z' in row 1"),
    "no such day": ("date,high,low\n2023-02-29,1,2\n", "expected dates as YYYY-MM-DD, got: .*"),
    "falling dates": ("date,high,low\n2024-03-04,1,2\n2024-03-01,1,2\n",
                      "expected growing dates, got 2024-03-01 after 2024-03-04"),
    "one date twice": ("date,high,low\n2024-03-01,1,2\n2024-03-01,1,2\n",
                       "expected growing dates, got 2024-03-01 after 2024-03-01"),
    "empty": ("", "expected a text, got an empty file"),
    "latin-1": ("höhe\n1\n".encode("latin-1"), "expected UTF-8 text, got byte 0xf6 at position 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_columns_that_cannot_be_used_are_refused(case: str, tmp_path: Path) -> None:
    content, message = BAD_COLUMNS[case]
    file = csv(tmp_path, content)
    refused(file, lambda: read_columns(file, ["high", "low"], date=False), message)


@pytest.mark.parametrize(
    ("high", "message"),
    [
        (np.ones(3), "expected columns of one length, got high 3, low 2"),
        (np.ones((2, 2)), r"expected a column high of one or more values, got shape \(2, 2\)"),
        (np.float64(1), r"expected a column high of one or more values, got shape \(\)"),
        (np.ones(0), r"expected a column high of one or more values, got shape \(0,\)"),
        (np.ones(2) * 1j, "expected real numbers in high, got complex128"),
        (np.zeros(2, "datetime64[D]"), r"expected real numbers in high, got datetime64\[D\]"),
        (np.array(["1", "x"]), "expected numbers in column high, got 'x' in row 2"),
        (
            np.array([1, None]),
            "expected arrays of numbers, got: .*Object arrays cannot be loaded.*",
        ),
    ],
    ids=["longer", "a matrix", "one number", "empty", "complex", "dates", "words", "objects"],
)
def test_arrays_that_are_no_columns_are_refused(
    high: np.ndarray, message: str, tmp_path: Path
) -> None:
    file = npz(tmp_path, high=high, low=np.ones(2))
    refused(file, lambda: read_columns(file, ["high", "low"], date=False), message)


@pytest.mark.parametrize(
    "dates",
    [np.array([0.5, 1e300]), np.array([True, False]), np.array([1, 2], "timedelta64[D]"),
     np.array([b"\xff", b"x"])],
)  # fmt: skip
def test_arrays_that_are_no_dates_are_refused_without_a_warning(
    dates: np.ndarray, tmp_path: Path, recwarn
) -> None:
    file = npz(tmp_path, date=dates, high=np.ones(2))
    refused(file, lambda: read_columns(file, ["high"], date=True), "expected dates as YYYY-.*")
    assert not list(recwarn)
