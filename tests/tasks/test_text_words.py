"""A text of words: which are known, which are not, and what predictors without a network reach."""

import bz2
import gzip
import lzma
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.config.data import TextData
from shared.errors import InvalidInput
from shared.protocol.dataset import Split
from shared.tasks import TASKS, load_task
from shared.tasks.task import Task
from shared.tasks.text import END_OF_LINE, UNKNOWN_WORD, words_of

TRAIN = "the cat sat on the mat\nthe dog sat on a log\n" * 3
VALID = "a cat sat on the dog\na bird sat\n"
TEST = "the mat sat on a fish\n\nfish <unk> the fish\n"


def folder(path: Path, train: str = TRAIN, valid: str = VALID, test: str = TEST, **options):
    """The configuration of a folder of three texts."""
    path.mkdir(exist_ok=True)
    for name, content in (("train", train), ("valid", valid), ("test", test)):
        (path / f"{name}.txt").write_text(content, encoding="utf-8")
    return words(path, **options)


def words(path: Path, batch_size: int = 2, bptt: int = 3, **options: Any) -> Config:
    data = replace(TextData(str(path), unit="word"), **options)
    return replace(TASKS["text"].defaults, data=data, batch_size=batch_size, bptt=bptt)


def spelled(task: Task, part: Split) -> list[str]:
    tokens = [*part.inputs[0], part.targets[0, -1]]
    return [task.vocabulary[token] for token in tokens]


def test_words_stand_between_blanks_and_each_line_ends_with_a_word_of_its_own() -> None:
    assert words_of("one  two\tthree\n\n four") == [
        "one", "two", "three", END_OF_LINE, END_OF_LINE, "four", END_OF_LINE,
    ]  # fmt: skip
    assert words_of("a\r\nb\n") == ["a", END_OF_LINE, "b", END_OF_LINE]
    assert words_of("") == []


def test_a_folder_holds_the_three_parts(tmp_path: Path) -> None:
    task = load_task(folder(tmp_path / "texts", batch_size=1))
    assert task.source == str(tmp_path / "texts")
    assert task.valid is not None
    assert task.unit == "word"
    assert spelled(task, task.train) == words_of(TRAIN)
    assert spelled(task, task.valid) == [
        w if w in words_of(TRAIN) else UNKNOWN_WORD for w in words_of(VALID)
    ]
    assert task.score == "perplexity"
    assert task.characters == {"valid": len(VALID), "test": len(TEST)}


def test_characters_of_a_folder_are_counted_without_the_first_which_is_given(
    tmp_path: Path,
) -> None:
    task = load_task(folder(tmp_path / "texts", unit="char"))
    assert task.characters == {"valid": len(VALID) - 1, "test": len(TEST) - 1}
    assert np.size(task.test.targets) == len(TEST) - 1
    assert task.score == "bits_per_character"


def test_words_are_numbered_by_their_frequency_and_equals_by_their_first_place(
    tmp_path: Path,
) -> None:
    task = load_task(folder(tmp_path / "texts"))
    assert task.vocabulary == (
        UNKNOWN_WORD, END_OF_LINE, "the", "sat", "on", "cat", "mat", "dog", "a", "log",
    )  # fmt: skip


@pytest.mark.parametrize("size", [3, 6, 9, 10, 11, 10_000])
def test_the_vocabulary_has_a_limit(size: int, tmp_path: Path) -> None:
    task = load_task(folder(tmp_path / "texts", vocabulary_size=size))
    whole = load_task(folder(tmp_path / "texts")).vocabulary
    assert task.vocabulary == whole[:size]
    assert task.signature.input_size == task.signature.output_size == min(size, 10)
    known = {word: i for i, word in enumerate(task.vocabulary)}
    expected = [known.get(word, 0) for word in words_of(TRAIN)]
    task = load_task(folder(tmp_path / "texts", vocabulary_size=size, batch_size=1))
    assert [*task.train.inputs[0], task.train.targets[0, -1]] == expected


def test_the_unknown_word_in_the_text_is_the_unknown_token(tmp_path: Path) -> None:
    """Published texts have it where rare words were replaced."""
    train = "<unk> sat <unk> <unk>\n" * 5
    task = load_task(folder(tmp_path / "texts", train=train, batch_size=1))
    assert task.vocabulary == (UNKNOWN_WORD, END_OF_LINE, "sat")
    assert list(task.train.inputs[0][:5]) == [0, 2, 0, 0, 1]
    assert spelled(task, task.test).count(UNKNOWN_WORD) == 9  # all words but "sat" and the ends


