"""The first sequences of the test part that a summary spells out, and the unit of what it tells."""

from typing import Any

import numpy as np
import pytest

from shared.protocol.dataset import Signature, Split
from shared.runs.summary import LONGEST, SAMPLES, _samples, _unit
from shared.tasks.task import Column, Measured, Scale, Series, Task

VOCABULARY = ("<unk>", "good", "bad", "day")


def task(per_step: bool, **options: Any) -> Task:
    tokens = np.zeros((2, 3), np.int32)
    part = Split(tokens, tokens if per_step else np.zeros(2, np.int32))
    made = Signature(4, 4 if per_step else 2, tokens=True, per_step=per_step, loss="cross_entropy")
    return Task("made", made, part, part, part, **{"vocabulary": VOCABULARY, **options})


FOUND = {
    "inputs": np.array([[1, 3, 0], [2, 3, 3]]), "lengths": np.array([2, 3]),
    "predicted": np.array([[3, 1, 1], [3, 1, 0]]), "targets": np.array([[3, 2, 2], [3, 3, 0]]),
}  # fmt: skip


def test_words_stand_between_blanks_and_no_padding_is_spelled() -> None:
    found = _samples(task(True, unit="word"), FOUND)
    assert found == [
        {"input": "good day", "predicted": "day good", "target": "day bad"},
        {"input": "bad day day", "predicted": "day good <unk>", "target": "day day <unk>"},
    ]


def test_characters_are_joined_as_they_are() -> None:
    found = _samples(task(True, vocabulary=("?", "a", "b", "c")), FOUND)
    assert found[0] == {"input": "ac", "predicted": "ca", "target": "cb"}


def test_only_steps_that_count_are_compared() -> None:
    weights = np.array([[False, True, True], [True, True, False]])
    found = _samples(task(True, vocabulary=("?", "a", "b", "c")), FOUND | {"weights": weights})
    assert [one["target"] for one in found] == ["b", "cc"]


def test_a_text_has_the_names_of_its_labels() -> None:
    found = FOUND | {"predicted": np.array([1, 0]), "targets": np.array([0, 0])}
    assert _samples(task(False, unit="word", classes=("ham", "spam")), found) == [
        {"input": "good day", "predicted": "spam", "target": "ham"},
        {"input": "bad day day", "predicted": "ham", "target": "ham"},
    ]


def test_an_answer_is_what_the_network_wrote_by_itself() -> None:
    texts = {"sources": ["un", "deux"], "answers": ["one", "to"], "references": ["one", "two"]}
    found = FOUND | {name: np.array(own) for name, own in texts.items()}
    assert _samples(task(True, between="<to>", end="<end>"), found) == [
        {"input": "un", "predicted": "one", "target": "one"},
        {"input": "deux", "predicted": "to", "target": "two"},
    ]


def test_a_long_text_is_cut_off_and_few_are_spelled() -> None:
    tokens = np.full((SAMPLES + 3, 400), 3)
    found = {"inputs": tokens, "predicted": np.zeros(len(tokens), int)}
    found |= {"targets": found["predicted"]}
    spelled = _samples(task(False, unit="word", classes=("ham", "spam")), found)
    assert len(spelled) == SAMPLES
    assert len(spelled[0]["input"]) == LONGEST
    assert spelled[0]["input"].startswith("day day day")
    assert spelled[0]["input"].endswith("…")


@pytest.mark.parametrize(("count", "unit"), [(1, "kg"), (2, "")])
def test_only_a_single_number_has_a_unit(count: int, unit: str) -> None:
    columns, scales = [Column("mass", unit="kg")] * count, [Scale(0.0, 1.0)] * count
    measured = Measured([Column("x", unit="m")], [Scale(0.0, 1.0)], columns, scales, [], None)
    assert _unit(task(False, measured=measured)) == unit
    series = Series(columns, count, 2, 1, None, None, None, [], {"": scales}, False)
    assert _unit(task(False, series=series)) == unit
    assert _unit(task(False)) == ""
