"""How an element's error is measured, and what is told of one that only larger ones make equal."""

from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pytest
import torch

from shared.parity.comparison import Comparison, compare
from shared.parity.deviation import SMALLEST_LOSS

FLOATS = ("float16", "bfloat16", "float32", "float64")


@pytest.fixture
def subnormal() -> Iterator[None]:
    """Subnormal numbers are numbers, as in a process that only compares: the PyTorch backend makes
    them count as zero, in NumPy too."""
    flushed = np.float32(1e-40) * np.float32(1) == 0
    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(bool(flushed))


def dtype_of(name: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def difference(first: np.ndarray, second: np.ndarray, tolerance: float = 0.0):
    found = compare([{"a": first}], [{"a": second}], tolerance=tolerance).difference
    assert found is not None
    return found


def test_an_element_that_cancelled_is_judged_by_its_tensors_magnitude() -> None:
    first, second = np.array([1000.0, 1e-9]), np.array([1000.0, -1e-9])
    assert compare([{"a": first}], [{"a": second}]).equal
    assert not compare([{"a": first[1:]}], [{"a": second[1:]}]).equal
    # By the largest of both sides and of this step alone.
    assert compare([{"a": second[:1] * 0}], [{"a": first[:1]}]).largest[0] == 1.0
    two = [np.array([1e6, 1e6]), np.array([1.0, 1.0])], [np.array([1e6, 1e6]), np.array([1.0, 1.1])]
    comparison = Comparison("first", "second")
    comparison.add(1, {"a": np.stack(two[0])}, {"a": np.stack(two[1])})
    assert comparison.deviations["a"] == [0, pytest.approx(0.1 / 1.1)]


def test_the_smallest_loss_is_what_smaller_ones_are_judged_by() -> None:
    """Of the loss, and of nothing else."""
    small = SMALLEST_LOSS / 100
    for name, deviation in (("loss/loss", 0.01 * 1e-4), ("loss/metric", 1e-4), ("loss", 1e-4)):
        comparison = compare([{name: np.array(small)}], [{name: np.array(small * (1 - 1e-4))}])
        assert comparison.largest[0] == pytest.approx(deviation)
    large = compare([{"loss/loss": np.array(2.0)}], [{"loss/loss": np.array(1.0)}])
    assert large.largest[0] == 0.5


def test_the_tolerance_itself_is_within() -> None:
    first, second = np.array([1.0]), np.array([0.75])
    assert compare([{"a": first}], [{"a": second}], tolerance=0.25).equal
    assert not compare([{"a": first}], [{"a": second}], tolerance=np.nextafter(0.25, 0)).equal


@pytest.mark.usefixtures("subnormal")
@pytest.mark.parametrize("kind", FLOATS)
def test_without_tolerance_only_the_same_numbers_are_equal(kind: str) -> None:
    """0.0 and -0.0 are one number in two ways of writing it: they count as equal."""
    dtype = dtype_of(kind)
    first = np.array([1.0, -0.0, 0.0, 0.25], dtype)
    same = np.array([1.0, 0.0, -0.0, 0.25], dtype)
    assert compare([{"a": first}], [{"a": same}], tolerance=0.0).equal
    for index, towards in ((0, 2), (0, -2), (1, 1), (3, 1)):
        other = same.copy()
        other[index] = np.nextafter(other[index], dtype.type(towards))
        found = difference(first, other)
        assert (found.index, found.ulps, found.elements) == ((index,), 1, 1)


@pytest.mark.usefixtures("subnormal")
@pytest.mark.parametrize("kind", FLOATS)
def test_ulps_are_the_numbers_from_one_to_the_other(kind: str) -> None:
    """Counted one by one with nextafter: across zero, across a power of two, down among the
    subnormal numbers."""
    dtype = dtype_of(kind)
    one, tiny = dtype.type(1), np.nextafter(dtype.type(0), dtype.type(1))
    for start, towards, steps in (
        (one, 2, 5), (one, 0, 5), (-one, 0, 3), (-tiny, 1, 2), (tiny, -1, 7), (dtype.type(0), 1, 3),
        (dtype.type(-0.0), 1, 3), (dtype.type(-0.0), -1, 4),
    ):  # fmt: skip
        value = start
        for count in range(1, steps + 1):
            value = np.nextafter(value, dtype.type(towards))
            if value == start:
                continue
            found = difference(np.array([start]), np.array([value]))
            assert found.ulps == count, (start, towards)
            assert difference(np.array([value]), np.array([start])).ulps == count
    found = difference(np.array([-one]), np.array([one]))
    below_one = int(np.array(one).view(f"u{dtype.itemsize}"))  # numbers from 0 to 1
    assert found.ulps == 2 * below_one


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "int64", "uint64"])
def test_integers_differ_if_they_are_not_the_same(kind: str) -> None:
    """However large they are, and also where the next float64 is the same."""
    largest = np.iinfo(kind).max
    first, second = np.array([3, largest], kind), np.array([3, largest - 2], kind)
    found = difference(first, second, tolerance=0.5)
    assert (found.index, found.ulps, found.absolute, found.elements) == ((1,), 2, 2, 1)
    assert (found.first, found.second) == (largest, largest - 2)
    assert compare([{"a": first}], [{"a": first.copy()}], tolerance=0.0).equal


