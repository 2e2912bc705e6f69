"""Your own pairs: what a network reads and says, the vocabulary, parts, and answers to beat."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.config import Config
from shared.config.data import PairsData
from shared.protocol.dataset import Split
from shared.tasks import TASKS, load_task
from shared.tasks.pairs import from_pairs
from shared.tasks.task import Task

UNITS = {"char": list, "word": str.split}
GLUE = {"char": "", "word": " "}


def config(**options: Any) -> Config:
    return replace(TASKS["pairs"].defaults, data=PairsData(**options))


def made_up(unit: str, count: int = 50, seed: int = 0) -> tuple[list[str], list[str]]:
    """Different sources, and their targets: the same backwards and larger."""
    draw = np.random.default_rng(seed)
    sources = [[*draw.choice([*"abcde"], draw.integers(1, 6)), *f"{i:02}"] for i in range(count)]
    targets = [[t.upper() for t in reversed(source)] for source in sources]
    sources, targets = ([GLUE[unit].join(t) for t in texts] for texts in (sources, targets))
    return sources, targets


def parts(task: Task) -> list[Split]:
    assert task.valid is not None
    return [task.train, task.valid, task.test]


def spelled(task: Task, part: Split) -> list[tuple[list[str], list[str]]]:
    """What a network reads of each sequence, and what it is to say where that counts."""
    assert part.lengths is not None
    assert part.weights is not None
    rows = zip(np.asarray(part.inputs), np.asarray(part.targets), part.lengths, part.weights,
               strict=True)  # fmt: skip
    return [
        (
            [task.vocabulary[t] for t in inputs[:length]],
            [task.vocabulary[t] for t in targets[weights]],
        )
        for inputs, targets, length, weights in rows
    ]


@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("unit", UNITS)
def test_every_pair_is_read_and_said_in_one_part(unit: str, reverse: bool) -> None:
    sources, targets = made_up(unit)
    data = config(unit=unit, reverse=reverse, split=(0.6, 0.2, 0.2), vocabulary_size=99)
    task = from_pairs(data, sources, targets)
    assert (task.reverse, task.unit, task.between, task.end) == (reverse, unit, "<to>", "<end>")
    assert [len(part.inputs) for part in parts(task)] == [30, 10, 10]
    found: dict[str, str] = {}
    known = set(task.vocabulary)
    for part in parts(task):
        for read, said in spelled(task, part):
            at = read.index("<to>")
            source = read[:at][::-1] if reverse else read[:at]
            assert read[at + 1 :] == said[:-1]
            assert said[-1] == "<end>"
            assert (said + source).count("<to>") == 0
            found[GLUE[unit].join(source)] = GLUE[unit].join(said[:-1])
    assert set("0123456789abcdeABCDE") < known
    assert found == dict(zip(sources, targets, strict=True))


def test_the_task_is_one_of_tokens_that_continue() -> None:
    task = from_pairs(config(), *made_up("char"))
    size = len(task.vocabulary)
    assert task.signature == (size, size, True, True, "cross_entropy")
    assert (task.by_length, task.continues, task.score) == (True, True, "exact")
    assert task.vocabulary[:3] == ("<unk>", "<to>", "<end>")
    for part in parts(task):
        assert part.lengths is not None
        assert part.weights is not None
        assert part.weights.dtype == np.bool_
        beyond = np.arange(part.inputs.shape[1]) >= part.lengths[:, None]
        assert not np.asarray(part.inputs)[beyond].any()
        assert not part.weights[beyond].any()


def test_the_vocabulary_is_that_of_sources_and_targets_of_the_training_part() -> None:
    sources, targets = ["a b", "a c", "d e", "f g"], ["x y", "x z", "u v", "x w x"]
    named = ["train", "train", "valid", "test"]
    task = from_pairs(config(unit="word"), sources, targets, named)
    assert task.vocabulary == ("<unk>", "<to>", "<end>", "a", "x", "b", "c", "y", "z")
    assert spelled(task, task.test) == [
        (["<unk>", "<unk>", "<to>", "x", "<unk>", "x"], ["x", "<unk>", "x", "<end>"])
    ]
    name = "targets of the test part with unknown tokens, which no answer can have"
    assert task.about[name] == "1"
    few = from_pairs(config(unit="word", vocabulary_size=5), sources, targets, named)
    assert few.vocabulary == task.vocabulary[:5]
    assert name not in from_pairs(config(unit="word"), sources, ["x"] * 4, named).about


def test_words_that_are_spelled_like_a_special_token_are_unknown() -> None:
    sources, targets = ["a <to> b", "c", "d"], ["<end> x", "y", "<to> <unk>"]
    task = from_pairs(config(unit="word"), sources, targets, ["train", "valid", "test"])
    assert spelled(task, task.train) == [
        (["b", "<unk>", "a", "<to>", "<unk>", "x"], ["<unk>", "x", "<end>"])
    ]
    assert [task.vocabulary.count(token) for token in ("<unk>", "<to>", "<end>")] == [1, 1, 1]
    read = from_pairs(config(), ["<to>", "b", "c"], ["<end>", "e", "f"], ["train", "valid", "test"])
    assert spelled(read, read.train) == [
        ([*reversed("<to>"), "<to>", *"<end>"], [*"<end>", "<end>"])  # single characters
    ]


def test_a_source_with_several_targets_is_in_one_part() -> None:
    sources, targets = made_up("char", 40)
    again, other = [*sources, *sources[:20]], [*targets, *[t + "!" for t in targets[:20]]]
    task = from_pairs(config(split=(0.5, 0.25, 0.25)), again, other)
    seen = [
        {tuple(read[: read.index("<to>")]) for read, _ in spelled(task, part)}
        for part in parts(task)
    ]
    assert [len(own) for own in seen] == [20, 10, 10]
    assert not seen[0] & seen[1] | seen[1] & seen[2] | seen[0] & seen[2]
    assert sum(len(part.inputs) for part in parts(task)) == 60
    assert task.about["different sources"] == "40"
    assert task.questions is not None
    assert len(task.questions.sources) == 10
    assert sum(map(len, task.questions.references)) == len(task.test.inputs)
    assert {len(right) for right in task.questions.references} == {1, 2}
    leaked = from_pairs(config(), again, other, ["train"] * 30 + ["valid"] * 10 + ["test"] * 20)
    assert leaked.about["pairs of the test part whose source another part has"] == "20"


def test_letters_become_small_if_wanted() -> None:
    task = from_pairs(config(lowercase=True), *made_up("char"))
    assert "A" not in task.vocabulary
    assert "a" in task.vocabulary


def test_the_seed_changes_no_part() -> None:
    one, other = (from_pairs(replace(config(), seed=s), *made_up("char")) for s in (1, 2))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_files_give_the_task_of_the_same_pairs(suffix: str, tmp_path: Path) -> None:
    import polars as pl

    sources, targets = made_up("word", 30)
    sources[3], targets[4] = 'a, "b"', "B,\tx"
    named = ["train", "train", "dev", "test", "train"] * 6
    expected = from_pairs(config(unit="word"), sources, targets, named)
    frame = pl.DataFrame({"id": range(30), "en": sources, "fr": targets, "fold": named})
    path = tmp_path / f"pairs{suffix}"
    if suffix == ".parquet":
        frame.write_parquet(path)
    elif suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path, separator="\t" if suffix == ".tsv" else ",")
    options = {"path": (str(path),), "source": "en", "target": "fr", "part": "fold"}
    task = load_task(config(unit="word", **options))
    assert task.fingerprint == expected.fingerprint
    assert task.about == expected.about
    assert task.source == str(path)


def test_baselines_answer_the_same_sources_as_a_network_does(monkeypatch) -> None:
    monkeypatch.setattr("shared.tasks.pair_questions.ASKED", 2)
    sources = ["aaaa", "bbbb", "cccc", "dd", "aaab", "x", "aaab", "yy"]
    targets = ["A", "B", "B", "v", "A", "x", "q", "B"]
    named = ["train"] * 3 + ["valid"] + ["test"] * 4
    task = from_pairs(config(), sources, targets, named)
    scores = {baseline.name: baseline.scores for baseline in task.baselines()}
    assert [scores[name]["exact"] for name in scores] == [0.5, 0.5, 0.0]
    assert [*scores] == [
        "most frequent output", "output of the most similar source", "the source itself",
    ]  # fmt: skip
    # Of three sources the first and the last. "B" for A or q, and for B; "A" and "A" (of equals the
    # first); "aaab" and "yy".
    assert [scores[name]["edit_rate"] for name in scores] == [0.5, 0.5, 3.0]


def test_facts_tell_of_parts_lengths_and_vocabulary() -> None:
    about = from_pairs(
        config(), ["ab", "a", "abc"], ["x", "xyz", "x"], ["train", "valid", "test"]
    ).about
    assert about == {
        "pairs": "3: training 1, validation 1, test 1",
        "different sources": "3",
        "lengths of the sources": "1 to 3 characters, 2.0 in the mean",
        "lengths of the targets": "1 to 3 characters, 1.7 in the mean",
        "vocabulary": "3 of the 3 different characters of the training part, and one token for all "
        "others",
    }
