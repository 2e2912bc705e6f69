"""Batches: every row once an epoch, real sizes, windows in order, and no dependence on the call."""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from shared.config import Config
from shared.config.data import GeneratedData, HelloData, TextData
from shared.inference.evaluation import evaluate
from shared.protocol import Backend, Batch
from shared.protocol.backend import Evaluation
from shared.protocol.batching import CHUNK_BYTES, Batches, Dropout
from shared.protocol.dataset import Split
from shared.system.team import ALONE
from shared.tasks import TASKS, load_task
from shared.tasks.batches import evaluation_batches, training_batches


def numbered(rows: int, length: int, per_step: bool = False) -> Split:
    """Inputs that say where they come from: row + time / 100, in both features with a sign."""
    place = np.arange(rows)[:, None] + np.arange(length) / 100
    inputs = np.stack([place, -place], axis=-1).astype(np.float32)
    targets = np.tile(np.arange(rows, dtype=np.int32)[:, None], (1, length))
    return Split(inputs, targets if per_step else targets[:, 0])


def batches(split: Split, **options) -> Batches:
    defaults = {
        "batch_size": 4,
        "window": None,
        "shuffle": True,
        "seed": 1,
        "dtype": "float32",
        "per_step": len(split.targets.shape) > 1,
    }
    return Batches(split, **(defaults | options))


def test_an_epoch_visits_every_row_once_and_the_last_batch_counts_its_real_rows() -> None:
    all_batches = batches(numbered(10, 3))
    assert all_batches.per_epoch == 3
    for epoch in range(3):
        batch = all_batches.take(3 * epoch, 3)
        assert batch.inputs.shape == (3, 4, 3, 2)
        np.testing.assert_array_equal(batch.weights.sum(1), [4, 4, 2])
        visited = batch.targets[batch.weights == 1]
        assert sorted(visited) == list(range(10))


def test_inputs_and_targets_stay_together() -> None:
    batch = batches(numbered(10, 3)).take(0, 3)
    np.testing.assert_allclose(batch.inputs[:, :, 0, 0], batch.targets)
    np.testing.assert_allclose(batch.inputs[:, :, 2, 1], -(batch.targets + 0.02), rtol=1e-6)


def test_the_order_differs_by_epoch_and_seed_and_nothing_else() -> None:
    first, again = batches(numbered(50, 2)), batches(numbered(50, 2))
    np.testing.assert_array_equal(first.take(0, 13).targets, again.take(0, 13).targets)
    other = batches(numbered(50, 2), seed=2)
    assert (first.take(0, 13).targets != other.take(0, 13).targets).any()
    assert (first.take(0, 13).targets != first.take(13, 13).targets).any()
    fixed = batches(numbered(50, 2), shuffle=False)
    np.testing.assert_array_equal(fixed.take(0, 12).targets.ravel(), np.arange(48))


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("dropout", [None, Dropout(0.5, 2, 3)])
def test_a_step_does_not_depend_on_the_call_it_is_taken_in(window, dropout) -> None:
    made = batches(numbered(10, 11, per_step=True), window=window, dropout=dropout)
    whole = made.take(0, 20)
    for start, count in ((0, 7), (7, 1), (8, 12)):
        for name, part in made.take(start, count)._asdict().items():
            if part is not None:
                np.testing.assert_array_equal(part, getattr(whole, name)[start : start + count])


def test_windows_follow_each_other_and_the_last_is_padded() -> None:
    made = batches(numbered(6, 11, per_step=True), window=4, batch_size=3)
    assert (made.steps, made.windows, made.per_epoch) == (4, 3, 6)
    batch = made.take(0, 6)
    np.testing.assert_array_equal(batch.reset, [True, False, False] * 2)
    np.testing.assert_array_equal(batch.weights.sum((1, 2)), [12, 12, 9] * 2)
    first = batch.inputs[:3, :, :, 0].transpose(1, 0, 2).reshape(3, 12)
    times = first[:, :11] - batch.targets[0, :, :1]
    np.testing.assert_allclose(times, np.tile(np.arange(11) / 100, (3, 1)), atol=1e-6)
    assert (batch.weights[2, :, 3] == 0).all()
    assert (batch.inputs[2, :, 3] == 0).all()


def spelled(words: tuple[str, ...], batch_size: int) -> tuple[Batches, tuple[str, ...]]:
    defaults = TASKS["hello"].defaults
    config = replace(defaults, data=HelloData(words), batch_size=batch_size)
    task = load_task(config)
    return training_batches(config, task), task.vocabulary