def test_integers_are_shown_as_integers() -> None:
    comparison = compare([{"inputs/targets": np.array([7])}], [{"inputs/targets": np.array([8])}])
    assert ": first 7, second 8 (" in comparison.sentence


def test_booleans_can_be_compared() -> None:
    yes, no = np.array([True, True]), np.array([True, False])
    assert compare([{"a": yes}], [{"a": yes.copy()}]).equal
    assert difference(yes, no).index == (1,)


def test_a_gradient_that_is_only_rounding_is_judged_by_the_others() -> None:
    """Zero in mathematics, such as a bias before a normalisation: 7e-18 here and 6e-18 there."""
    first = {"gradients/a": np.array([0.3, 0.1]), "gradients/b": np.array([7e-18])}
    second = first | {"gradients/b": np.array([6e-18])}
    compare([first], [second]).check()
    assert not compare([first], [second]).notes
    small = first | {"gradients/b": np.array([6e-13])}
    assert compare([first], [small], tolerance=1e-3).notes  # more than rounding
    wrong = first | {"gradients/b": np.array([1e-13])}  # far above the rounding of 0.3
    assert compare([first], [wrong]).difference is not None


@pytest.mark.parametrize("phase", ["weights", "layers", "logits"])
def test_only_gradients_and_moments_are_judged_by_others(phase: str) -> None:
    first = {f"{phase}/a": np.array([0.3, 0.1]), f"{phase}/b": np.array([7e-18])}
    second = first | {f"{phase}/b": np.array([6e-18])}
    assert compare([first], [second]).difference is not None


def test_moments_are_judged_by_those_of_their_kind() -> None:
    first = {"moments/exp_avg.a": np.array([0.3]), "moments/exp_avg_sq.a": np.array([1e-9])}
    second = first | {"moments/exp_avg_sq.a": np.array([1.1e-9])}
    assert compare([first], [second]).difference is not None


def test_elements_that_differ_beside_much_larger_ones_are_told_of() -> None:
    """They count as equal, but nobody has shown that they are."""
    first = {"weights/w": np.array([[1e12, 0.5], [0.25, 2e12]])}
    second = {"weights/w": np.array([[1e12, 0.7], [0.25, 2e12]])}
    comparison = compare([first, second, first], [first, first, second], names=("jax", "torch"))
    assert comparison.equal
    (note,) = comparison.notes
    assert note == (
        "2 elements differ by more than 0.1% of themselves and count as equal only beside larger "
        "ones: first weights/w[0, 1] at step 2, jax 0.7, torch 0.5 (largest of the tensor 2.0e+12)"
    )
    alone = compare([first], [second])
    assert alone.notes[0].startswith("1 element differs by more than 0.1% of itself")
    assert " itself and counts as equal only beside larger ones: weights/w[0, 1]" in alone.notes[0]


def test_what_is_a_difference_is_not_told_of_again() -> None:
    first, second = {"a": np.array([1e12, 0.5, 3.0])}, {"a": np.array([1.1e12, 0.5005, 3.0])}
    assert compare([first], [second]).difference is not None
    (note,) = compare([first], [second]).notes
    assert note == "compared after the known phases: a"
