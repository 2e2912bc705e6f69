"""Differences of traces: each is found and named exactly, and how it grew is told."""

import itertools

import numpy as np
import pytest

from shared.parity.comparison import PROVED, Comparison, Diverged, compare
from shared.parity.deviation import SMALLEST_LOSS
from shared.protocol.trace import PHASES_OF_A_RUN, Trace, phase_of
from tests.support.compared_traces import changed, compared
from tests.support.pairwise import slow_but

AT = 1
"""The step that is changed, from 0: neither the first nor the last."""


def scale_of(name: str, array: np.ndarray) -> float:
    """What a deviation in one step's tensor is measured against; 1 where there are only zeros."""
    largest = float(np.abs(array).max())
    return max(largest, SMALLEST_LOSS) if name == "loss/loss" else largest or 1.0


def elements(trace: Trace) -> list[tuple[str, tuple[int, ...]]]:
    """Of every tensor some element of one step."""
    rng = np.random.default_rng(0)
    places = []
    for name, array in trace.items():
        assert array[AT].size, name
        places.append((name, (AT, *map(int, rng.integers(array.shape[1:])))))
    return places


# What differs is named ----------------------------------------------------------------------------


def test_an_element_of_any_tensor_that_differs_is_named(trace: Trace) -> None:
    assert {phase_of(name) for name in trace} == set(PHASES_OF_A_RUN)
    for name, place in elements(trace):
        array = trace[name]
        if array.dtype.kind == "i":
            value = array[place] + 1
        else:
            value = array[place] + 3e-9 * scale_of(name, array[AT])
        other = changed(trace, name, place, value)
        for first, second in ((trace, other), (other, trace)):
            comparison = compared(first, second)
            found = comparison.difference
            assert found is not None, name
            assert (found.step, found.name, found.index) == (11 + AT, name, place[1:])
            assert (found.phase, found.tensor) == tuple(name.split("/", 1))
            assert found.first == first[name][place]
            assert found.second == second[name][place]
            absolute = abs(float(first[name][place]) - float(second[name][place]))
            scale = scale_of(name, np.maximum(abs(array[AT]), abs(other[name][AT])))
            assert found.absolute == absolute
            # Integers differ or do not: one that differs deviates by all that there is.
            relative = 1.0 if array.dtype.kind == "i" else absolute / scale
            assert found.relative == pytest.approx(relative), name
            assert (found.elements, found.size) == (1, array[AT].size)
            between = absolute if array.dtype.kind == "i" else numbers_between(first, second, name)
            assert found.ulps == between, name
            assert not comparison.equal
            element = name + (str(list(place[1:])) if place[1:] else "")
            assert found.place == element
            values = f"jax {found.first!r}, torch {found.second!r}"
            start = f"first difference at step {11 + AT}: {element}: {values} (absolute "
            assert comparison.sentence.startswith(start)
            with pytest.raises(Diverged) as caught:
                comparison.check()
            assert str(caught.value) == comparison.sentence


def numbers_between(first: Trace, second: Trace, name: str) -> int:
    """By the definition of float64's bits, where sign and magnitude stand apart."""
    ranks = []
    for array in (first[name], second[name]):
        (value,) = array[array != (second if array is first[name] else first)[name]]
        magnitude = int(np.abs(value).view(np.int64))
        ranks.append(-magnitude if value < 0 else magnitude)
    return abs(ranks[0] - ranks[1])


def test_an_element_within_the_tolerance_is_no_difference(trace: Trace) -> None:
    """And is reported as the deviation that it is."""
    for name, place in elements(trace):
        array = trace[name]
        if array.dtype.kind == "i" or not array[AT].any():
            continue  # an integer, or a zero's tensor, has no other value that is near
        scale = scale_of(name, array[AT])
        comparison = compared(trace, changed(trace, name, place, array[place] + 3e-10 * scale))
        comparison.check()
        assert comparison.equal, name
        assert comparison.largest == (pytest.approx(3e-10, rel=1e-5), name, 11 + AT)
        assert comparison.deviations[name] == [0, pytest.approx(3e-10, rel=1e-5), 0]
        assert "(largest deviation 3.0e-10, " + name in comparison.sentence


