"""Sequences that are the same come into one part, or it is told that they do not."""

from typing import Any

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.system.tables import as_table
from shared.tasks import sequence_repeats, sequences
from shared.tasks.parts import IN_TRAINING, split_parts
from shared.tasks.sequence_steps import Steps, Values
from shared.tasks.task import Task
from tests.support.sequence_cases import COUNT, config, made

AGAIN = "sequences that occur again"


def repeated(times: int) -> dict[str, Any]:
    return {name: np.repeat(values, times, axis=0) for name, values in made().items()}


def inputs_of(task: Task, part: str) -> set[bytes]:
    split = getattr(task, part)
    lengths = split.lengths
    return {one[:n].tobytes() for one, n in zip(np.asarray(split.inputs), lengths, strict=True)}


@pytest.mark.parametrize("per_step", [False, True])
def test_equal_sequences_are_drawn_into_one_part(per_step: bool) -> None:
    arrays = repeated(5)
    if per_step:
        arrays["targets"] = np.nan_to_num(arrays["inputs"][..., 0]) > 5
    task = sequences.from_arrays(config(per_step=per_step), **arrays)
    train, valid, test = (inputs_of(task, part) for part in ("train", "valid", "test"))
    assert not test & (train | valid)
    assert not valid & train
    assert len(train) + len(valid) + len(test) == COUNT
    assert task.about[AGAIN] == str(4 * COUNT)
    assert IN_TRAINING not in task.about


def test_sequences_that_differ_are_shared_out_as_by_their_number() -> None:
    """One that has the steps of another one and more is another one."""
    arrays = made()
    arrays["inputs"][1] = arrays["inputs"][0]
    arrays["lengths"][:2] = 3, 4
    arrays["inputs"][:2, :4] = 1.0
    task = sequences.from_arrays(config(), **arrays)
    assert {AGAIN, IN_TRAINING}.isdisjoint(task.about)
    expected = split_parts(COUNT, (0.7, 0.15, 0.15), "sequences", arrays["targets"])
    assert task.train.lengths is not None
    assert task.train.lengths.tolist() == arrays["lengths"][expected[0]].tolist()


@pytest.mark.parametrize("named", ["part", "group"])
def test_sequences_of_the_test_part_that_stand_in_training_are_counted(named: str) -> None:
    arrays = repeated(2)
    parts = np.array(["train"] * 50 + ["valid"] * 10 + ["test"] * 20)
    parts[[3, 70]] = "test", "train"  # of 2 and 3, of 70 and 71
    column = parts if named == "part" else np.arange(2 * COUNT)
    task = sequences.from_arrays(config(), **arrays, **{named: column})
    if named == "part":
        assert task.about[IN_TRAINING] == "2"
    else:
        train, lengths = inputs_of(task, "train"), task.test.lengths
        assert lengths is not None
        tested = zip(np.asarray(task.test.inputs), lengths, strict=True)
        both = [one[:n].tobytes() in train for one, n in tested]
        assert task.about[IN_TRAINING] == str(sum(both))
        assert sum(both) > 0
    assert task.about[AGAIN] == str(COUNT)


def steps(*features: list[float], lengths: list[int]) -> Steps:
    columns = [Values(f"x{i}", np.array(own)) for i, own in enumerate(features)]
    return Steps(columns, np.array(lengths), {}, str, str)


@pytest.mark.parametrize("block", [1, 3, 1 << 18])
def test_sequences_are_the_same_by_all_their_numbers(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequence_repeats, "BLOCK", block)
    nan = float("nan")
    made_of = [
        ([1.0, 2.0], [0.0, nan]), ([1.0], [0.0]), ([1.0, 2.0], [-0.0, -nan]),
        ([2.0, 1.0], [0, nan]), ([1.0, 2.0], [nan, 0.0]), ([1.0], [0.0]), ([0.0], [1.0]),
    ]  # fmt: skip
    first, second = ([x for own in made_of for x in own[i]] for i in range(2))
    found = sequence_repeats.same(steps(first, second, lengths=[len(own[0]) for own in made_of]))
    assert found.tolist() == [0, 1, 0, 2, 3, 1, 4]


def test_too_few_sequences_that_differ_are_refused() -> None:
    table = {"id": np.repeat(np.arange(12), 2), "x": [3.0, 1.0] * 12, "y": np.arange(24) // 2 % 2}
    said = (
        r"^the table: expected 3 or more sequences that differ, as equal ones are drawn together, "
        r"got 1 among 12; a column of parts \(--data.part\) shares them out otherwise$"
    )
    with pytest.raises(InvalidInput, match=said):
        sequences.from_table(config(sequence=("id",), target=("y",)), as_table(table))
