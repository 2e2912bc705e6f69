"""Your own texts: tokens, vocabulary of the training part, parts, weights, naive Bayes by hand."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.config import Config
from shared.config.data import LabelsData
from shared.protocol.dataset import Split
from shared.tasks import TASKS, load_task
from shared.tasks.label_baselines import log_probabilities, trigrams
from shared.tasks.labels import from_texts
from shared.tasks.task import Task
from shared.tasks.vocabulary import Ragged, frequent, numbered, words_and_marks

GOOD, BAD = ["good", "great", "fine", "nice"], ["bad", "awful", "poor", "sad"]


def config(**options: Any) -> Config:
    return replace(TASKS["labels"].defaults, data=LabelsData(**options))


def made_up(count: int = 60, seed: int = 0) -> tuple[list[str], list[str]]:
    draw = np.random.default_rng(seed)
    labels = ["bad" if i % 3 else "good" for i in range(count)]
    kinds = {"good": GOOD, "bad": BAD}
    texts = [
        " ".join(draw.choice(["The", "a", "it", *kinds[label]], draw.integers(2, 9)))
        for label in labels
    ]
    return [f"{text}, {i}!" for i, text in enumerate(texts)], labels


def parts(task: Task) -> list[Split]:
    assert task.valid is not None
    return [task.train, task.valid, task.test]


def spelled(task: Task, part: Split) -> list[tuple[list[str], str]]:
    """Tokens and label of each text of a part."""
    assert part.lengths is not None
    rows = zip(np.asarray(part.inputs), part.lengths, np.asarray(part.targets), strict=True)
    return [
        ([task.vocabulary[t] for t in row[:length]], task.classes[target])
        for row, length, target in rows
    ]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Well, it's 3.5% off!", ["Well", ",", "it's", "3", ".", "5", "%", "off", "!"]),
        ("l’été — ünïted_x", ["l’été", "—", "ünïted_x"]),
        ("e\u0301te\u0301 हिन्दी", ["e\u0301te\u0301", "हिन्दी"]),
        ("'quoted' ''", ["'", "quoted", "'", "'", "'"]),
        (" \t\n", []),
        ("😀a\0b", ["😀", "a", "\0", "b"]),
    ],
)
def test_words_and_marks_are_tokens(text: str, tokens: list[str]) -> None:
    assert words_and_marks(text) == tokens


def test_tokens_are_numbered_and_the_most_frequent_of_the_training_part_known() -> None:
    found, names = numbered([["b", "a", "b"], ["c"], ["a", "d", "a", "a", "c", "<unk>"]])
    assert names == ["b", "a", "c", "d", "<unk>"]
    train = found.take(np.array([2, 0]))
    np.testing.assert_array_equal(train.numbers, [1, 3, 1, 1, 2, 4, 0, 1, 0])
    np.testing.assert_array_equal(train.ends, [6, 9])
    vocabulary, number = frequent(train, names, 4, ("<unk>",))
    assert vocabulary == ("<unk>", "a", "b", "c")  # c and d are equal: c is the first in the file
    np.testing.assert_array_equal(number, [2, 1, 3, 0, 0])
    np.testing.assert_array_equal(
        found.renumbered(number).padded(),
        [[2, 1, 2, 0, 0, 0], [3, 0, 0, 0, 0, 0], [1, 0, 1, 1, 3, 0]],
    )


def test_every_text_is_in_one_part_with_its_label() -> None:
    texts, labels = made_up()
    task = from_texts(config(split=(0.6, 0.2, 0.2)), texts, labels)
    assert task.classes == ("bad", "good")
    found = [row for part in parts(task) for row in spelled(task, part)]
    known = set(task.vocabulary)
    expected = [
        ([t if t in known else "<unk>" for t in words_and_marks(text.lower())], label)
        for text, label in zip(texts, labels, strict=True)
    ]
    assert sorted(found) == sorted(expected)
    # 20 of label good and 40 of bad, each shared out by itself.
    counts = [[row[1] for row in spelled(task, part)].count("good") for part in parts(task)]
    assert counts == [12, 4, 4]
    assert [len(part.inputs) for part in parts(task)] == [36, 12, 12]


def test_the_task_is_one_of_classes_of_tokens() -> None:
    task = from_texts(config(), *made_up())
    size = len(task.vocabulary)
    assert task.signature == (size, 2, True, False, "cross_entropy")
    assert (task.by_length, task.continues, task.score) == (True, False, "accuracy")
    for part in parts(task):
        assert part.lengths is not None
        assert (part.inputs.dtype, part.targets.dtype, part.lengths.dtype) == (np.int32,) * 3
        assert part.inputs.shape == (len(part.lengths), part.lengths.max())
        assert part.weights is None
        beyond = np.arange(part.inputs.shape[1]) >= part.lengths[:, None]
        assert not np.asarray(part.inputs)[beyond].any()


@pytest.mark.parametrize("unit", ["char", "word"])
def test_the_vocabulary_is_that_of_the_training_part(unit: str) -> None:
    texts, labels = made_up()
    named = ["train"] * 40 + ["valid"] * 10 + ["test"] * 10
    texts[55] = "the zebra β was good"
    task = from_texts(config(unit=unit), texts, labels, named)
    unknown = {"char": "\N{REPLACEMENT CHARACTER}", "word": "<unk>"}[unit]
    assert task.vocabulary[0] == unknown
    split = {"char": list, "word": words_and_marks}[unit]
    seen = {token for text in texts[:40] for token in split(text.lower())}
    assert set(task.vocabulary[1:]) == seen
    read, _ = spelled(task, task.test)[5]
    assert read == [t if t in seen else unknown for t in split(texts[55])]
    assert unknown in read


def test_the_vocabulary_is_cut_at_its_size_and_texts_at_theirs() -> None:
    texts, labels = made_up()
    whole = from_texts(config(), texts, labels)
    task = from_texts(config(vocabulary_size=5, longest=3), texts, labels)
    assert len(task.vocabulary) == 5
    assert len(whole.vocabulary) > 5
    assert max(part.inputs.shape[1] for part in parts(task)) == 3
    assert task.about["cut off"] == "60 texts, after 3 words"
    assert "cut off" not in whole.about


def test_capital_letters_are_kept_if_wanted() -> None:
    texts, labels = made_up()
    assert "The" in from_texts(config(lowercase=False), texts, labels).vocabulary
    assert "The" not in from_texts(config(), texts, labels).vocabulary


def test_a_text_that_occurs_again_stays_in_its_part() -> None:
    texts, labels = made_up(40)
    again, twice = [*texts, *[t.upper() for t in texts]], [*labels, *labels]
    twice[40] = "good" if labels[0] == "bad" else "bad"
    task = from_texts(config(split=(0.5, 0.25, 0.25)), again, twice)
    seen = [{tuple(read) for read, _ in spelled(task, part)} for part in parts(task)]
    assert [len(part.inputs) for part in parts(task)] == [40, 20, 20]
    for one in range(3):
        assert len(seen[one]) == len(parts(task)[one].inputs) // 2
        assert not seen[one] & seen[one - 1]
    assert task.about["texts that occur again"] == "40"
    assert task.about["texts with several labels"] == "1"
    named = ["train"] * 40 + ["valid"] * 20 + ["test"] * 20
    leaks = from_texts(config(), again, twice, named)
    assert leaks.about["texts of the test part that another part has"] == "20"


def test_no_author_is_in_two_parts_nor_is_a_text_of_two_authors() -> None:
    texts, labels = made_up(60)
    authors = [i // 4 for i in range(60)]
    texts[4] = texts[0]  # of authors 0 and 1, who then belong together
    texts[8] = texts[5]  # and 2 with them
    task = from_texts(config(split=(0.5, 0.25, 0.25), vocabulary_size=999), texts, labels, None,
                      authors)  # fmt: skip
    place = {}
    for number, part in enumerate(parts(task)):
        for read, _ in spelled(task, part):
            place[tuple(read[-2:])] = number  # ends with the number of the text, if it is known
    known = set(task.vocabulary)
    own: dict[int, set[int]] = {}
    for i, author in enumerate(authors):
        if str(i) in known and i not in (4, 8):
            own.setdefault(0 if author <= 2 else author, set()).add(place[str(i), "!"])
    assert len(own) > 3
    assert all(len(found) == 1 for found in own.values())


def test_the_seed_changes_no_part() -> None:
    texts, labels = made_up()
    one, other = (from_texts(replace(config(), seed=s), texts, labels) for s in (1, 2))
    assert one.fingerprint == other.fingerprint


def test_balanced_classes_weigh_the_same_in_training_alone() -> None:
    task = from_texts(config(class_weights="balanced"), *made_up())
    train, valid, test = parts(task)
    assert task.score == "balanced_accuracy"
    assert valid.weights is None
    assert test.weights is None
    assert train.weights is not None
    targets = np.asarray(train.targets)
    sums = [train.weights[targets == c].sum() for c in range(2)]
    assert sums == pytest.approx([len(targets) / 2] * 2, rel=1e-12)
    assert len(np.unique(train.weights)) == 2


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", "a folder"])
def test_files_give_the_task_of_the_same_texts(suffix: str, tmp_path: Path) -> None:
    import polars as pl

    texts, labels = made_up(30)
    order = np.argsort(labels, kind="stable")  # as folders are read
    texts, labels = [texts[i] for i in order], [labels[i] for i in order]
    expected = from_texts(config(), texts, labels)
    frame = pl.DataFrame({"id": range(30), "review": texts, "stars": labels})
    path = tmp_path / f"texts{suffix}"
    if suffix == "a folder":
        for number, (text, label) in enumerate(zip(texts, labels, strict=True)):
            (path / label).mkdir(parents=True, exist_ok=True)
            (path / label / f"{number:03}.txt").write_text(text, encoding="utf-8")
        (path / "good" / ".hidden").write_bytes(b"\xff")
    elif suffix == ".parquet":
        frame.write_parquet(path)
    elif suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path, separator="\t" if suffix == ".tsv" else ",")
    task = load_task(config(path=(str(path),), text="review", label="stars"))
    assert (task.fingerprint, task.classes) == (expected.fingerprint, expected.classes)
    assert task.source == str(path)
    assert task.about == expected.about


def ragged(*texts: str) -> tuple[Ragged, list[str]]:
    return numbered(text.split() for text in texts)


def test_naive_bayes_is_the_formula() -> None:
    """The example of Manning, Raghavan & Schütze 2008, section 13.2: is it about China?"""
    found, _ = ragged(
        "Chinese Beijing Chinese", "Chinese Chinese Shanghai", "Chinese Macao",
        "Tokyo Japan Chinese", "Chinese Chinese Chinese Tokyo Japan London",
    )  # fmt: skip
    train, test = found.take(np.arange(4)), found.take(np.array([4]))
    codes = np.array([1, 1, 1, 0])
    logs = log_probabilities(train, codes, test, 2)
    china, other = 3 / 4 * (3 / 7) ** 3 * (1 / 14) ** 2, 1 / 4 * (2 / 9) ** 5
    total = math.log(china + other)
    np.testing.assert_allclose(
        logs, [[math.log(other) - total, math.log(china) - total]], rtol=1e-12
    )
    equal = log_probabilities(train, codes, test, 2, equal=True)
    np.testing.assert_allclose(equal[0, 1] - equal[0, 0], math.log(china / other / 3), rtol=1e-12)


def test_naive_bayes_is_that_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.naive_bayes")
    draw = np.random.default_rng(0)
    texts = [" ".join(map(str, draw.integers(0, 40, draw.integers(1, 20)))) for _ in range(80)]
    found, names = ragged(*texts)
    counts = np.zeros((80, len(names)))
    np.add.at(counts, (found.text_of, found.numbers), 1)
    codes, train, test = draw.integers(0, 3, 60), np.arange(60), np.arange(60, 80)
    counts = counts[:, counts[:60].any(0)]
    expected = sklearn.MultinomialNB().fit(counts[:60], codes).predict_log_proba(counts[60:])
    logs = log_probabilities(found.take(train), codes, found.take(test), 3)
    np.testing.assert_allclose(logs, expected, rtol=1e-9)


@pytest.mark.parametrize("few", [2**24, 0])
def test_trigrams_are_runs_within_a_text(few: int, monkeypatch) -> None:
    monkeypatch.setattr("shared.tasks.label_baselines.FEW", few)
    texts = ["abcab", "ab", "cabcab", "b", "bca"]
    found, _names = numbered(map(list, texts))
    runs = trigrams(found)
    expected = [[text[i : i + 3] for i in range(len(text) - 2)] for text in texts]
    spelled = [[*runs.text(row)] for row in range(5)]
    assert [len(row) for row in spelled] == [len(row) for row in expected]
    number: dict[str, int] = {}
    for row, own in zip(spelled, expected, strict=True):
        for run, text in zip(row, own, strict=True):
            assert number.setdefault(text, int(run)) == run
    assert len(set(number.values())) == len(number) == 3


@pytest.mark.parametrize("unit", ["word", "char"])
def test_naive_bayes_tells_good_from_bad(unit: str) -> None:
    task = from_texts(config(unit=unit, split=(0.5, 0.2, 0.3)), *made_up(120))
    frequencies, *own = task.baselines()
    names = ["naive Bayes on words", "naive Bayes on character trigrams"]
    assert [baseline.name for baseline in own] == (names if unit == "char" else names[:1])
    assert frequencies.scores["balanced_accuracy"] == 0.5
    for baseline in own:
        assert baseline.scores["accuracy"] > 0.9
        assert baseline.scores["loss"] < frequencies.scores["loss"]
        assert {"balanced_accuracy", "macro_f1", "roc_auc"} < set(baseline.scores)


def test_naive_bayes_has_no_prior_where_each_class_counts_as_much() -> None:
    texts = ["x"] * 9 + [f"only {i}" for i in range(6)]
    labels, named = ["a"] * 6 + ["b"] * 9, ["train"] * 5 + ["valid"] + ["train"] * 7 + ["test"] * 2
    own, equal = (
        from_texts(config(class_weights=w), texts, labels, named).baselines()[1].scores
        for w in ("equal", "balanced")
    )
    assert own["loss"] != equal["loss"]


def test_texts_without_three_characters_have_baselines() -> None:
    texts, labels = ["a", "b", "ab", "ba", "aa", "bb"] * 2, ["x", "y"] * 6
    task = from_texts(config(unit="char", split=(0.4, 0.3, 0.3)), texts, labels)
    assert [baseline.scores["loss"] >= 0 for baseline in task.baselines()] == [True] * 3


def test_facts_tell_of_parts_labels_lengths_and_vocabulary() -> None:
    texts = ["a b", "c d e", "a b c", "a zzz", "b", "c"]
    labels, named = ["x", "y"] * 3, ["train", "train", "valid", "test", "train", "test"]
    about = from_texts(config(vocabulary_size=4), texts, labels, named).about
    assert about == {
        "texts": "6: training 3, validation 1, test 2",
        "labels": "x 3, y 3",
        "lengths": "1 to 3 words, 2.0 in the mean",
        "vocabulary": "3 of the 5 different words of the training part, and one token for all "
        "others",
        "unknown in the test part": "33.3% of its words",
    }
