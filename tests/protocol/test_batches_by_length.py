"""Batches of sequences of similar lengths: little padding, every row once, steps that do not depend
on the call."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations, pairwise
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.inference.evaluation import evaluate, outputs
from shared.protocol import Backend, Batch, load_backend
from shared.protocol.backend import Evaluation, first_snapshot
from shared.protocol.batching import EVALUATION_ROWS_BY_LENGTH, Batches, Dropout
from shared.protocol.buckets import EVALUATION_BUCKETS, LEAST_GAIN, TRAINING_BUCKETS, bucketed
from shared.protocol.dataset import Signature, Split
from shared.system.team import ALONE
from shared.tasks import TASKS
from shared.tasks.batches import evaluation_batches, training_batches
from shared.tasks.task import Task
from shared.training import calls

CONFIG: Config = TASKS["last-value"].defaults


def uneven(rows: int, longest: int = 40, per_step: bool = False, seed: int = 0) -> Split:
    """Most sequences are short. Inputs are row + time / 100 up to a sequence's end; targets are
    the row."""
    drawn = np.random.default_rng(seed).lognormal(np.log(longest / 5), 0.8, rows)
    lengths = np.clip(drawn.round(), 2, longest).astype(np.int32)
    time = np.arange(longest)
    inputs = np.arange(rows)[:, None] + time / 100 + np.zeros((rows, longest))
    targets = np.tile(np.arange(rows, dtype=np.int32)[:, None], (1, longest))
    inputs = np.where(time < lengths[:, None], inputs, 0)[..., None].astype(np.float32)
    return Split(inputs, targets if per_step else targets[:, 0], lengths)


def batches(split: Split, **options) -> Batches:
    defaults = {
        "batch_size": 4,
        "window": None,
        "shuffle": True,
        "seed": 1,
        "dtype": "float32",
        "per_step": len(split.targets.shape) > 1,
        "by_length": True,
    }
    return Batches(split, **(defaults | options))


def epoch_of(made: Batches, epoch: int = 0, most: int = 1000) -> list[Batch[np.ndarray]]:
    """Returns the calls of an epoch."""
    begin, end = epoch * made.per_epoch, (epoch + 1) * made.per_epoch
    planned = calls.calls(begin, end, most, None, begin, made.alike)
    return [made.take(call.start, call.steps) for call in planned]


def task_of(split: Split, per_step: bool = False, by_length: bool = True) -> Task:
    signature = Signature(1, 3, False, per_step, "cross_entropy")
    return Task("made-up", signature, split, None, split, by_length=by_length)


@pytest.mark.parametrize("rows", [1, 3, 4, 10, 131, 1000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_visits_every_sequence_once_in_as_many_batches_as_without(rows, shuffle) -> None:
    split = uneven(rows)
    made = batches(split, shuffle=shuffle)
    assert made.per_epoch == batches(split, by_length=False).per_epoch == -(-rows // 4)
    for epoch in range(3):
        taken = epoch_of(made, epoch)
        assert sum(len(batch.reset) for batch in taken) == made.per_epoch
        seen = np.concatenate([batch.targets[batch.weights == 1] for batch in taken])
        assert sorted(seen) == list(range(rows))
        counts = np.concatenate([batch.weights.sum(1) for batch in taken])
        assert sorted(counts, reverse=True)[:-1] == [4] * (made.per_epoch - 1)


@pytest.mark.parametrize("per_step", [True, False])
def test_a_batch_has_the_sequences_of_the_data_as_far_as_they_reach(per_step) -> None:
    split = uneven(203, per_step=per_step)
    for batch in epoch_of(batches(split)):
        assert batch.lengths is not None
        time = batch.inputs.shape[2]
        rows = batch.targets[..., 0] if per_step else batch.targets
        assert split.lengths is not None
        np.testing.assert_array_equal(batch.lengths, split.lengths[rows])
        assert batch.lengths.max() <= time
        np.testing.assert_array_equal(batch.inputs, split.inputs[rows][:, :, :time])
        if per_step:
            assert batch.targets.shape == batch.weights.shape == batch.inputs.shape[:3]
            real = np.arange(time) < batch.lengths[..., None]
            filled = (batch.weights == 0).all(-1, keepdims=True)
            np.testing.assert_array_equal(batch.weights == 1, real & ~filled)


def test_weights_of_the_data_are_cut_with_their_steps() -> None:
    split = uneven(50, per_step=True)
    own = np.random.default_rng(2).random((50, 40)).astype(np.float32)
    for batch in epoch_of(batches(split._replace(weights=own), shuffle=False, batch_size=5)):
        time = batch.inputs.shape[2]
        expected = own[batch.targets[..., 0]][..., :time]
        real = np.arange(time) < cast(np.ndarray, batch.lengths)[..., None]
        np.testing.assert_array_equal(batch.weights, np.where(real, expected, 0))


def test_few_different_numbers_of_steps_and_little_padding() -> None:
    split = uneven(3000, longest=400)
    assert split.lengths is not None
    made, before = batches(split, batch_size=32), batches(split, batch_size=32, by_length=False)
    taken = epoch_of(made)
    times = {batch.inputs.shape[2] for batch in taken}
    assert 1 < len(times) <= TRAINING_BUCKETS
    assert max(times) == made.steps == split.lengths.max()
    # A program is compiled for each shape: the runs of a bucket have one size, but for the last.
    assert len({batch.inputs.shape for batch in taken}) <= len(times) + 1
    computed = sum(batch.weights.size * batch.inputs.shape[2] for batch in taken)
    assert made.mean_steps * made.per_epoch * 32 == computed
    assert 1 - split.lengths.sum() / computed < 0.25
    assert 1 - split.lengths.sum() / (before.steps * before.per_epoch * 32) > 0.7
    assert before.mean_steps == before.steps == 400


def test_the_cuts_are_the_best_of_all() -> None:
    """Compared with every way to cut thirteen runs of two batches in at most four buckets."""
    lengths = np.random.default_rng(4).integers(1, 200, 75)
    descending = np.sort(lengths)[::-1]

    def total(cuts: tuple[int, ...]) -> int:
        ends = (*cuts, 13)
        return sum(
            int(descending[6 * start]) * (min(2 * end, 25) - 2 * start)
            for start, end in zip((0, *cuts), ends, strict=True)
        )

    best = [min(map(total, combinations(range(1, 13), k))) for k in range(4)]
    found = bucketed(lengths, batch_size=3, run=2, most=4)
    fewest = next(k for k in range(4) if best[k] <= (1 + LEAST_GAIN) * best[-1])
    assert len(found.sizes) == fewest + 1
    assert found.steps.sum() == best[fewest]
    np.testing.assert_array_equal(lengths[found.rows], descending)


def test_sequences_of_one_length_are_one_bucket() -> None:
    split = uneven(1000)._replace(lengths=np.full(1000, 7, np.int32))
    made = batches(split)
    assert made.alike(0, 100) == 100
    assert {batch.inputs.shape[2] for batch in epoch_of(made)} == {7}


@pytest.mark.parametrize("dropout", [None, Dropout(0.5, 2, 3)])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_step_does_not_depend_on_the_call_it_is_taken_in(dropout, batch_size) -> None:
    made = batches(uneven(300), dropout=dropout, batch_size=batch_size)
    start = 0
    while start < 2 * made.per_epoch:
        count = made.alike(start, 1000)
        whole = made.take(start, count)
        for i in range(count):
            for name, part in made.take(start + i, 1)._asdict().items():
                if part is not None:
                    np.testing.assert_array_equal(part[0], getattr(whole, name)[i])
        start += count
    assert start == 2 * made.per_epoch


def test_steps_of_different_lengths_are_not_taken_at_once() -> None:
    made = batches(uneven(100), shuffle=False)
    count = made.alike(0, 1000)
    with pytest.raises(ValueError, match=r"steps 0 to 24: expected batches of one number of time"):
        made.take(0, 25)
    assert len(made.take(0, count).reset) == count


def test_batches_by_length_need_lengths_and_no_window() -> None:
    split = uneven(10, per_step=True)
    for wrong in (batches(split, by_length=False, window=3), batches(split, by_length=False)):
        own = split if wrong.window else split._replace(lengths=None)
        with pytest.raises(ValueError, match="expected sequences with lengths, and no window"):
            replace(wrong, split=own, by_length=True)


def test_the_order_differs_by_epoch_and_seed_and_nothing_else() -> None:
    split = uneven(400)

    def rows(epoch: int = 0, **options) -> list[int]:
        return np.concatenate(
            [call.targets.ravel() for call in epoch_of(batches(split, **options), epoch)]
        ).tolist()

    assert rows() == rows()
    assert rows() != rows(seed=2)
    assert rows() != rows(epoch=1)
    assert rows(shuffle=False) == rows(shuffle=False, epoch=1)


def test_long_and_short_batches_alternate_in_an_epoch() -> None:
    made = batches(uneven(2000))
    first, second = ([call.inputs.shape[2] for call in epoch_of(made, i)] for i in range(2))
    assert first != second
    for times in (first, second):
        assert len(times) >= 32
        assert sum(a != b for a, b in pairwise(times)) > len(times) / 2


def test_all_seeds_have_batches_of_the_same_shapes() -> None:
    """So that several seeds can be trained in one program."""
    split = uneven(500)
    shapes = [
        [batch.inputs.shape for batch in epoch_of(batches(split, seed=seed), 3)]
        for seed in (0, 1, 2**40)
    ]
    assert shapes[0] == shapes[1] == shapes[2]


@pytest.mark.parametrize("every", [None, 1, 3, 7])
@pytest.mark.parametrize("most", [1, 2, 100])
def test_a_resumed_run_has_the_calls_that_are_left(most: int, every: int | None) -> None:
    made = batches(uneven(250))
    begin, end = 2 * made.per_epoch, 4 * made.per_epoch
    whole = [*calls.calls(begin, end, most, every, begin, made.alike)]
    assert [step for call in whole for step in range(call.start, call.end)] == [*range(begin, end)]
    for i, call in enumerate(whole):
        assert made.alike(call.start, call.steps) == call.steps
        assert [*calls.calls(begin, end, most, every, call.start, made.alike)] == whole[i:]


def test_a_task_asks_for_batches_by_length() -> None:
    split = uneven(300)
    config = replace(CONFIG, batch_size=8)
    task, plain = task_of(split), task_of(split, by_length=False)
    assert training_batches(config, task).by_length
    assert not training_batches(config, plain).by_length
    assert not training_batches(config, task_of(split._replace(lengths=None))).by_length
    made = evaluation_batches(config, task, split)
    assert made.buckets is not None
    assert made.batch_size == EVALUATION_ROWS_BY_LENGTH
    assert evaluation_batches(config, plain, split).batch_size == 300
    assert len(made.buckets.sizes) <= EVALUATION_BUCKETS


@pytest.mark.parametrize("rows", [1, 5, 128, 129, 3000])
def test_evaluation_counts_every_sequence_once(rows: int) -> None:
    split = uneven(rows)
    seen: list[int] = []

    class Recorder:
        team = ALONE

        def evaluate(self, state: object, stacked: Iterable[Batch[np.ndarray]]) -> Evaluation:
            for batch in stacked:
                seen.extend(batch.targets[batch.weights == 1])
            return Evaluation(0.0, 0.0)

    evaluate(CONFIG, task_of(split), cast(Backend, Recorder()), None, split)
    assert sorted(seen) == list(range(rows))


@pytest.mark.parametrize("rows", [1, 127, 300])
@pytest.mark.parametrize("per_step", [True, False])
def test_outputs_stand_in_the_order_of_the_sequences(rows: int, per_step: bool) -> None:
    """A backend that answers with the class row % 3, at every step or once."""
    split = uneven(rows, per_step=per_step)
    shapes = set()

    def predict(_state, inputs: np.ndarray, lengths: np.ndarray):
        shapes.add(inputs.shape)
        assert lengths.max() <= inputs.shape[1]
        answer = np.eye(3)[inputs[..., 0].astype(int) % 3]
        return answer if per_step else answer[:, 0], ()

    backend = cast(Any, SimpleNamespace(predict=predict))
    task = task_of(split, per_step)
    found = outputs(task, backend, None, split.inputs, split.lengths)
    assert found.shape == split.targets.shape
    assert split.lengths is not None
    counts = np.arange(40) < split.lengths[:, None] if per_step else np.ones(rows, bool)
    np.testing.assert_array_equal(found[counts], split.targets[counts] % 3)
    assert len(shapes) <= EVALUATION_BUCKETS
    values = outputs(task, backend, None, split.inputs, split.lengths, raw=True)
    np.testing.assert_array_equal(values[counts].argmax(-1), split.targets[counts] % 3)


@pytest.mark.parametrize("backend", [pytest.param("jax", marks=pytest.mark.slow), "torch"])
def test_scores_and_outputs_are_those_of_batches_in_reading_order(backend: str) -> None:
    split = uneven(150, longest=20)
    split = split._replace(targets=cast(np.ndarray, split.targets) % 3)
    network = replace(CONFIG.network, cell="gru", hidden_size=4, bidirectional=True)
    config = resolve(replace(CONFIG, backend=backend, precision="float64", network=network))
    task, plain = task_of(split), task_of(split, by_length=False)
    loaded = load_backend(config, task.signature)
    state = loaded.init(first_snapshot(config, task.signature))
    scores = [evaluate(config, own, loaded, state, split) for own in (task, plain)]
    np.testing.assert_allclose(*scores, rtol=1e-12)
    found, expected = (
        outputs(own, loaded, state, split.inputs, split.lengths, raw=True) for own in (task, plain)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
