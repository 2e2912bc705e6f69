"""The task of one's own sequences: from arrays, tables and folders, for classes and numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.runs.schema import read_schema, save_schema, schema_of
from shared.system import environment
from shared.tasks import load_task, sequences
from shared.tasks.sequence_baselines import summary
from shared.tasks.task import Task
from tests.support.sequence_cases import COUNT, STEPS, config, made, same_inputs


def found_at(task: Task, arrays: dict[str, Any]) -> list[np.ndarray]:
    """Finds each part's sequences in the arrays, by their first steps."""
    scales = task.measured.feature_scales if task.measured else []
    first = np.stack(
        [(arrays["inputs"][:, 0, i] - s.mean) / s.std for i, s in enumerate(scales)], axis=1
    )
    parts = task.train, task.valid, task.test
    return [
        np.array([int(np.abs(first - one).sum(1).argmin()) for one in np.asarray(p.inputs)[:, 0]])
        for p in parts
        if p is not None
    ]


def test_arrays_are_scaled_by_the_real_steps_of_the_training_part(tmp_path: Path) -> None:
    arrays = made()
    np.savez(tmp_path / "a.npz", **arrays)
    task = load_task(config(path=(str(tmp_path / "a.npz"),)))
    assert task.signature == (2, 2, False, False, "cross_entropy")
    assert task.classes == ("false", "true")
    parts = found_at(task, arrays)
    assert sorted(np.concatenate(parts)) == list(range(COUNT))
    assert [len(part) for part in parts] == [28, 6, 6]
    assert [int(arrays["targets"][part].sum()) for part in parts] == [7, 1, 2]
    real = np.concatenate([arrays["inputs"][i, : arrays["lengths"][i]] for i in parts[0]])
    assert task.measured is not None
    for i, scale in enumerate(task.measured.feature_scales):
        assert (scale.mean, scale.std) == pytest.approx((real[:, i].mean(), real[:, i].std()))
    for part, split in zip(parts, (task.train, task.valid, task.test), strict=True):
        assert split is not None
        assert split.lengths is not None
        assert split.lengths.dtype == np.int32
        assert (split.lengths == arrays["lengths"][part]).all()
        np.testing.assert_array_equal(split.targets, arrays["targets"][part])
        assert split.weights is None
        assert split.inputs.shape == (len(part), split.lengths.max(), 2)
        for i, own in enumerate(np.asarray(split.inputs)):
            length = split.lengths[i]
            expected = (arrays["inputs"][part[i], :length] - real.mean(0)) / real.std(0)
            np.testing.assert_allclose(own[:length], expected, atol=1e-12)
            assert (own[length:] == 0).all()


def test_groups_do_not_stand_in_two_parts() -> None:
    arrays = made()
    group = np.arange(COUNT) // 4
    arrays["inputs"][:, 0, 0] = group
    task = sequences.from_arrays(config(), **arrays, group=group)
    parts = [set(group[part]) for part in found_at(task, arrays)]
    assert sum(map(len, parts)) == 10
    assert all(parts)


@pytest.mark.parametrize("per_step", [False, True])
def test_balanced_weights_count_each_class_alike_with_mean_one(per_step: bool) -> None:
    arrays = made()
    targets = np.arange(COUNT) % 4 == 0
    if per_step:
        targets = np.random.default_rng(1).random((COUNT, STEPS)) < 0.2
    task = sequences.from_arrays(
        config(class_weights="balanced", per_step=per_step), arrays["inputs"], targets,
        arrays["lengths"],
    )  # fmt: skip
    assert task.score == "balanced_accuracy"
    assert task.train.lengths is not None
    weights, own = task.train.weights, np.asarray(task.train.targets)
    assert weights is not None
    assert weights.shape == own.shape
    count = task.train.lengths.sum() if per_step else len(own)
    assert weights.sum() == pytest.approx(count)
    if per_step:
        real = np.arange(own.shape[1]) < task.train.lengths[:, None]
        assert (weights[~real] == 0).all()
        weights, own = weights[real], own[real]
    assert weights[own == 0].sum() == pytest.approx(weights[own == 1].sum())
    assert task.valid is not None
    assert task.valid.weights is None
    assert task.test.weights is None


def test_numbers_at_each_step_are_scaled_and_padded() -> None:
    arrays = made()
    goals = np.stack([arrays["inputs"].sum(2), 100 * arrays["inputs"][..., 0]], axis=2)
    task = sequences.from_arrays(config(per_step=True), arrays["inputs"], goals, arrays["lengths"])
    assert task.signature == (2, 2, False, True, "mse")
    assert task.score == "r2"
    assert task.measured is not None
    assert [column.name for column in task.measured.targets] == ["target 1", "target 2"]
    ours = found_at(task, arrays)[0]
    mean, std = (
        np.array([getattr(s, n) for s in task.measured.target_scales]) for n in ("mean", "std")
    )
    for i, own in enumerate(np.asarray(task.train.targets)):
        length = arrays["lengths"][ours[i]]
        np.testing.assert_allclose(own[:length] * std + mean, goals[ours[i], :length])
        assert (own[length:] == 0).all()


def test_arrays_of_their_own_lengths_are_padded() -> None:
    arrays = made()
    ragged = [one[:length] for one, length in zip(arrays["inputs"], arrays["lengths"], strict=True)]
    same_inputs(
        sequences.from_arrays(config(), ragged, arrays["targets"]),
        sequences.from_arrays(config(), **arrays),
    )


def test_a_kind_that_is_named_wins_over_the_guess() -> None:
    arrays = made() | {"targets": np.arange(COUNT) % 4}
    classes = sequences.from_arrays(config(), **arrays)
    numbers = sequences.from_arrays(config(kind="number"), **arrays)
    assert classes.signature[1:] == (4, False, False, "cross_entropy")
    assert numbers.signature[1:] == (1, False, False, "mse")
    assert numbers.score == "rmse"


def test_a_constant_feature_is_zero_and_no_error() -> None:
    arrays = made()
    arrays["inputs"][..., 1] = 0.1
    task = sequences.from_arrays(config(), **arrays)
    assert (np.asarray(task.train.inputs)[..., 1] == 0).all()


def test_sequences_that_need_more_memory_than_there_is_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = {"SC_PHYS_PAGES": 1, "SC_PAGE_SIZE": 1000}
    monkeypatch.setattr(environment.os, "sysconf", sizes.__getitem__)
    with pytest.raises(
        InvalidInput, match=r"^28 sequences of up to 9 steps need 0.0 GB; this machine"
    ):
        sequences.from_arrays(config(), **made())


def test_the_schema_of_a_run_reads_back(tmp_path: Path) -> None:
    for targets in (np.arange(COUNT) % 4, np.linspace(0, 1, COUNT)):
        task = sequences.from_arrays(config(), **(made() | {"targets": targets}))
        schema = schema_of(config(), task)
        save_schema(tmp_path, schema)
        assert read_schema(tmp_path) == schema


def test_the_summary_of_a_sequence_knows_its_real_steps() -> None:
    arrays = made()
    task = sequences.from_arrays(config(), **arrays)
    assert task.train.lengths is not None
    inputs = np.asarray(task.train.inputs)
    for own, found, length in zip(
        inputs, summary(inputs, task.train.lengths), task.train.lengths, strict=True
    ):
        real = own[:length]
        expected = [real.mean(0), real.std(0), real[0], real[-1]]
        np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-12)
