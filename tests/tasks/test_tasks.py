"""Data sets, their parts and their baselines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.config.data import GeneratedData, HelloData, TextData
from shared.errors import InvalidInput
from shared.tasks import TASKS, load_task
from shared.tasks.generated import PIECE
from shared.tasks.text import UNKNOWN, read_text
from tests.support.arrays import arrays

SMALL = GeneratedData(400, 50, 300, sequence_length=6, input_size=3)


def generated(task: str, data: GeneratedData = SMALL, seed: int = 0) -> Config:
    return replace(TASKS[task].defaults, data=data, seed=seed)


def text(file: Path, content: str, **options) -> Config:
    file.write_text(content, encoding="utf-8")
    data = TextData(str(file), options.pop("split", (0.8, 0.1, 0.1)))
    defaults = {"data": data, "batch_size": 2, "bptt": 3}
    return replace(TASKS["text"].defaults, **(defaults | options))


def test_hello_is_five_characters_and_their_successors() -> None:
    task = load_task(TASKS["hello"].defaults)
    spelled = ["".join(task.vocabulary[token] for token in tokens[0]) for tokens in task.train[:2]]
    assert spelled == ["hello", "elloh"]
    assert task.signature.input_size == task.signature.output_size == 4
    assert not task.held_out


def hello(*words: str, **options) -> Config:
    return replace(TASKS["hello"].defaults, data=HelloData(words), **options)


def test_words_are_sequences_of_their_own_and_the_first_character_follows_the_last() -> None:
    task = load_task(hello("hello", "oleole", "a"))
    assert task.vocabulary == ("a", "e", "h", "l", "o")
    assert task.train.inputs.shape == task.train.targets.shape == (3, 6)
    assert task.train.lengths is not None
    assert (list(task.train.lengths), task.train.lengths.dtype) == ([5, 6, 1], np.int32)
    train = arrays(task.train)
    for tokens, expected in (
        (train.inputs, ["hello", "oleole", "a"]),
        (train.targets, ["elloh", "leoleo", "a"]),
    ):
        rows = zip(tokens, task.train.lengths, strict=True)
        assert ["".join(task.vocabulary[t] for t in row[:n]) for row, n in rows] == expected
        assert not tokens[2, 1:].any()
    assert task.signature.input_size == task.signature.output_size == 5
    assert task.source == "the words themselves"
    assert not task.held_out
    assert task.test is task.train or task.test.lengths is task.train.lengths


def test_words_of_one_length_have_no_lengths_and_can_be_read_in_windows() -> None:
    task = load_task(hello("hello", "world", bptt=2))
    assert task.train.lengths is None
    assert task.train.inputs.shape == (2, 5)


def test_windows_of_words_of_several_lengths_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^--bptt 3 needs sequences of one length.*hello, ho"):
        load_task(hello("hello", "ho", bptt=3))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (hello(), "--data.words: expected one or more words of at least one character, got none"),
        (hello("hello", ""), "--data.words: expected one or more words .*, got 'hello' ''"),
    ],
    ids=["no words", "an empty word"],
)
def test_words_without_characters_are_refused(config: Config, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}$"):
        resolve(config)


@pytest.mark.parametrize(
    ("min_length", "message"),
    [
        (7, "--data.min-length: expected at most the sequence length 6, got 7"),
        (0, "--data.min-length: expected a positive number .*, got 0"),
        (-1, "--data.min-length: expected a positive number .*, got -1"),
    ],
)
def test_lengths_that_no_sequence_can_have_are_refused(min_length: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}$"):
        resolve(generated("last-value", replace(SMALL, min_length=min_length)))


@pytest.mark.parametrize("name", ["last-value", "random-labels"])
def test_lengths_are_drawn_up_to_the_sequence_length_and_the_rest_is_zero(name: str) -> None:
    task = load_task(generated(name, replace(SMALL, min_length=2)))
    whole = load_task(generated(name))
    assert task.valid is not None
    assert whole.valid is not None
    for part, full in (
        (task.train, whole.train),
        (task.valid, whole.valid),
        (task.test, whole.test),
    ):
        assert part.lengths is not None
        assert (part.lengths.dtype, part.lengths.shape) == (np.int32, (len(part.inputs),))
        assert set(part.lengths) == {2, 3, 4, 5, 6}
        within = np.arange(6) < part.lengths[:, None]
        assert not part.inputs[~within].any()
        # The same numbers as without lengths: to draw more of one stream moves no other.
        np.testing.assert_array_equal(part.inputs[within], full.inputs[within])
    assert (task.train.lengths[:50] != task.valid.lengths).any()  # pyright: ignore[reportOptionalSubscript]


def test_the_last_value_is_that_of_each_sequences_own_last_step() -> None:
    task = load_task(generated("last-value", replace(SMALL, min_length=2)))
    for part in (arrays(task.train), arrays(task.test)):
        assert part.lengths is not None
        last = [row[length - 1, 0] for row, length in zip(part.inputs, part.lengths, strict=True)]
        np.testing.assert_array_equal(part.targets, np.array(last) > 0)
        assert 0.35 < part.targets.mean() < 0.65  # in the padding, all would be 0


def test_random_labels_do_not_know_the_lengths() -> None:
    labels = load_task(generated("random-labels")).train.targets
    with_lengths = load_task(generated("random-labels", replace(SMALL, min_length=2)))
    np.testing.assert_array_equal(with_lengths.train.targets, labels)


def test_a_shortest_length_that_is_the_longest_makes_all_equal() -> None:
    task = load_task(generated("last-value", replace(SMALL, min_length=6)))
    assert task.train.lengths is not None
    assert set(task.train.lengths) == {6}
    np.testing.assert_array_equal(
        task.train.inputs, load_task(generated("last-value")).train.inputs
    )


@pytest.mark.parametrize(
    ("name", "digest"), [("last-value", "9712862aa11aa922"), ("random-labels", "80e6c4bb30a91576")]
)
def test_the_data_are_what_they_have_always_been(name: str, digest: str) -> None:
    """Runs and their resumption depend on it."""
    task = load_task(generated(name))
    assert task.train.lengths is None
    assert task.fingerprint == digest


@pytest.mark.parametrize("piece", [1, PIECE])
@pytest.mark.parametrize("name", ["last-value", "random-labels"])
def test_generated_parts_have_their_sizes_and_share_no_sequence(
    name: str, piece: int, monkeypatch
) -> None:
    monkeypatch.setattr("shared.tasks.generated.PIECE", piece)
    task = load_task(generated(name))
    assert task.train.inputs.shape == (400, 6, 3)
    assert task.valid is not None
    assert (len(task.valid.inputs), len(task.test.inputs)) == (50, 300)
    everything = np.concatenate([part.inputs for part in (task.train, task.valid, task.test)])
    assert len(np.unique(everything.reshape(750, -1), axis=0)) == 750
    assert everything.dtype == np.float32


def test_last_value_labels_are_the_sign_and_random_labels_are_not() -> None:
    last, random = (load_task(generated(name)) for name in ("last-value", "random-labels"))
    np.testing.assert_array_equal(last.test.targets, last.test.inputs[:, -1, 0] > 0)
    agreement = np.mean(random.test.targets == (random.test.inputs[:, -1, 0] > 0))
    assert 0.35 < agreement < 0.65
    assert 0.35 < np.mean(random.test.targets) < 0.65


def test_the_seed_decides_generated_data() -> None:
    first, again, other = (load_task(generated("last-value", seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.train.inputs, again.train.inputs)
    assert (arrays(first.train).inputs != arrays(other.train).inputs).all()


def test_the_class_baseline_is_scored_on_the_held_out_part() -> None:
    task = load_task(generated("random-labels"))
    ones = (np.sum(task.train.targets) + 1) / (len(task.train.targets) + 2)
    majority = int(ones > 0.5)
    accuracy = np.mean(task.test.targets == majority)
    loss = -np.mean(np.where(task.test.targets == 1, np.log(ones), np.log(1 - ones)))
    (baseline,) = task.baselines()
    assert baseline.name == "class frequencies"
    assert baseline.scores == {
        "loss": pytest.approx(loss, rel=1e-12), "accuracy": pytest.approx(accuracy, rel=1e-12)
    }  # fmt: skip


def test_a_class_that_training_lacks_has_a_finite_baseline() -> None:
    task = load_task(generated("random-labels", GeneratedData(1, 1, 50, 2, 1)))
    (baseline,) = task.baselines()
    assert np.isfinite(baseline.scores["loss"])


def test_text_is_split_in_reading_order_and_loses_nothing(tmp_path: Path) -> None:
    content = "".join(np.random.default_rng(1).choice(list("abcdé\n"), 100))
    task = load_task(text(tmp_path / "a.txt", content, batch_size=1))
    assert task.valid is not None
    spelled = [
        "".join(task.vocabulary[token] for token in [*part.inputs[0], part.targets[0, -1]])
        for part in (task.train, task.valid, task.test)
    ]
    assert spelled == [content[:80], content[80:90], content[90:]]
    np.testing.assert_array_equal(task.train.inputs[0, 1:], task.train.targets[0, :-1])


def test_held_out_characters_outside_the_vocabulary_are_one_unknown_token(tmp_path: Path) -> None:
    task = load_task(
        text(tmp_path / "a.txt", "ab" * 40 + "abXbabYbab" + "ZZa€\N{GRINNING FACE}ababb")
    )
    assert task.vocabulary == (UNKNOWN, "a", "b")
    assert task.valid is not None
    assert list(task.valid.inputs[0]) == [1, 2, 0, 2, 1, 2, 0, 2, 1]
    assert list(task.test.inputs[0][:5]) == [0, 0, 1, 0, 0]


def test_characters_beyond_the_basic_plane_are_single_tokens(tmp_path: Path) -> None:
    task = load_task(text(tmp_path / "a.txt", "a\N{GRINNING FACE}ü" * 40))
    assert task.vocabulary == (UNKNOWN, "a", "ü", "\N{GRINNING FACE}")


def test_line_ends_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"ab\r\n" * 40)
    config = replace(text(tmp_path / "b.txt", "ab"), data=TextData(str(tmp_path / "a.txt")))
    assert load_task(config).vocabulary == (UNKNOWN, "\n", "\r", "a", "b")


def test_the_unigram_knows_the_training_text_alone(tmp_path: Path) -> None:
    task = load_task(text(tmp_path / "a.txt", "aaab" * 20 + "b" * 20))
    unigram = task.baselines()[0]
    assert unigram.name == "character frequencies (unigram)"
    shares = {"a": 61 / 83, "b": 21 / 83}
    assert unigram.scores == {
        "loss": pytest.approx(-np.log(shares["b"])),
        "accuracy": 0.0,
        "bits_per_character": pytest.approx(-np.log2(shares["b"])),
        "perplexity": pytest.approx(1 / shares["b"]),
    }


@pytest.mark.parametrize(
    ("split", "part"), [((0.4, 0.3, 0.3), "training"), ((0.9, 0.05, 0.05), "validation")]
)
def test_a_part_shorter_than_a_window_is_named(tmp_path: Path, split: tuple, part: str) -> None:
    config = text(tmp_path / "a.txt", "abcd" * 10, split=split, batch_size=2, bptt=9)
    with pytest.raises(InvalidInput, match=f"a {part} part of at least"):
        load_task(config)


def test_pythons_help_topics_are_the_default_text() -> None:
    task = load_task(TASKS["text"].defaults)
    assert task.source == "CPython's help topics"
    assert np.size(task.train.inputs) > 200_000
    assert {"a", "\n", " "} < set(task.vocabulary)


def test_data_options_of_another_task_are_refused() -> None:
    with pytest.raises(InvalidInput, match="expected data options HelloData, got GeneratedData"):
        load_task(replace(TASKS["hello"].defaults, data=SMALL))


def test_the_fingerprint_is_that_of_data_and_vocabulary(tmp_path: Path) -> None:
    """Two texts of the same shape: in other words, and in other characters."""
    original = "one two three " * 20
    texts = [original, original, original[::-1], original.replace("o", "ö")]
    same, again, words, characters = (
        load_task(text(tmp_path / f"{i}.txt", content)).fingerprint
        for i, content in enumerate(texts)
    )
    assert same == again
    assert len({same, words, characters}) == 3


def test_a_name_is_no_configuration() -> None:
    value: Any = "hello"
    with pytest.raises(InvalidInput, match=r"^expected a Config, such as TASKS.*, got 'hello'$"):
        load_task(value)


def test_a_device_without_end_is_no_text() -> None:
    with pytest.raises(InvalidInput, match=r"^--data.path /dev/zero: expected .*, got a device$"):
        read_text(Path("/dev/zero"), "--data.path ")