def test_the_first_of_several_differences_is_named_by_step_and_then_by_phase(
    trace: Trace,
) -> None:
    names = list(trace)
    for k, name in enumerate(names):
        if trace[name].dtype.kind == "i":
            continue
        # Every later tensor differs at this step, and every tensor at the next.
        other = {key: array.copy() for key, array in trace.items()}
        for later in names[k:]:
            other[later][AT] += 1
        for any_name in names:
            other[any_name][AT + 1] += 1
        found = compared(trace, other).difference
        assert found is not None
        assert (found.step, found.name) == (11 + AT, name)
        assert found.elements == found.size


def test_the_first_element_is_named_and_all_are_counted() -> None:
    first, second = np.zeros((2, 3, 4)), np.zeros((2, 3, 4))
    for place in ((1, 2, 3), (1, 0, 2), (1, 1, 1)):
        second[place] = 1.0
    comparison = compare([{"layers/h": a} for a in first], [{"layers/h": a} for a in second])
    found = comparison.difference
    assert found is not None
    assert (found.step, found.index, found.elements, found.size) == (2, (0, 2), 3, 12)
    assert comparison.sentence.endswith("; 3 of 12 elements differ")


def test_a_difference_stays_the_first_when_more_steps_come() -> None:
    comparison = Comparison("jax", "torch")
    for step in range(1, 6):
        other = {"a": np.full(1, 1.0 + (step > 3)), "b": np.full(1, 1.0 + (step > 2))}
        comparison.add(step, {"a": np.ones(1), "b": np.ones(1)}, other)
    assert comparison.difference is not None
    assert (comparison.difference.step, comparison.difference.name) == (3, "b")
    assert comparison.steps == [1, 2, 3, 4, 5]
    assert comparison.deviations == {"a": [0, 0, 0, 0.5, 0.5], "b": [0, 0, 0.5, 0.5, 0.5]}


@pytest.mark.parametrize(
    ("bad", "side"),
    slow_but(
        itertools.product([np.nan, np.inf, -np.inf], ["first", "second", "both"]),
        [(np.nan, "first"), (np.inf, "second"), (-np.inf, "both")],
    ),
)
def test_a_number_that_is_not_finite_is_a_difference(trace: Trace, bad: float, side: str) -> None:
    """Also where both programs have it: two that fail in one way have not been shown equal."""
    for name, place in elements(trace):
        if trace[name].dtype.kind == "i":
            continue
        other = changed(trace, name, place, bad)
        first = trace if side == "second" else other
        second = trace if side == "first" else other
        # However large the tolerance.
        comparison = compared(first, second, 0.999)
        found = comparison.difference
        assert found is not None, name
        assert (found.step, found.name, found.index) == (11 + AT, name, place[1:])
        assert found.elements == 1
        assert found.ulps is None
        assert np.isnan([found.absolute, found.relative]).all()
        where = {"first": "jax", "second": "torch"}.get(side, "both")
        assert f"(not finite in {where})" in comparison.sentence
        assert comparison.deviations[name][AT] == np.inf
        with pytest.raises(Diverged, match=f"step {11 + AT}: {name}"):
            comparison.check()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_beside_a_number_that_is_not_finite_others_are_judged_as_before(bad: float) -> None:
    """Infinity would make every error small beside it, and NaN would make none of them so."""
    rounding = compare([{"a": np.array([1e6, bad])}], [{"a": np.array([1e6 + 1e-6, bad])}])
    assert rounding.difference is not None
    assert (rounding.difference.index, rounding.difference.elements) == ((1,), 1)
    real = compare([{"a": np.array([1.0, bad])}], [{"a": np.array([2.0, bad])}])
    assert real.difference is not None
    assert (real.difference.index, real.difference.elements) == ((0,), 2)
    assert real.difference.relative == 0.5