def test_words_of_several_lengths_are_padded_and_count_by_their_characters() -> None:
    """Over an epoch with a ragged last batch: three words in batches of two."""
    made, vocabulary = spelled(("hello", "oleole", "ho"), 2)
    assert (made.per_epoch, made.steps, made.batch_size) == (2, 6, 2)
    batch = made.take(0, 2)
    assert batch.lengths is not None
    assert (batch.lengths.shape, batch.lengths.dtype) == ((2, 2), np.int32)
    seen = []
    for i in range(2):
        real = 2 if i == 0 else 1
        for row in range(2):
            length = batch.lengths[i, row]
            tokens, targets = batch.inputs[i, row], batch.targets[i, row]
            word = "".join(vocabulary[token] for token in tokens[:length])
            next_ones = "".join(vocabulary[token] for token in targets[:length])
            assert len(word) == length
            assert next_ones == word[1:] + word[0]
            assert not tokens[length:].any()
            assert not targets[length:].any()
            expected = (np.arange(6) < length) * (row < real)
            np.testing.assert_array_equal(batch.weights[i, row], expected)
            if row < real:
                seen.append(word)
    assert sorted(seen) == ["hello", "ho", "oleole"]
    # What fills the last batch is a word with a length of its own, never one of no steps.
    np.testing.assert_array_equal(batch.inputs[1, 0], batch.inputs[1, 1])
    assert batch.lengths[1, 0] == batch.lengths[1, 1]
    assert batch.weights.sum() == len("hello" + "oleole" + "ho")


def test_words_of_one_length_need_no_lengths() -> None:
    made, _ = spelled(("hello", "world"), 2)
    batch = made.take(0, 1)
    assert batch.lengths is None
    assert batch.weights.all()


def test_lengths_stay_with_their_sequences() -> None:
    """Shuffled, over two epochs, at every step and at the last one."""
    lengths = np.array([3, 1, 2, 3, 2, 1, 1, 3, 2, 1], np.int32)
    for per_step in (False, True):
        made = batches(numbered(10, 3, per_step)._replace(lengths=lengths))
        batch = made.take(0, 6)
        assert batch.lengths is not None
        rows = batch.targets[..., 0] if per_step else batch.targets
        np.testing.assert_array_equal(batch.lengths, lengths[rows])
        real = np.array([4, 4, 2] * 2)[:, None] > np.arange(4)
        within = real[..., None] & (np.arange(3) < batch.lengths[..., None])
        # At the last step alone, a sequence has one target, however long it is.
        np.testing.assert_array_equal(batch.weights, within if per_step else real)


@pytest.mark.parametrize("lengths", [None, np.array([11, 3, 8, 5, 11, 1, 9, 2, 10, 4], np.int32)])
@pytest.mark.parametrize("window", [None, 4, 11])
def test_a_step_that_does_not_count_weighs_nothing_in_every_window(window, lengths) -> None:
    """Shuffled, with a ragged last batch, over two epochs."""
    counts = np.random.default_rng(4).random((10, 11)) < 0.6
    split = numbered(10, 11, per_step=True)._replace(weights=counts, lengths=lengths)
    made = batches(split, window=window)
    batch = made.take(0, 2 * made.per_epoch)
    assert batch.weights.dtype == np.float32
    within = np.arange(11) < (11 if lengths is None else lengths[:, None])
    whole = np.zeros((10, made.windows * made.steps), bool)
    whole[:, :11] = counts & within
    starts = np.tile(np.arange(made.windows) * made.steps, 2 * 3)
    seen = 0
    for step, start in enumerate(starts):
        real = 2 if step // made.windows % 3 == 2 else 4
        rows = batch.targets[step, :, 0]
        expected = whole[rows, start : start + made.steps]
        expected[real:] = False
        np.testing.assert_array_equal(batch.weights[step], expected)
        seen += expected.sum()
    assert seen == 2 * whole.sum()


def test_evaluation_has_the_lengths_in_reading_order() -> None:
    lengths = np.array([3, 1, 2], np.int32)
    split = numbered(3, 3)._replace(lengths=lengths)
    config = replace(TASKS["last-value"].defaults, data=GeneratedData(3, 3, 3, 3, 2, 1))
    task = load_task(config)
    batch = evaluation_batches(config, task, split).take(0, 1)
    assert batch.lengths is not None
    np.testing.assert_array_equal(batch.lengths, [lengths])


def test_a_window_longer_than_the_sequence_is_the_sequence() -> None:
    made = batches(numbered(4, 5, per_step=True), window=99)
    assert (made.steps, made.windows, made.per_epoch) == (5, 1, 1)


