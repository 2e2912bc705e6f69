"""The parts of a batch, one for each process, are together the whole batch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol import Batch
from shared.protocol.batching import Batches, Dropout
from shared.protocol.dataset import Split
from shared.protocol.row_parts import own_rows, part_of_rows
from shared.system.team import Team
from tests.support.fuzz import fuzz

LONGEST = 7


@st.composite
def whole(draw: st.DrawFn) -> Batches:
    """Batches of any kind: shuffled, read in windows, by length, with weights, with masks."""
    rows, per_step = draw(st.integers(1, 14)), draw(st.booleans())
    numbers = np.random.default_rng(draw(st.integers(0, 9)))
    lengths = weights = None
    if ragged := draw(st.booleans()):
        lengths = numbers.integers(1, LONGEST + 1, rows).astype(np.int32)
    window = draw(st.sampled_from((None, 3))) if per_step and not ragged else None
    shape = (rows, LONGEST) if per_step else (rows,)
    if window is None and draw(st.booleans()):
        weights = numbers.uniform(0.5, 2, shape)
    split = Split(
        numbers.standard_normal((rows, LONGEST, 2)),
        numbers.integers(0, 5, shape).astype(np.int32),
        lengths,
        weights,
    )
    return Batches(
        split,
        batch_size=draw(st.integers(1, rows)),
        window=window,
        shuffle=draw(st.booleans()),
        seed=draw(st.integers(0, 3)),
        dtype="float64",
        per_step=per_step,
        dropout=Dropout(0.4, 2, 3) if draw(st.booleans()) else None,
        by_length=ragged and draw(st.booleans()),
    )


def part(batches: Batches, number: int, parts: int) -> Batches:
    """Returns the batches of one process, as they would be made for it."""
    return replace(batches, part=number, parts=parts)


def joined(parts: list[Batch[np.ndarray]]) -> Batch[np.ndarray]:
    """Returns the batch whose rows are those of the parts, one after the other."""
    axes = {"inputs": 1, "targets": 1, "weights": 1, "masks": 2, "lengths": 1}
    whole: dict[str, Any] = parts[0]._asdict()
    for name, axis in axes.items():
        if whole[name] is not None:
            whole[name] = np.concatenate([part._asdict()[name] for part in parts], axis)
    return Batch(**whole)


def rows_of(batch: Batch[np.ndarray], rows: slice) -> Batch[np.ndarray]:
    """Returns some rows of each batch."""
    inputs, targets, weights, reset, masks, lengths = batch
    return Batch(
        inputs[:, rows],
        targets[:, rows],
        weights[:, rows],
        reset,
        None if masks is None else masks[:, :, rows],
        None if lengths is None else lengths[:, rows],
    )


def check_same(first: Batch[np.ndarray], second: Batch[np.ndarray]) -> None:
    for name, one, other in zip(Batch._fields, first, second, strict=True):
        assert (one is None) == (other is None), name
        if one is not None and other is not None:
            assert one.dtype == other.dtype, name
            np.testing.assert_array_equal(one, other, name)


@fuzz(150)
@given(batches=whole(), parts=st.integers(1, 6), start=st.integers(0, 40))
def test_the_parts_of_a_batch_are_together_the_batch(
    batches: Batches, parts: int, start: int
) -> None:
    """Of any batch, in any epoch: its rows, in their order, and none counts twice."""
    count, size = batches.alike(start, 4), batches.batch_size
    expected = batches.take(start, count)
    each = [part(batches, number, parts).take(start, count) for number in range(parts)]
    rows = {len(taken.inputs[0]) for taken in each}
    assert rows == {-(-size // parts)}
    found = joined(each)
    check_same(rows_of(found, slice(size)), expected)
    assert not found.weights[:, size:].any()
    assert found.weights.sum() == pytest.approx(expected.weights.sum(), rel=1e-12)


@fuzz(60)
@given(batches=whole(), parts=st.integers(2, 6), start=st.integers(0, 40))
def test_rows_past_the_end_of_a_batch_repeat_its_last_one(
    batches: Batches, parts: int, start: int
) -> None:
    """Real numbers, with which nothing overflows: each a row of the batch, with its length."""
    count, size = batches.alike(start, 4), batches.batch_size
    expected = batches.take(start, count)
    each = [part(batches, number, parts).take(start, count) for number in range(parts)]
    past = rows_of(joined(each), slice(size, None))
    last = rows_of(expected, slice(size - 1, size))
    assert len(past.inputs[0]) == parts * -(-size // parts) - size
    for name, found, repeated in zip(Batch._fields, past, last, strict=True):
        if found is not None and repeated is not None and name not in ("weights", "reset"):
            np.testing.assert_array_equal(found, np.broadcast_to(repeated, found.shape), name)


@fuzz(60)
@given(batches=whole(), parts=st.integers(1, 6))
def test_all_parts_have_the_same_steps_and_calls(batches: Batches, parts: int) -> None:
    """Each process takes as many steps as any other, in calls of the same length."""
    for number in range(parts):
        own = part(batches, number, parts)
        for name in ("per_epoch", "windows", "steps", "chunk", "evaluation_chunk", "mean_steps"):
            assert getattr(own, name) == getattr(batches, name), name
        assert [own.alike(i, 5) for i in range(30)] == [batches.alike(i, 5) for i in range(30)]


@pytest.mark.parametrize(
    ("rows", "parts", "expected"),
    [
        (4, 2, [[0, 1], [2, 3]]),
        (5, 2, [[0, 1, 2], [3, 4, 5]]),
        (1, 3, [[0], [1], [2]]),
        (5, 4, [[0, 1], [2, 3], [4, 5], [6, 7]]),
    ],
)
def test_parts_are_equal_and_in_order(rows: int, parts: int, expected: list[list[int]]) -> None:
    for number, places in enumerate(expected):
        assert part_of_rows(rows, number, parts).tolist() == places
        own = own_rows(rows, Team(number, parts)).tolist()
        assert own == [min(place, rows - 1) for place in places]
