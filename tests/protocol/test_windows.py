"""Windows of a table are the array of all its stretches, without being made."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from shared.protocol.batching import Batches
from shared.protocol.dataset import Split
from shared.protocol.windows import Windows

ROWS, STEPS = 40, 5


def table(rows: int = ROWS, features: int = 3) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, features)).astype(np.float32)


def all_of(rows: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """Returns all windows (N, T, F), by NumPy's own function."""
    return sliding_window_view(rows, steps, axis=0).swapaxes(1, 2)


def expected(rows: np.ndarray, starts: np.ndarray, flat: bool, relative: bool) -> np.ndarray:
    """Makes one window after the other."""
    made = []
    for start in starts:
        window = np.array([rows[start + i] - rows[start - 1] * relative for i in range(STEPS)])
        made.append(window.ravel() if flat else window)
    return np.array(made)


def test_all_windows_are_those_of_numpy() -> None:
    rows = table()
    windows = Windows(rows, np.arange(ROWS - STEPS + 1), STEPS)
    assert windows.shape == (36, STEPS, 3)
    assert (len(windows), windows.dtype) == (36, rows.dtype)
    for made in (windows[:], np.asarray(windows), np.array(windows)):
        np.testing.assert_array_equal(made, all_of(rows))
        assert made.dtype == rows.dtype
    assert np.asarray(windows, np.float64).dtype == np.float64


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("flat", [True, False])
def test_windows_are_flat_and_relative_to_the_row_before(flat: bool, relative: bool) -> None:
    rows, starts = table(), np.array([7, 1, 35, 7, 20])
    windows = Windows(rows, starts, STEPS, flat=flat, relative=relative)
    made = expected(rows, starts, flat, relative)
    assert windows.shape == made.shape == ((5, 15) if flat else (5, 5, 3))
    np.testing.assert_array_equal(windows[:], made)
    np.testing.assert_array_equal(windows[np.array([[4, 0], [1, 1]])], made[[[4, 0], [1, 1]]])


INDICES = {
    "number": 3,
    "last": -1,
    "numpy": np.int64(2),
    "slice": slice(2, 30, 7),
    "backwards": slice(None, None, -1),
    "none": slice(0, 0),
    "numbers": np.array([5, 2, 5, -1]),
    "list": [0, 3],
    "batches": np.arange(24).reshape(2, 3, 4),
    "mask": np.arange(36) % 5 == 0,
    "step": (slice(None), -1),
    "feature": (np.array([[1, 2]]), slice(None), 0),
    "further": (slice(4), slice(1, 3), slice(None, 1)),
    "of-a-number": (3, 2, 1),
    "numbers-steps": (np.array([3, 9]), slice(2)),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_indices_are_those_of_an_array(index) -> None:
    rows = table()
    windows = Windows(rows, np.arange(ROWS - STEPS + 1), STEPS)
    np.testing.assert_array_equal(windows[index], all_of(rows)[index])
    flat = Windows(rows, np.arange(ROWS - STEPS + 1), STEPS, flat=True)
    if not isinstance(index, tuple):
        np.testing.assert_array_equal(flat[index], all_of(rows).reshape(36, -1)[index])


@pytest.mark.parametrize("index", [36, -37, np.array([0, 36])])
def test_an_index_outside_is_refused_as_by_an_array(index) -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        Windows(table(), np.arange(36), STEPS)[index]


@pytest.mark.parametrize(
    ("starts", "relative"), [([-1, 3], False), ([0, 3], True), ([3, 36], False), ([99], True)]
)
def test_windows_that_reach_over_the_table_are_refused(starts, relative) -> None:
    first, last = min(starts), max(starts)
    message = f"windows of 5 rows within 40, got some that start at {first} to {last}"
    with pytest.raises(ValueError, match=message):
        Windows(table(), np.array(starts), STEPS, relative=relative)


def test_the_first_and_the_last_row_are_within() -> None:
    rows = table()
    np.testing.assert_array_equal(Windows(rows, np.array([0, 35]), STEPS)[1], rows[35:])
    relative = Windows(rows, np.array([1]), STEPS, relative=True)
    np.testing.assert_array_equal(relative[0], rows[1:6] - rows[0])


def test_no_windows_are_an_empty_array_of_any_table() -> None:
    windows = Windows(table(2), np.zeros(0, np.int64), STEPS)
    assert np.asarray(windows).shape == windows.shape == (0, STEPS, 3)


def test_a_window_is_a_copy() -> None:
    rows = table()
    windows = Windows(rows, np.arange(36), STEPS)
    windows[0][:] = 9
    windows[:][:] = 9
    np.testing.assert_array_equal(rows, table())
    with pytest.raises(ValueError, match="always copied"):
        np.asarray(windows, copy=False)


def test_the_parts_say_everything_about_the_windows() -> None:
    """For a fingerprint: two windows that differ in anything have other parts."""
    rows, starts = table(), np.arange(1, 20)
    others = [
        Windows(rows, starts, STEPS),
        Windows(rows, starts, STEPS, flat=True),
        Windows(rows, starts, STEPS, relative=True),
        Windows(rows, starts, STEPS - 1),
        Windows(rows, starts + 1, STEPS),
        Windows(rows + 1, starts, STEPS),
    ]
    seen = {b"".join(part.tobytes() for part in windows.parts) for windows in others}
    assert len(seen) == len(others)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batches_of_windows_are_those_of_the_array(shuffle: bool, dtype: str) -> None:
    """Bit for bit, over two epochs with a ragged last batch."""
    rows, starts = table(), np.arange(1, 31)
    inputs = Windows(rows, starts, STEPS)
    targets = Windows(rows[:, :1], starts + STEPS, 3, flat=True, relative=True)
    weights = np.linspace(0, 1, 30, dtype=np.float32)

    def taken(split: Split):
        made = Batches(split, 8, None, shuffle, 5, dtype, per_step=False)
        assert (made.per_epoch, made.steps) == (4, STEPS)
        return made.take(0, 8)

    found = taken(Split(inputs, targets, weights=weights))
    made = taken(Split(np.asarray(inputs), np.asarray(targets), weights=weights))
    assert found.inputs.shape == (8, 8, STEPS, 3)
    assert found.targets.shape == (8, 8, 3)
    for mine, theirs in zip(found, made, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


def test_a_step_copies_its_own_windows_and_never_the_table(tmp_path: Path) -> None:
    """The table is a file that may only be read, larger than what a step may take."""
    path = tmp_path / "table.npy"
    np.save(path, table(500_000))
    rows = np.load(path, mmap_mode="r")
    starts = np.arange(rows.shape[0] - 25)
    targets = Windows(rows[:, :1], starts + 24, 1, flat=True)
    made = Batches(Split(Windows(rows, starts, 24), targets), 64, None, True, 0, "float32", False)
    made.take(0, 1)  # the epoch's order is drawn once
    tracemalloc.start()
    for step in range(0, 50, 10):
        made.take(step, 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 10 * 64 * 24 * 3 * 4 < rows.nbytes
