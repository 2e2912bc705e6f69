"""Values with large arrays in one file: equal, read-only, in memory once."""

import datetime
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.system.mapped_values import ALIGNED, SMALL, mapped, pack

MANY = 4 * SMALL
DRAW = np.random.default_rng(0)
ARRAYS = {
    "float64": DRAW.normal(size=(MANY, 3)),
    "float32, by columns": np.asfortranarray(DRAW.normal(size=(MANY, 3)).astype(np.float32)),
    "first columns": DRAW.normal(size=(MANY, 3))[:, :2],
    "every other, backwards": np.arange(3 * MANY, dtype=np.int32)[::-2],
    "no element": np.zeros((0, 5)),
    "one row many times": np.broadcast_to(np.arange(7.0), (MANY, 7)),
    "bool": DRAW.integers(0, 2, MANY).astype(bool),
    "times": np.arange(MANY).astype("datetime64[s]"),
    "texts": np.array([f"text {i}" for i in range(MANY)]),
    "objects": np.array([{"a": i} for i in range(MANY)], object),
    "field": np.zeros(MANY, [("a", "i4"), ("b", "f8")])["b"],
    "field beside objects": np.ones(MANY, [("a", "f8"), ("b", object)])["a"],
    "texts of any length": np.array([f"text {i}" for i in range(MANY)], np.dtypes.StringDType()),
    "every third of other memory": np.ndarray(
        MANY, np.float64, DRAW.normal(size=3 * MANY).tobytes(), strides=(24,)
    ),
    "small": np.arange(3.0),
}

COPIED = {
    "no element", "objects", "field beside objects", "texts of any length",
    "every third of other memory", "small",
}  # fmt: skip


def through(path: Path, *values: Any, count: int | None = None) -> list[Any]:
    """Values as another process gets them, the file being gone."""
    packed = pack(*values)
    with open(path, "xb") as file:
        start = packed.write(file)
    assert path.stat().st_size <= packed.size
    found = mapped(path, start, len(values) if count is None else count)
    path.unlink()
    return found


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_arrives_as_it_was(name: str, tmp_path: Path) -> None:
    array = ARRAYS[name]
    (found,) = through(tmp_path / "data", array)
    assert (type(found), found.dtype, found.shape) == (np.ndarray, array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("name", sorted(ARRAYS.keys() - COPIED))
def test_a_large_array_is_the_mapped_file_itself_and_read_only(name: str, tmp_path: Path) -> None:
    (found,) = through(tmp_path / "data", ARRAYS[name])
    assert not found.flags.writeable
    assert not found.flags.owndata
    assert type(found.base).__name__ == "mmap"
    assert found.flags.aligned == ARRAYS[name].flags.aligned
    with pytest.raises(ValueError, match="read-only"):
        found[0] = found[1]


def test_what_shares_memory_shares_it_in_the_file(tmp_path: Path) -> None:
    tokens = np.arange(MANY, dtype=np.int32)
    inputs, targets = tokens[:-1], tokens[1:]
    packed = pack(inputs, targets, {"all": tokens})
    assert packed.size < 1.1 * tokens.nbytes
    own, goals, all_of = through(tmp_path / "data", inputs, targets, {"all": tokens})
    assert np.shares_memory(own, goals)
    assert np.shares_memory(own, all_of["all"])
    np.testing.assert_array_equal(own[1:], goals[:-1])
    np.testing.assert_array_equal(all_of["all"], tokens)


def test_arrays_stay_aligned_behind_others_of_odd_sizes(tmp_path: Path) -> None:
    odd = [np.full(SMALL + i, i, np.uint8) for i in (1, 3, 5)]
    numbers = np.arange(float(MANY))
    found = through(tmp_path / "data", odd[0], numbers, odd[1], numbers[:-5].copy()[3:], odd[2])
    for array, expected in zip(
        found, (odd[0], numbers, odd[1], numbers[3:-5], odd[2]), strict=True
    ):
        np.testing.assert_array_equal(array, expected)
    assert found[1].ctypes.data % ALIGNED == 0
    assert found[3].ctypes.data % ALIGNED == 3 * 8


def test_small_arrays_are_copied_with_the_rest(tmp_path: Path) -> None:
    prompts = [np.arange(i) for i in range(100)]
    assert pack(prompts).stretches == []
    (found,) = through(tmp_path / "data", prompts)
    for array, expected in zip(found, prompts, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_only_the_bytes_that_are_referred_to_are_written(tmp_path: Path) -> None:
    table = np.arange(100 * MANY, dtype=np.float64)
    part = table[50 * MANY + 1 : 52 * MANY]
    assert pack(part).size < 1.1 * part.nbytes
    (found,) = through(tmp_path / "data", part)
    np.testing.assert_array_equal(found, part)


def test_one_array_in_two_places_stays_one(tmp_path: Path) -> None:
    table = np.arange(MANY)
    first, second = through(tmp_path / "data", (table, [table]), {"again": table})
    assert first[0] is first[1][0] is second["again"]


def test_a_reader_may_leave_out_the_last_values(tmp_path: Path) -> None:
    day = datetime.date(2024, 2, 29)
    assert through(tmp_path / "data", {"day": day}, [1, 2], count=1) == [{"day": day}]


def stored(file: Path) -> np.memmap:
    np.save(file, np.arange(3.0 * MANY).reshape(MANY, 3))
    found = np.lib.format.open_memmap(file, mode="r")
    assert isinstance(found, np.memmap)
    return found


def test_an_array_mapped_from_a_file_is_mapped_again_from_there(tmp_path: Path) -> None:
    array = stored(tmp_path / "array.npy")
    for part in (array, array[5:], array[1:][:-5], np.asarray(array)[7:]):
        assert pack(part).size < SMALL
        (found,) = through(tmp_path / "data", part)
        assert isinstance(found, np.memmap)
        assert found.filename == array.filename == tmp_path / "array.npy"
        assert not found.flags.writeable
        np.testing.assert_array_equal(found, part)


def test_columns_of_an_array_mapped_from_a_file_arrive_too(tmp_path: Path) -> None:
    array = stored(tmp_path / "array.npy")
    (found,) = through(tmp_path / "data", array[:, 1:])
    np.testing.assert_array_equal(found, array[:, 1:])


def test_a_copy_of_a_mapped_array_belongs_to_no_file(tmp_path: Path) -> None:
    array = stored(tmp_path / "array.npy")
    changed = array + 1
    (found,) = through(tmp_path / "data", changed)
    np.testing.assert_array_equal(found, changed)


def test_what_cannot_be_pickled_is_refused() -> None:
    with pytest.raises((AttributeError, pickle.PicklingError), match="local"):
        pack(np.zeros(MANY), lambda: 1)
