"""Sequences of a user's file: the right arrays, or one line that names the file and what came."""

import re
from pathlib import Path

import numpy as np
import pytest

from shared.inference.tables import read_sequences
from tests.support.table_files import INPUTS, csv, npz, refused


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
        ("a,b\n1,2\n3,nan\n", "line 3: expected a number in column b, got nan"),
        ("a,b\n1,2\n3,-inf\n", "line 3: expected a finite number in column b, got -inf"),
        ("a,b\n1,2\n3,?\n", r"line 3: expected a number in column b, got '\?'"),
        ("a,b\n1,2\n3,\n", "line 3: expected a number in column b, got none"),
        ("a,b\n", "expected a line of names and lines of values, got only the names"),
        ("a,b\n1,2\n3\n", "line 3: expected 2 values, got 1"),
        ("0.5,-2\n1,2\n", "expected a line of names first, got numbers: 0.5, -2"),
        ("0,0\n1,2\n", "expected a line of names first, got numbers: 0, 0"),
        ("", "expected a table, got an empty file"),
    ],
    ids=["interrupted", "too narrow", "too wide", "nan", "infinite", "no number", "nothing",
         "no rows", "ragged", "no names", "no names, one number twice", "empty"],
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
    message = "expected finite numbers in inputs, got nan at sequence 2, step 3, feature 4"
    refused(file, lambda: read_sequences(file, 4), message)
