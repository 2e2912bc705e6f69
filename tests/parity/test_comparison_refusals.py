"""Traces that cannot be compared are refused, with what one of them lacks or has otherwise."""

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.parity.comparison import Comparison, compare
from shared.protocol.trace import Trace
from tests.support.compared_traces import compared
from tests.support.traces import refused


def test_tensors_that_one_side_lacks_are_named(trace: Trace) -> None:
    for name in trace:
        fewer = {key: array for key, array in trace.items() if key != name}
        refused(lambda o=fewer: compared(trace, o), f"step 11: {name}: jax has it, torch has not")
        refused(lambda o=fewer: compared(o, trace), f"step 11: {name}: torch has it, jax has not")


def test_other_shapes_dtypes_and_numbers_of_steps_are_named(trace: Trace) -> None:
    for name, array in trace.items():
        others = {
            "shape": np.concatenate([array[..., None]] * 2, -1),
            "dtype": array.astype("float32" if array.dtype == "float64" else "int64"),
            "number of steps": array[:-1],
        }
        for what, other in others.items():
            for sides in ((trace, trace | {name: other}), (trace | {name: other}, trace)):
                refused(lambda s=sides: compared(*s), f"step 11: {name}: expected one {what}, got ")


def test_a_shape_that_numpy_would_stretch_is_another_shape() -> None:
    for first, second in ((np.ones((3, 1)), np.ones((3, 4))), (np.ones(1), np.array(1.0))):
        refused(lambda a=first, b=second: compare([{"a": a}], [{"a": b}]), "a: expected one shape")


def test_tensors_of_one_trace_have_the_same_steps() -> None:
    """Both sides alike, so that they fit one another."""
    odd = {"a": np.zeros((2, 3)), "b": np.zeros((3, 3))}
    refused(lambda: Comparison("x", "y").add(1, odd, dict(odd)), "step 1: b: ", "2", "3")


def test_a_tensor_that_comes_or_goes_at_a_later_step_is_named() -> None:
    one, two = {"a": np.ones(2)}, {"a": np.ones(2), "b/c": np.ones(2)}
    refused(lambda: compare([two, one], [two, one]), "step 2: b/c: ")
    refused(lambda: compare([one, two], [one, two]), "step 2: b/c: ")


def test_nothing_to_compare_is_never_equal() -> None:
    empty = Comparison("jax", "torch")
    assert not empty.equal
    assert empty.growth == []
    assert "no steps" in empty.sentence
    refused(empty.check, "jax, torch", "none")
    refused(lambda: compare([], []), "first, second", "none")
    refused(lambda: compare([{}], [{}]), "step 1", "none")
    refused(lambda: empty.add(1, {"a": np.zeros((0, 2))}, {"a": np.zeros((0, 2))}), "step 1: a")
    assert not empty.equal


@pytest.mark.parametrize("values", [np.array([1 + 2j]), np.array(["x"]), np.array([None])])
def test_only_real_numbers_can_be_compared(values: np.ndarray) -> None:
    """Of complex numbers, the imaginary parts would be left out of it."""
    traces = [{"layers/0.outputs": values}]
    message = f"step 1: layers/0.outputs: expected real numbers, got {values.dtype}"
    refused(lambda: compare(traces, traces), message)


def test_one_side_with_more_steps_is_named() -> None:
    steps = [{"a": np.ones(1)}] * 3
    refused(
        lambda: compare(steps, steps[:2], names=("jax", "torch")),
        "torch ends after step 2, jax goes on",
    )
    refused(lambda: compare([], steps, names=("jax", "torch")), "jax ends after step 0, torch")


@pytest.mark.parametrize("tolerance", [float("nan"), -1e-9, 1.0, float("inf")])
def test_a_tolerance_that_means_nothing_is_refused(tolerance: float) -> None:
    """At 1, any two tensors of one sign would be equal."""
    with pytest.raises(InvalidInput, match=r"tolerance: expected a number in \[0, 1\), got"):
        compare([{"a": np.ones(2)}], [{"a": np.ones(2)}], tolerance=tolerance)


def test_what_is_no_trace_does_not_end_a_comparison() -> None:
    trace = {"a": np.ones(2)}
    refused(
        lambda: compare([trace, None, trace], [trace, None, trace]),  # pyright: ignore[reportArgumentType]
        "step 2: expected a trace, arrays by name, got None from first",
    )


def test_a_scalar_has_no_axis_of_steps() -> None:
    comparison = Comparison("jax", "torch")
    for first, second, side in ((np.ones(()), np.ones(1), "jax"), (np.ones(1), 1.0, "torch")):
        refused(
            lambda a=first, b=second: comparison.add(1, {"loss/loss": a}, {"loss/loss": b}),
            f"step 1: loss/loss: expected a leading axis of steps, got a scalar in {side}",
        )
