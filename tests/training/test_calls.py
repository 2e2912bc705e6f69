"""Where calls of a backend end depends on the configuration alone."""

from dataclasses import replace

import pytest

from shared.config.data import GeneratedData
from shared.config.interval import Every
from shared.config.settings import NetworkConfig
from shared.errors import InvalidInput
from shared.tasks import TASKS, load_task
from shared.tasks.batches import training_batches
from shared.training import calls
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
