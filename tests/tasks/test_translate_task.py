"""Number words: what counts of a translation, and that no number is in two parts."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from shared.config import Config
from shared.config.data import TranslateData
from shared.errors import InvalidInput
from shared.tasks import TASKS, load_task
from shared.tasks.task import Task
from tests.support.arrays import Arrays, arrays
from tests.support.command_line import check_refused

SMALL = TranslateData(largest=199)


def config(data: TranslateData = SMALL, seed: int = 0) -> Config:
    return replace(TASKS["translate"].defaults, data=data, seed=seed)


@pytest.fixture
def words():
    return pytest.importorskip("num2words").num2words


def parts(task: Task) -> list[Arrays]:
    assert task.valid is not None
    return [arrays(task.train), arrays(task.valid), arrays(task.test)]


def spelled(task: Task, part: Arrays) -> list[tuple[str, str]]:
    """What a network reads of each sequence, and what it is to say where that counts."""
    assert part.lengths is not None
    assert part.weights is not None
    rows = zip(part.inputs, part.targets, part.lengths, part.weights, strict=True)
    return [
        (
            "".join(task.vocabulary[t] for t in inputs[:length]),
            "".join(task.vocabulary[t] for t in targets[weights]),
        )
        for inputs, targets, length, weights in rows
    ]


@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("source", ["en", "fr"])
def test_every_number_is_translated_in_exactly_one_part(source: str, reverse: bool, words) -> None:
    task = load_task(config(replace(SMALL, source=source, reverse=reverse)))
    assert task.reverse == reverse
    assert [len(part.inputs) for part in parts(task)] == [150, 10, 40]
    other = "fr" if source == "en" else "en"
    expected = {words(n, lang=source): words(n, lang=other) for n in range(200)}
    found = {}
    for part in parts(task):
        for read, said in spelled(task, part):
            assert said.endswith(".")
            asked, _, answer = read.partition(">")
            asked = asked[::-1] if reverse else asked
            assert asked not in found  # in this part or in another
            assert answer + "." == said
            found[asked] = answer
    assert found == expected
    assert (task.between, task.end) == (">", ".")


def test_the_target_and_its_end_count_and_nothing_else(words) -> None:
    task = load_task(config())
    number = {character: i for i, character in enumerate(task.vocabulary)}
    for part in parts(task):
        assert part.weights is not None
        assert part.lengths is not None
        assert (part.weights.dtype, part.inputs.dtype) == (np.bool_, np.int32)
        assert part.targets.dtype == part.lengths.dtype == np.int32
        for row in range(len(part.inputs)):
            inputs, targets, length = part.inputs[row], part.targets[row], part.lengths[row]
            at = list(inputs).index(number[">"])
            counted = np.flatnonzero(part.weights[row])
            # What follows ">" is the first that counts, the end the last.
            np.testing.assert_array_equal(counted, np.arange(at, length))
            assert targets[length - 1] == number["."]
            np.testing.assert_array_equal(inputs[1:length], targets[: length - 1])
            assert not inputs[length:].any()
            assert not targets[length:].any()


def test_the_vocabulary_is_that_of_all_parts_in_order(words) -> None:
    task = load_task(config())
    every = {c for n in range(200) for lang in ("en", "fr") for c in words(n, lang=lang)}
    assert task.vocabulary == tuple(sorted(every | {">", "."}))
    assert task.signature.input_size == task.signature.output_size == len(task.vocabulary)
    longest = max(len(words(n, lang="en") + words(n, lang="fr")) for n in range(200)) + 1
    assert {part.inputs.shape[1] for part in parts(task)} == {longest}


def test_the_seed_changes_no_part(words) -> None:
    assert load_task(config(seed=1)).fingerprint == load_task(config(seed=2)).fingerprint


def test_always_the_same_answer_is_hardly_ever_right(words) -> None:
    (baseline,) = load_task(config()).baselines()
    assert baseline.name == "most frequent output"
    assert baseline.scores == {"exact": 0.0}  # every number has a translation of its own


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (TranslateData(largest=7), "valid"),
        (TranslateData(largest=99, test_share=0.001), "test"),
        (TranslateData(largest=99, valid_share=0.5, test_share=0.5), "train"),
    ],
)
def test_a_part_without_numbers_is_refused(data: TranslateData, name: str, words) -> None:
    with pytest.raises(
        InvalidInput,
        match=f"^--data.largest {data.largest}, .* numbers in every part, got none for {name}$",
    ):
        load_task(config(data))


def test_without_its_package_it_is_refused_in_one_line(monkeypatch, call, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "num2words", None)
    with pytest.raises(
        InvalidInput, match=r"^--task translate needs the package num2words: pip install 'num2words"
    ):
        load_task(config())
    refused = call("run.py", "--backend", "torch", "--task", "translate")
    check_refused(refused, "needs the package num2words", "pip install")
    assert not list(tmp_path.iterdir())
