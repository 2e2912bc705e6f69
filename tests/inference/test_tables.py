"""Numbers from a user's file: the right arrays, or one line that names the file and what came."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.inference.tables import read_columns, read_sequences
from shared.runs import predictions

DAYS = "date,high,low\n2024-03-01,1.5,-2\n2024-03-04,2e1,0\n"


def csv(folder: Path, content: str | bytes) -> Path:
    file = folder / "table.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "table.npz", **arrays)  # pyright: ignore[reportArgumentType]
    return folder / "table.npz"


def refused(file: Path, read: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{re.escape(str(file))}: {message}$"):
        read()


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


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("none.csv", "none.npz", "none.npy"):
        file = tmp_path / name
        message = "expected a readable file, got: No such file or directory"
        refused(file, lambda file=file: read_sequences(file, 2), message)
    for suffix in (".csv", ".npz"):
        folder = tmp_path / f"folder{suffix}"
        folder.mkdir()
        message = "expected a readable file, got: Is a directory"
        refused(folder, lambda folder=folder: read_columns(folder, ["a"], False), message)


INPUTS = np.arange(24.0).reshape(2, 3, 4)


def test_sequences_of_an_array_are_read_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "inputs.npy"
    np.save(file, INPUTS.astype(np.float32))
    inputs, lengths, _ = read_sequences(file, 4)
    np.testing.assert_array_equal(inputs, INPUTS)
    assert (inputs.dtype, lengths) == (np.float64, None)
    np.save(file, INPUTS[0])
    inputs, lengths, _ = read_sequences(file, 4)
    np.testing.assert_array_equal(inputs, INPUTS[:1])
    assert lengths is None


def test_sequences_of_an_npz_may_have_lengths(tmp_path: Path) -> None:
    file = npz(tmp_path, inputs=INPUTS, lengths=np.array([3, 1]))
    inputs, lengths, names = read_sequences(file, 4)
    assert names == [1, 2]
    np.testing.assert_array_equal(inputs, INPUTS)
    assert lengths is not None
    assert (lengths.tolist(), lengths.dtype) == ([3, 1], np.int32)
    assert read_sequences(npz(tmp_path, inputs=INPUTS), 4)[1] is None


def test_rows_of_a_csv_are_steps_and_a_column_numbers_the_sequences(tmp_path: Path) -> None:
    file = csv(tmp_path, "a,sequence,b\n1,x,2\n3,x,4\n5,w,6\n7,y,8\n9,y,10\n11,y,12\n")
    inputs, lengths, names = read_sequences(file, 2)
    assert names == ["x", "w", "y"]
    expected = np.zeros((3, 3, 2))
    expected[0, :2], expected[1, 0] = [[1, 2], [3, 4]], [5, 6]
    expected[2] = [[7, 8], [9, 10], [11, 12]]
    np.testing.assert_array_equal(inputs, expected)
    assert lengths is not None
    assert (lengths.tolist(), lengths.dtype) == ([2, 1, 3], np.int32)

    file = csv(tmp_path, "a,sequence,b\n1,11,2\n3,7,4\n")
    inputs, lengths, names = read_sequences(file, 2)
    assert names == [11, 7]
    assert read_sequences(csv(tmp_path, "a,sequence,b\n1,11,2\n3,07,4\n"), 2).names == ["11", "07"]
    np.testing.assert_array_equal(inputs, [[[1, 2]], [[3, 4]]])
    assert lengths is None  # all of one length

    inputs, lengths, names = read_sequences(csv(tmp_path, "a,b\n1,2\n3,4\n"), 2)
    assert names == [1]
    np.testing.assert_array_equal(inputs, [[[1, 2], [3, 4]]])
    assert lengths is None


@pytest.mark.parametrize("names", ["0,1", "1,2"])
def test_names_may_count_the_columns(names: str, tmp_path: Path) -> None:
    inputs, *_ = read_sequences(csv(tmp_path, f"{names}\n5,6\n7,8\n"), 2)
    np.testing.assert_array_equal(inputs, [[[5, 6], [7, 8]]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sequence,a,b\n1,1,2\n2,1,2\n1,1,2\n",
         "expected the rows of a sequence one after the other, got some of sequence 1 later"),
        ("sequence,a\n1,1\n", "expected 2 columns of features beside 'sequence', got 1: a"),
        ("a,b,c\n1,2,3\n", "expected 2 columns of features beside 'sequence', got 3: a, b, c"),
        ("a,b\n1,2\n3,nan\n", "expected finite numbers in b, got nan in row 2"),
        ("a,b\n1,2\n3,?\n", r"expected numbers in column b, got '\?' in row 2"),
        ("a,b\n", "expected a line of names and lines of values, got 1 line"),
        ("a,b\n1,2\n3\n", "expected 2 values in line 3, got 1"),
        ("0.5,-2\n1,2\n", "expected a line of names first, got numbers: 0.5, -2"),
        ("0,0\n1,2\n", "expected a line of names first, got numbers: 0, 0"),
        ("", "expected a text, got an empty file"),
    ],
    ids=["interrupted", "too narrow", "too wide", "nan", "no number", "no rows", "ragged",
         "no names", "no names, one number twice", "empty"],
)  # fmt: skip
def test_a_csv_without_sequences_is_refused(content: str, message: str, tmp_path: Path) -> None:
    file = csv(tmp_path, content)
    refused(file, lambda: read_sequences(file, 2), message)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 5), (2, 3, 4, 1), (0, 3, 4), (2, 0, 4), (3, 5), ()])
def test_inputs_of_another_shape_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "inputs.npy", np.zeros(shape))
    for file in (tmp_path / "inputs.npy", npz(tmp_path, inputs=np.zeros(shape))):
        got = re.escape(str(shape))
        message = rf"expected inputs \(sequences, steps, 4\), got shape {got}"
        refused(file, lambda file=file: read_sequences(file, 4), message)


@pytest.mark.parametrize(
    ("lengths", "got"),
    [
        ([0, 3], r"int64 \(2,\) 0 to 3"),
        ([1, 4], r"int64 \(2,\) 1 to 4"),
        ([1, 2, 3], r"int64 \(3,\) 1 to 3"),
        ([[1, 2]], r"int64 \(1, 2\) 1 to 2"),
        ([1.0, 2.0], r"float64 \(2,\)"),
        ([True, True], r"bool \(2,\)"),
        (np.zeros(0, np.int64), r"int64 \(0,\)"),
    ],
)
def test_lengths_that_no_sequence_has_are_refused(lengths, got: str, tmp_path: Path) -> None:
    file = npz(tmp_path, inputs=INPUTS, lengths=np.array(lengths))
    message = f"expected 2 lengths from 1 to 3, got {got}"
    refused(file, lambda: read_sequences(file, 4), message)


def test_an_npz_without_inputs_is_refused(tmp_path: Path) -> None:
    file = npz(tmp_path, outputs=INPUTS, lengths=np.array([1, 2]))
    message = "expected an array 'inputs', got outputs, lengths"
    refused(file, lambda: read_sequences(file, 4), message)
    file = npz(tmp_path)
    refused(file, lambda: read_sequences(file, 4), "expected an array 'inputs', got none")


def test_inputs_must_be_finite(tmp_path: Path) -> None:
    inputs = INPUTS.copy()
    inputs[1, 2, 3] = np.nan
    file = npz(tmp_path, inputs=inputs)
    refused(file, lambda: read_sequences(file, 4), "expected finite numbers in inputs, .*nan.*")


def test_one_kind_of_file_under_the_name_of_the_other_is_refused(tmp_path: Path) -> None:
    several = tmp_path / "several.npy"
    several.write_bytes(npz(tmp_path, inputs=INPUTS).read_bytes())
    message = "expected an NPY file, got several arrays"
    refused(several, lambda: read_sequences(several, 4), message)
    np.save(tmp_path / "one.npy", INPUTS)
    one = (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    message = "expected an NPZ file, got a single array"
    refused(one, lambda: read_sequences(one, 4), message)
    refused(one, lambda: read_columns(one, ["a"], False), message)


@pytest.mark.parametrize("content", [b"", b"no arrays at all", b"\x93NUMPY\x01\x00", b"PK\x03\x04"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_what_is_no_array_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / f"inputs{suffix}"
    file.write_bytes(content)
    refused(
        file,
        lambda: read_sequences(file, 4),
        "expected NumPy arrays of numbers, got a damaged file .*",
    )


def test_pickled_objects_are_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "run",))

    file = tmp_path / "inputs.npy"
    np.save(file, np.array([Trap()], object), allow_pickle=True)
    message = "expected NumPy arrays of numbers, got a damaged file or none of NumPy's"
    refused(file, lambda: read_sequences(file, 4), message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_or_flipped_npz_is_refused_or_read_as_it_was(
    compressed: bool, tmp_path: Path
) -> None:
    """Byte by byte: whatever of the archive is damaged, no other error than ours comes out."""
    file = tmp_path / "inputs.npz"
    (np.savez_compressed if compressed else np.savez)(file, inputs=INPUTS)
    content, refusals = file.read_bytes(), 0
    for size in range(0, len(content), 7):
        file.write_bytes(content[:size])
        with pytest.raises(InvalidInput, match=re.escape(str(file))):
            read_sequences(file, 4)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        try:
            inputs, *_ = read_sequences(file, 4)
        except InvalidInput as error:
            refusals += str(error).startswith(f"{file}: expected")
        else:  # such as the date of the file in the archive
            np.testing.assert_array_equal(inputs, INPUTS)
    assert refusals > len(content) / 2


def test_damaged_predictions_of_a_run_are_refused(tmp_path: Path) -> None:
    assert predictions.read(tmp_path, None) == {}
    digest = predictions.save(tmp_path, {"predicted": INPUTS, "targets": INPUTS})
    found = predictions.read(tmp_path, digest)
    np.testing.assert_array_equal(found["predicted"], INPUTS)
    file = tmp_path / predictions.FILE
    content = file.read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        refused(file, lambda: predictions.read(tmp_path, digest), "expected predictions with .*")
    file.unlink()
    refused(file, lambda: predictions.read(tmp_path, digest), "expected predictions, got: .*")
