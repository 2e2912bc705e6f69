"""Network and baselines answer the same sources, and are right where a target's text is written."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from shared.config.data import PairsData
from shared.inference import evaluation
from shared.runs import predictions
from shared.tasks import TASKS
from shared.tasks.pairs import from_pairs
from shared.tasks.task import Task


class Always:
    """A backend that answers every source with the same tokens."""

    def __init__(self, task: Task, *words: str) -> None:
        assert task.between is not None
        assert task.end is not None
        self.size = len(task.vocabulary)
        names = [task.between, *words, task.end]
        self.number = [task.vocabulary.index(name) for name in names]

    def predict(self, _state: Any, inputs: np.ndarray, _lengths: Any = None, carry: Any = ()):
        follows = np.full(self.size, self.number[-1])
        follows[self.number[:-1]] = self.number[1:]
        return np.eye(self.size)[follows[inputs]], carry


def made(sources: list[str], targets: list[str], **options: Any) -> Task:
    config = replace(TASKS["pairs"].defaults, data=PairsData(unit="word", **options))
    return from_pairs(config, sources, targets)


def scored(task: Task, *words: str) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    found = evaluation.predict(task, cast(Any, Always(task, *words)), None)
    return predictions.scores(task, found), dict(found)


def yes_or_no(count: int) -> tuple[list[str], list[str]]:
    """Names that occur once, and answers drawn at random, of which "yes" is the more frequent."""
    answers = np.where(np.random.default_rng(4).random(count) < 0.6, "yes", "no")
    return [f"name{i}" for i in range(count)], answers.tolist()


def test_an_unknown_token_is_no_right_answer_to_an_unknown_word() -> None:
    words = np.array(["red", "green", "blue", "old", "new"])
    draw = np.random.default_rng(2)
    sources = [" ".join(draw.choice(words, 4)) + f" {i % 7} {i}" for i in range(300)]
    task = made(sources, [f"x{i}" for i in range(300)], vocabulary_size=15)
    scores, found = scored(task, "<unk>")
    assert scores["exact"] == 0.0
    assert set(found["answers"].tolist()) == {"<unk>"}
    assert all(reference.startswith("x") for reference in found["references"])
    assert [baseline.scores["exact"] for baseline in task.baselines()] == [0.0] * 3


def test_different_names_that_are_all_unknown_are_different_sources() -> None:
    sources, targets = yes_or_no(300)
    task = made(sources, targets)
    scores, found = scored(task, "yes")
    true = dict(zip(sources, targets, strict=True))
    asked = found["sources"].tolist()
    assert len({*asked}) == len(asked) == len(task.test.inputs) == 45
    expected = np.mean([true[source] == "yes" for source in asked])
    assert 0.3 < expected < 0.8
    assert scores["exact"] == pytest.approx(expected)
    frequent, *_ = task.baselines()
    assert frequent.scores["exact"] == pytest.approx(expected)


def test_network_and_baselines_answer_the_same_sources_of_a_large_test_part(monkeypatch) -> None:
    """Every tenth answer is another one: evenly spaced sources would see all of them or none."""
    monkeypatch.setattr("shared.tasks.pair_questions.ASKED", 30)
    sources = [f"name{i}" for i in range(1200)]
    targets = ["maybe" if i % 10 == 0 else "yes" for i in range(1200)]
    named = ["train"] * 600 + ["valid"] * 300 + ["test"] * 300
    config = replace(TASKS["pairs"].defaults, data=PairsData(unit="word"))
    task = from_pairs(config, sources, targets, named)
    scores, found = scored(task, "yes")
    asked = [sources.index(source) for source in found["sources"].tolist()]
    assert len(asked) == 30
    assert asked == sorted({*asked})
    assert min(asked) >= 900
    right = np.mean([targets[row] == "yes" for row in asked])
    assert 0.6 < right < 1.0
    assert scores["exact"] == right
    frequent, *_ = task.baselines()
    assert frequent.scores == {name: scores[name] for name in frequent.scores}
    assert task.about["different sources of the test part"] == (
        "300, of which 30 are answered for the scores"
    )


def test_each_of_the_targets_of_a_source_is_a_right_answer() -> None:
    named = ["train", "train", "valid", *["test"] * 4]
    sources, targets = [*"abc", "q", "q", "q", "r"], ["yes", "no", "no", "no", "yes", "no", "no"]
    config = replace(TASKS["pairs"].defaults, data=PairsData(unit="word"))
    task = from_pairs(config, sources, targets, named)
    assert task.questions is not None
    assert task.questions.sources == ["q", "r"]
    assert task.questions.references == [["no", "yes"], ["no"]]
    assert scored(task, "yes")[0]["exact"] == 0.5


@pytest.mark.parametrize("token", ["<unk>", "<to>"])
def test_a_target_that_is_spelled_like_a_special_token_is_not_what_it_stands_for(
    token: str,
) -> None:
    named = ["train", "valid", "test", "test"]
    config = replace(TASKS["pairs"].defaults, data=PairsData(unit="word"))
    task = from_pairs(config, ["a", "b", "c", "d"], [token, "x", token, f"<{token}>"], named)
    assert task.between is not None

    class Special(Always):
        """Answers with one special token after the first token between."""

        def predict(self, _state: Any, inputs: np.ndarray, _lengths: Any = None, carry: Any = ()):
            number = task.vocabulary.index(token)
            begins = carry == ()
            follows = np.full(inputs.shape, number if begins else self.number[-1])
            return np.eye(self.size)[follows], (np.zeros((1, len(inputs))),)

    found = evaluation.predict(task, cast(Any, Special(task)), None)
    assert found["references"].tolist() == [token, f"<{token}>"]
    assert found["answers"].tolist() == [f"<<{token}>>"] * 2
    assert predictions.scores(task, found)["exact"] == 0.0