def test_a_single_file_is_cut_in_reading_order(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two\n" * 50, encoding="utf-8")
    task = load_task(words(tmp_path / "a.txt", 1, 3, split=(0.5, 0.25, 0.25)))
    assert task.vocabulary == (UNKNOWN_WORD, END_OF_LINE, "one", "two")
    assert np.size(task.train.targets) == 74
    assert task.characters == {"valid": 100, "test": 100}


def test_options_that_do_not_fit_the_text_are_refused(tmp_path: Path) -> None:
    split = folder(tmp_path / "texts", split=(0.8, 0.1, 0.1))
    with pytest.raises(
        InvalidInput, match=r"^--data.split is an option of a single text, got a fo"
    ):
        load_task(split)
    size = folder(tmp_path / "texts", unit="char", vocabulary_size=7)
    with pytest.raises(
        InvalidInput, match=r"^--data.vocabulary-size 7 is an option of --data.unit"
    ):
        load_task(size)


def test_the_mark_of_the_byte_order_is_no_part_of_a_text(tmp_path: Path) -> None:
    plain = load_task(folder(tmp_path / "texts"))
    marked = load_task(folder(tmp_path / "marked", *("\ufeff" + t for t in (TRAIN, VALID, TEST))))
    assert marked.vocabulary == plain.vocabulary
    np.testing.assert_array_equal(marked.test.inputs, plain.test.inputs)


@pytest.mark.parametrize("name", ["train.txt", "valid.txt", "test.txt"])
def test_a_missing_file_of_a_folder_is_named(name: str, tmp_path: Path) -> None:
    config = folder(tmp_path / "texts")
    (tmp_path / "texts" / name).unlink()
    with pytest.raises(
        InvalidInput,
        match=f"^--data.path .*{name}: expected a readable file, got: No such file or directory$",
    ):
        load_task(config)


@pytest.mark.parametrize("size", [1, 2])
def test_a_vocabulary_without_words_is_refused(size: int, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput,
        match="^--data.vocabulary-size: expected more than 2, the unknown word and the end of a "
        f"line, got {size}$",
    ):
        load_task(folder(tmp_path / "texts", vocabulary_size=size))


def test_a_part_with_too_few_words_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"expected a test part of at least 4 words \(--bptt 3, .*\), got 3$"
    ):
        load_task(folder(tmp_path / "texts", test="the cat\n"))


def test_words_have_an_embedding_of_the_hidden_size_and_characters_none(tmp_path: Path) -> None:
    config = folder(tmp_path / "texts")
    assert resolve(config).network.embedding_size == config.network.hidden_size
    chosen = replace(config, network=replace(config.network, embedding_size=5))
    assert resolve(chosen).network.embedding_size == 5
    assert resolve(folder(tmp_path / "texts", unit="char")).network.embedding_size is None


@pytest.mark.parametrize("unit", ["char", "word"])
def test_compressors_are_scored_by_what_the_test_text_adds(unit: str, tmp_path: Path) -> None:
    train, test = TRAIN * 20, TEST * 9 + "è"
    (_, *found) = load_task(folder(tmp_path / "t", train, VALID, test, unit=unit)).baselines()
    compressed = {
        "gzip": lambda content: gzip.compress(content, compresslevel=9),
        "bzip2": lambda content: bz2.compress(content, compresslevel=9),
        "xz": lambda content: lzma.compress(content, preset=lzma.PRESET_EXTREME | 9),
    }
    assert [baseline.name for baseline in found] == list(compressed)
    for name, scores in found:
        before, both = (len(compressed[name](t.encode())) for t in (train, train + test))
        assert scores == {"bits_per_character": 8 * (both - before) / len(test)}
        assert both > before


def test_the_unigram_of_words_is_computed_for_each_character(tmp_path: Path) -> None:
    (unigram, *_) = load_task(folder(tmp_path / "texts")).baselines()
    assert unigram.name == "word frequencies (unigram)"
    counts = Counter(words_of(TRAIN))
    total = sum(counts.values()) + len(counts) + 1  # one more of each, and an unknown word
    # The first word is given.
    shares = [(counts.get(word, 0) + 1) / total for word in words_of(TEST)[1:]]
    bits = -sum(map(math.log2, shares))
    assert unigram.scores["bits_per_character"] == pytest.approx(bits / len(TEST), rel=1e-12)
    loss = -np.log(shares).mean()
    assert unigram.scores["loss"] == pytest.approx(loss, rel=1e-12)
    assert unigram.scores["perplexity"] == pytest.approx(math.exp(loss), rel=1e-12)
    most = counts.most_common(1)[0][0]
    assert unigram.scores["accuracy"] == np.mean([word == most for word in words_of(TEST)[1:]])
