"""Where calls of a backend end depends on the configuration alone."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from shared.config import Config
from shared.config.data import GeneratedData
from shared.config.interval import Every
from shared.config.settings import NetworkConfig
from shared.errors import InvalidInput
from shared.tasks import TASKS, load_task
from shared.tasks.batches import training_batches
from shared.tasks.task import Task
from shared.training import calls, train, train_seeds
from shared.training.calls import Call
from shared.training.clock import Due


def test_calls_are_of_nearly_equal_size() -> None:
    assert [*calls.calls(0, 10, 4, None, 0)] == [Call(0, 4), Call(4, 4), Call(8, 2)]
    assert [*calls.calls(20, 26, 4, None, 20)] == [Call(20, 3), Call(23, 3)]


def test_calls_end_where_checkpoints_are_due() -> None:
    """Counted from the evaluation before."""
    found = [*calls.calls(100, 125, 4, 10, 100)]
    assert [call.end for call in found] == [104, 108, 110, 114, 118, 120, 123, 125]


@pytest.mark.parametrize("every", [None, 1, 3, 7, 50])
@pytest.mark.parametrize("most", [1, 2, 5, 100])
def test_a_resumed_run_has_the_calls_that_are_left(most: int, every: int | None) -> None:
    whole = [*calls.calls(60, 83, most, every, 60)]
    assert [step for call in whole for step in range(call.start, call.end)] == [*range(60, 83)]
    assert all(0 < call.steps <= most for call in whole)
    for i, call in enumerate(whole):
        assert [*calls.calls(60, 83, most, every, call.start)] == whole[i:]


def test_a_position_inside_of_a_call_is_gone_on_from() -> None:
    """As after another --checkpoint-every."""
    assert [*calls.calls(0, 10, 5, None, 3)] == [Call(3, 2), Call(5, 5)]


def test_a_large_network_has_short_calls() -> None:
    """So that a signal need not wait long; small ones are limited by memory alone."""
    config = replace(TASKS["last-value"].defaults, data=GeneratedData(100, 8, 9))
    task = load_task(config)
    batches = training_batches(config, task)
    assert calls.most_steps(config, task.signature, batches) == batches.chunk > 1
    large = replace(config, network=NetworkConfig(cell="lstm", hidden_size=1000))
    # 6 · (4000 · (10 + 1000) + 2 · 1000) · 64 · 100 operations a step
    assert calls.most_steps(large, task.signature, batches) == 1
    larger = replace(config, network=NetworkConfig(cell="lstm", hidden_size=10_000))
    assert calls.most_steps(larger, task.signature, batches) == 1


def by_length(backend: str) -> tuple[Config, Task]:
    """Returns a small run on batches by length, with dropout: 15 steps an epoch."""
    config = replace(
        TASKS["last-value"].defaults,
        backend=backend,
        network=NetworkConfig(cell="gru", hidden_size=3, num_layers=2, dropout=0.2),
        data=GeneratedData(60, 8, 9, sequence_length=16, input_size=2, min_length=2),
        epochs=2,
        batch_size=4,
        checkpoint_every="4",
        keep_checkpoints=100,
    )
    return config, replace(load_task(config), by_length=True)


def test_operations_are_those_of_the_mean_number_of_time_steps() -> None:
    config, task = by_length("torch")
    batches = training_batches(config, task)
    assert batches.buckets is not None
    assert len(batches.buckets.sizes) > 1
    longest = training_batches(config, replace(task, by_length=False))
    ratio = calls.operations(config, task.signature, batches) / calls.operations(
        config, task.signature, longest
    )
    assert ratio == pytest.approx(batches.buckets.steps.mean() / 16, rel=1e-3)
    assert ratio < 0.8


@pytest.mark.parametrize("step", [4, 15, 23])
def test_a_resumed_run_on_batches_by_length_has_the_same_bits(tmp_path: Path, step: int) -> None:
    config, task = by_length("torch")
    train(config, tmp_path / "whole", quiet=True, task=task)
    names = {file.name for file in (tmp_path / "whole").glob("checkpoint-*")}
    assert {f"checkpoint-{step}.safetensors", "checkpoint-30.safetensors"} <= names
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    (tmp_path / "stopped" / "summary.json").unlink()
    for file in (tmp_path / "stopped").glob("checkpoint-*"):
        if int(file.stem.removeprefix("checkpoint-")) > step:
            file.unlink()
    train(config, tmp_path / "stopped", resume=True, quiet=True, task=task)
    expected, found = (
        load_file(tmp_path / name / "checkpoint-30.safetensors") for name in ("whole", "stopped")
    )
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(array, found[name], err_msg=name)


@pytest.mark.slow
def test_seeds_on_batches_by_length_train_in_one_program(tmp_path: Path) -> None:
    config, task = by_length("jax")
    train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True, task=task)
    train(replace(config, seed=1), tmp_path / "alone", quiet=True, task=task)
    expected = load_file(tmp_path / "alone" / "checkpoint-30.safetensors")
    found = load_file(tmp_path / "seeds" / "seed-1" / "checkpoint-30.safetensors")
    for name, array in expected.items():
        np.testing.assert_allclose(array, found[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("text", "every"),
    [
        ("200", Every(steps=200)),
        ("30s", Every(seconds=30)),
        ("5m", Every(seconds=300)),
        ("1h", Every(seconds=3600)),
    ],
)
def test_every_is_steps_or_a_time(text: str, every: Every) -> None:
    assert Every.of(text) == every


@pytest.mark.parametrize("text", ["", "0", "0s", "-5", "5 s", "s", "1d", "1.5m", "٣", "1" * 10])
def test_another_every_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"--checkpoint-every: expected .* such as 200"):
        Every.of(text)


def test_steps_are_due_after_so_many() -> None:
    due = Due(Every.of("10"), origin=25)
    assert [step for step in range(26, 60) if due.after(step)] == [35, 45, 55]


def test_a_time_is_due_when_it_has_passed(monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr("shared.training.clock.time.monotonic", lambda: now)
    due = Due(Every.of("30s"), origin=0)
    now = 129.0
    assert not due.after(7)
    now = 130.0
    assert due.after(8)
    due.written()
    assert not due.after(9)