def test_dropout_masks_keep_the_mean_and_differ_by_step() -> None:
    made = batches(numbered(64, 20), batch_size=64, dropout=Dropout(0.25, 2, 32))
    masks = made.take(0, 2).masks
    assert masks is not None
    assert masks.shape == (2, 2, 64, 20, 32)
    assert set(np.unique(masks)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(masks.mean() - 1) < 0.01
    assert (masks[0] != masks[1]).any()


def test_precision_and_token_types() -> None:
    made = batches(numbered(4, 3), dtype="float64").take(0, 1)
    assert {made.inputs.dtype, made.weights.dtype} == {np.dtype("float64")}
    assert made.targets.dtype == np.int32
    tokens = Split(np.ones((4, 3), np.int32), np.ones((4, 3), np.int32))
    assert batches(tokens).take(0, 1).inputs.dtype == np.int32
    values = Split(np.ones((4, 3, 1), np.float32), np.ones((4, 2), np.float32))
    taken = batches(values, per_step=False).take(0, 1)
    assert (taken.targets.shape, taken.targets.dtype) == ((1, 4, 2), np.dtype("float32"))


def test_a_call_is_small_however_large_the_data_set(tmp_path) -> None:
    """Also from a file: rows are copied, never the whole."""
    file = np.lib.format.open_memmap(
        tmp_path / "inputs.npy", "w+", np.float32, shape=(50_000, 100, 10)
    )
    made = batches(Split(file, np.zeros(50_000, np.int32)), batch_size=64)
    batch = made.take(0, made.chunk)
    assert batch.inputs.nbytes <= CHUNK_BYTES < file.nbytes


def test_full_size_tasks_are_one_array_each() -> None:
    """100 000 sequences of 100 steps of 10 features: batches are cut from it, step by step."""
    config = TASKS["last-value"].defaults
    assert config.data == GeneratedData(100_000, 10_000, 20_000, 100, 10)
    small = replace(config, data=GeneratedData(300, 10, 10, 100, 10))
    task = load_task(small)
    assert training_batches(small, task).split.inputs is task.train.inputs


def test_batches_are_no_larger_than_the_part() -> None:
    config = replace(TASKS["last-value"].defaults, data=GeneratedData(10, 3, 5, 4, 2))
    task = load_task(config)
    assert training_batches(config, task).batch_size == 10
    assert evaluation_batches(config, task, task.test).batch_size == 5
    weights = evaluation_batches(config, task, task.test).take(0, 1).weights
    assert weights.sum() == 5


def test_row_b_of_a_text_batch_continues_row_b_of_the_one_before(tmp_path) -> None:
    text = "".join(np.random.default_rng(0).choice(list("abcdef"), 1000))
    (tmp_path / "a.txt").write_text(text)
    config: Config = replace(
        TASKS["text"].defaults,
        data=TextData(str(tmp_path / "a.txt"), (0.8, 0.1, 0.1)),
        batch_size=4,
        bptt=7,
    )
    task = load_task(config)
    made = training_batches(config, task)
    batch = made.take(0, made.per_epoch)
    streams = batch.inputs.transpose(1, 0, 2).reshape(4, -1)[:, : made.length]
    spelled = ["".join(task.vocabulary[token] for token in row) for row in streams]
    assert "".join(spelled) == text[: 4 * made.length]
    targets = batch.targets.transpose(1, 0, 2).reshape(4, -1)[:, : made.length]
    np.testing.assert_array_equal(targets[:, :-1], streams[:, 1:])
    assert targets[-1, -1] == task.vocabulary.index(text[4 * made.length])


@pytest.mark.parametrize(("rows", "batch_size"), [(1, 1), (9, 1), (10, 4), (23, 2), (5000, 64)])
def test_evaluation_counts_every_row_once_in_calls_of_one_size(rows: int, batch_size: int) -> None:
    """The last call is filled up with batches that do not count."""
    data = GeneratedData(rows, 1, 1, 3, 2)
    config = replace(TASKS["last-value"].defaults, data=data, batch_size=batch_size)
    task = load_task(config)
    sizes, seen = [], []

    class Recorder:
        team = ALONE

        def evaluate(self, state: object, stacked: Iterable[Batch[np.ndarray]]) -> Evaluation:
            for batch in stacked:
                sizes.append(len(batch.weights))
                seen.extend(batch.inputs[batch.weights == 1])
            return Evaluation(0.0, 0.0)

    evaluate(config, task, cast(Backend, Recorder()), None, task.train)
    assert len(set(sizes)) == 1
    np.testing.assert_array_equal(np.stack(seen), task.train.inputs)