def test_equal_steps_are_reported_in_one_sentence() -> None:
    steps = [{"loss/loss": np.array(0.5), "weights/w": np.zeros((0, 3))}] * 2
    assert compare(steps, steps).sentence == (
        "equal within 1e-09: 2 steps, 2 tensors each (largest deviation 0.0e+00)"
    )
    assert compare(steps[:1], steps[:1]).sentence.startswith("equal within 1e-09: 1 step, ")


def test_generators_are_compared_as_they_come() -> None:
    """No trace of a whole run has to fit into memory."""
    alive = []

    def traces(moved: float):
        for step in range(1, 5):
            alive.append(step)
            yield {"a": np.array([float(step + (moved if step == 3 else 0))])}

    comparison = compare(traces(0), traces(1e-3), tolerance=1e-6)
    assert comparison.difference is not None
    assert comparison.difference.step == 3
    assert alive == [1, 1, 2, 2, 3, 3, 4, 4]


# How a deviation grew -----------------------------------------------------------------------------


def grown(steps: int, limit: float = PROVED) -> Comparison:
    """From step 1 on a deviation that doubles at every step, b's twice as large as a's from the
    fourth on."""
    comparison = Comparison("jax", "torch", limit)
    for step in range(1, steps + 1):
        error = 2.0**step * 1e-15
        other = {"a": np.array([1 - error]), "b": np.array([1 - error * (2 if step > 3 else 0.5)])}
        comparison.add(step, {"a": np.ones(1), "b": np.ones(1)}, other)
    return comparison


def test_growth_ends_at_the_first_difference_and_comes_closer_to_it() -> None:
    comparison = grown(60, limit=1e-3)
    assert comparison.difference is not None
    assert comparison.difference.step == 39  # 2 · 2³⁹ · 1e-15 = 1.1e-3
    steps = [step for step, _, _ in comparison.growth]
    assert steps == [1, 8, 24, 32, 36, 38, 39]
    for step, deviation, name in comparison.growth:
        assert name == ("b" if step > 3 else "a")
        expected = 2.0**step * 1e-15 * (2 if step > 3 else 1)
        assert deviation == pytest.approx(expected, rel=1e-1)


def test_growth_without_a_difference_ends_at_the_last_step() -> None:
    steps = [step for step, _, _ in grown(20, limit=0.9).growth]
    assert steps == [1, 5, 13, 17, 19, 20]


# What is said beside the verdict ------------------------------------------------------------------


def test_real_steps_have_nothing_to_tell_of(trace: Trace) -> None:
    moved = {
        name: array * (1 + 1e-13) if array.dtype.kind == "f" else array
        for name, array in trace.items()
    }
    comparison = compared(trace, moved)
    assert comparison.equal
    assert comparison.notes == []


def test_phases_that_no_one_knows_are_told_of() -> None:
    """A misspelt one would be compared last, and a difference in it found late."""
    trace = {"grads/w": np.ones(2), "weights/w": np.ones(2), "w": np.ones(2)}
    assert compare([trace], [trace]).notes == ["compared after the known phases: grads, w"]


def test_a_moment_that_comes_later_counts_from_then_on() -> None:
    one = {"loss/loss": np.array(1.0)}
    sides = (
        [one, one | {"moments/exp_avg.w": np.array([1.0 + error, 2.0])}] for error in (0.0, 4e-10)
    )
    comparison = compare(*sides)
    assert comparison.equal
    deviation, name, step = comparison.largest
    assert (name, step) == ("moments/exp_avg.w", 2)
    assert 1e-10 < deviation < 3e-10
    assert [row[0] for row in comparison.growth] == [1, 2]
