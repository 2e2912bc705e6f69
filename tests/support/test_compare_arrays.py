"""The comparing helpers raise whenever they should; every parity test rests on that."""

import numpy as np
import pytest

from tests.support.compare_arrays import check_all_close, check_close

EXPECTED = np.array([[0.5, -2.0], [3.0, 1e-3]])


def changed(index: tuple[int, int], value: float) -> np.ndarray:
    array = EXPECTED.copy()
    array[index] = value
    return array


def test_equal_and_nearly_equal_arrays_pass() -> None:
    check_close(EXPECTED.copy(), EXPECTED, relative=1e-15, what="w")
    check_close(EXPECTED * (1 + 1e-12), EXPECTED, relative=1e-11, what="w", elementwise=True)
    check_all_close({"w": EXPECTED.copy()}, {"w": EXPECTED}, relative=1e-15)


REFUSED = {
    "another shape": (EXPECTED.T[:1], "expected shape"),
    "a shape that would broadcast": (EXPECTED[:1], "expected shape"),
    "another dtype": (EXPECTED.astype(np.float32), "expected dtype float64, got float32"),
    "nan": (changed((1, 0), np.nan), r"w\[1, 0\]: actual value is nan"),
    "infinity": (changed((0, 1), np.inf), "actual value is inf"),
    "another sign": (changed((0, 0), -0.5), r"w\[0, 0\]: expected"),
    "one element off": (changed((1, 0), 3.0 + 4e-9), r"w\[1, 0\].*1 of 4 elements differ"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_check_close_raises_for(case: str) -> None:
    actual, message = REFUSED[case]
    with pytest.raises(AssertionError, match=message):
        check_close(actual, EXPECTED, relative=1e-9, what="w")


def test_small_elements_count_only_elementwise() -> None:
    actual = changed((1, 1), 1e-3 + 1e-10)
    check_close(actual, EXPECTED, relative=1e-9, what="w")
    with pytest.raises(AssertionError, match=r"w\[1, 1\]"):
        check_close(actual, EXPECTED, relative=1e-9, what="w", elementwise=True)


def test_nothing_to_compare_is_no_success() -> None:
    zeros, empty = np.zeros(3), np.zeros((0, 3))
    with pytest.raises(AssertionError, match="all zero"):
        check_close(zeros, zeros, relative=1e-9, what="w")
    check_close(zeros, zeros, relative=1e-9, what="w", allow_zero=True)
    with pytest.raises(AssertionError, match="nothing to compare"):
        check_close(empty, empty, relative=1e-9, what="w")
    both = np.array([1.0, np.nan])
    with pytest.raises(AssertionError, match="expected value is nan"):
        check_close(both, both, relative=1e-9, what="w")
    with pytest.raises(AssertionError, match="no tensors"):
        check_all_close({}, {}, relative=1e-9)


def test_names_must_be_the_same() -> None:
    with pytest.raises(AssertionError, match=r"missing: \['b'\], unexpected: \['c'\]"):
        check_all_close(
            {"a": EXPECTED, "c": EXPECTED}, {"a": EXPECTED, "b": EXPECTED}, relative=1e-9
        )


def test_the_tensor_is_named() -> None:
    with pytest.raises(AssertionError, match=r"^second\[0, 0\]"):
        check_all_close(
            {"first": EXPECTED, "second": changed((0, 0), 0.6)},
            {"first": EXPECTED, "second": EXPECTED},
            relative=1e-9,
        )


def test_float32_is_compared_in_float64() -> None:
    one = np.ones(1, np.float32)
    next_one = np.nextafter(one, np.float32(2))
    check_close(next_one, one, relative=2e-7, what="w")
    with pytest.raises(AssertionError):
        check_close(next_one, one, relative=1e-7, what="w")
