"""Vowels, rows and motion: parts that share nothing, padding of zeros, films that move."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from shared.config import Config
from shared.config.data import Data, MotionData, RowsData, VowelsData
from shared.errors import InvalidInput
from shared.tasks import TASKS, load_task, published
from shared.tasks.recognition import DIRECTIONS
from shared.tasks.task import Task
from tests.support.arrays import Arrays, arrays

MOTION = MotionData(300, 40, 200, frames=5)


def config(data: Data, seed: int = 0) -> Config:
    (name,) = (name for name, row in TASKS.items() if type(row.defaults.data) is type(data))
    return replace(TASKS[name].defaults, data=data, seed=seed)


def parts(task: Task) -> list[Arrays]:
    assert task.valid is not None
    return [arrays(task.train), arrays(task.valid), arrays(task.test)]


def utterances(part: str) -> list[np.ndarray]:
    """Frames of each published utterance."""
    found = published.load("vowels")
    ends = np.cumsum(found[f"{part}_lengths"].astype(int))
    return np.split(found[f"{part}_frames"].astype(np.float64), ends[:-1])


@pytest.mark.parametrize("held_out", [1, 3, 29])
def test_the_last_utterances_of_each_speaker_validate(held_out: int) -> None:
    task = load_task(config(VowelsData(held_out)))
    sizes = [270 - 9 * held_out, 9 * held_out, 370]
    assert [len(part.inputs) for part in parts(task)] == sizes
    train, valid, _ = parts(task)
    assert task.scaling is not None
    mean, std = task.scaling
    assert Counter(valid.targets.tolist()) == dict.fromkeys(range(9), held_out)
    assert Counter(train.targets.tolist()) == dict.fromkeys(range(9), 30 - held_out)
    place = np.arange(270) % 30  # thirty utterances of each speaker, one after the other
    every = utterances("train")
    for part, chosen in ((train, place < 30 - held_out), (valid, place >= 30 - held_out)):
        rows = np.flatnonzero(chosen)
        np.testing.assert_array_equal(part.targets, rows // 30)
        assert part.lengths is not None
        for row, found, length in zip(rows, part.inputs, part.lengths, strict=True):
            np.testing.assert_allclose(found[:length] * std + mean, every[row], atol=1e-9)


def test_the_published_utterances_test() -> None:
    task = load_task(config(VowelsData()))
    found = published.load("vowels")
    assert task.scaling is not None
    mean, std = task.scaling
    assert len(found["train_lengths"]) == 270
    np.testing.assert_array_equal(task.test.targets, found["test_speakers"])
    assert list(np.bincount(task.test.targets)) == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert task.test.lengths is not None
    for row, length, frames in zip(
        arrays(task.test).inputs, task.test.lengths, utterances("test"), strict=True
    ):
        np.testing.assert_allclose(row[:length] * std + mean, frames, atol=1e-9)


def test_utterances_have_7_to_29_frames_and_zeros_after_them() -> None:
    task = load_task(config(VowelsData()))
    every = []
    for part in parts(task):
        assert part.lengths is not None
        assert part.inputs.shape[1:] == (29, 12)
        assert (part.lengths.dtype, part.targets.dtype) == (np.int32, np.int32)
        after = np.arange(29) >= part.lengths[:, None]
        assert not part.inputs[after].any()
        assert part.inputs[~after].all(axis=1).mean() > 0.99
        every += part.lengths.tolist()
    assert (min(every), max(every), sum(every)) == (7, 29, 9961)
    assert task.classes == tuple(f"speaker {i}" for i in range(1, 10))


@pytest.mark.parametrize("held_out", [3, 12])
def test_vowels_are_scaled_by_what_is_trained_on(held_out: int) -> None:
    task = load_task(config(VowelsData(held_out)))
    frames = [u for i, u in enumerate(utterances("train")) if i % 30 < 30 - held_out]
    assert task.scaling is not None
    np.testing.assert_allclose(task.scaling[0], np.concatenate(frames).mean(0), rtol=1e-12)
    np.testing.assert_allclose(task.scaling[1], np.concatenate(frames).std(0), rtol=1e-12)
    assert task.train.lengths is not None
    inside = task.train.inputs[np.arange(29) < task.train.lengths[:, None]]
    np.testing.assert_allclose(inside.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(inside.std(0), 1, atol=1e-12)


def test_images_are_read_from_the_top_row_by_row() -> None:
    task, found = load_task(config(RowsData())), published.load("digits")
    assert [len(part.inputs) for part in parts(task)] == [1258, 180, 359]
    assert task.image == (1, 8)
    assert task.classes == tuple("0123456789")
    inputs = np.concatenate([part.inputs for part in parts(task)])
    labels = np.concatenate([part.targets for part in parts(task)])
    assert inputs.shape == (1797, 8, 8)
    assert (inputs.min(), inputs.max()) == (0, 1)

    def together(images: np.ndarray, labels: np.ndarray) -> Counter:
        return Counter(zip((image.tobytes() for image in images), labels.tolist(), strict=True))

    scaled = (found["images"] / 16).astype(np.float32)
    assert together(inputs, labels) == together(scaled, found["labels"])


def test_no_image_is_in_two_parts_whatever_the_seed() -> None:
    task, other = (load_task(config(RowsData(), seed)) for seed in (0, 7))
    assert task.fingerprint == other.fingerprint
    several = Counter(
        image for part in parts(task) for image in {row.tobytes() for row in part.inputs}
    )
    assert sum(several.values()) == 1797
    assert max(several.values()) == 1


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_shares_of_the_rows_are_those_of_the_options(share: float) -> None:
    sizes = [len(p.inputs) for p in parts(load_task(config(RowsData(share, 0.5))))]
    assert sizes[1:] == [round(share * 1797), round(0.5 * 1797)]
    assert sum(sizes) == 1797


def films(part: Arrays) -> np.ndarray:
    return part.inputs.reshape(len(part.inputs), -1, 16, 16)


def test_each_frame_is_the_one_before_moved_by_the_direction() -> None:
    task = load_task(config(MOTION))
    assert task.classes == (
        "right", "down right", "down", "down left", "left", "up left", "up", "up right",
    )  # fmt: skip
    rows, columns = {"down": 1, "up": -1}, {"right": 1, "left": -1}
    for part, size in zip(parts(task), (300, 40, 200), strict=True):
        assert part.inputs.shape == (size, 5, 256)
        assert part.inputs.dtype == np.float32
        assert set(part.targets.tolist()) == set(range(8))
        for film, target in zip(films(part), part.targets, strict=True):
            words = task.classes[target].split()
            step = [sum(axis.get(word, 0) for word in words) for axis in (rows, columns)]
            assert np.count_nonzero(film[0]) > 10
            for before, after in pairwise(film):
                np.testing.assert_array_equal(np.roll(before, step, (0, 1)), after)
    assert len(DIRECTIONS) == 8


def shown(part: Arrays) -> set[bytes]:
    """The digits of a part's films, wherever they stand: each as its cyclic shift of the most
    bytes."""
    found = set()
    for film in films(part):
        frame = film[0]
        shifts = (np.roll(frame, (i, j), (0, 1)).tobytes() for i in range(16) for j in range(16))
        found.add(max(shifts))
    return found


def test_no_digit_of_one_part_moves_in_another() -> None:
    train, valid, test = map(shown, parts(load_task(config(MOTION))))
    assert not train & valid
    assert not train & test
    assert not valid & test
    assert (len(train), len(valid), len(test)) == pytest.approx((265, 38, 155), abs=25)


def test_films_show_the_digits_that_are_read_in_rows_of_the_same_part() -> None:
    """Both tasks cut the same order of the images, so a test digit trains neither."""
    read, moving = load_task(config(RowsData())), load_task(config(MOTION))
    for images, part in zip(parts(read), parts(moving), strict=True):
        sums = {round(float(image.sum()), 3) for image in images.inputs}
        assert {round(float(film[0].sum()), 3) for film in films(part)} <= sums


def test_the_seed_decides_the_films_and_no_digit_changes_its_part() -> None:
    first, again, other = (load_task(config(MOTION, seed)) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint
    train, other_train = arrays(first.train), arrays(other.train)
    assert (train.targets != other_train.targets).any()
    assert not shown(train) & shown(arrays(other.test))


@pytest.mark.parametrize("data", [VowelsData(), RowsData(), MOTION], ids=lambda d: type(d).__name__)
def test_the_baseline_is_the_most_frequent_class_of_training(data: Data) -> None:
    task = load_task(config(data))
    (baseline,) = task.baselines()
    counts = Counter(arrays(task.train).targets.tolist())
    shares = np.array([counts[c] + 1 for c in range(len(task.classes))])
    shares = shares / shares.sum()
    accuracy = np.mean(task.test.targets == shares.argmax())
    assert baseline.scores["accuracy"] == pytest.approx(accuracy, rel=1e-12)
    assert baseline.scores["loss"] == pytest.approx(-np.log(shares[task.test.targets]).mean())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            VowelsData(30),
            r"--data.valid-utterances: expected fewer than a speaker's 30 utterances, got 30",
        ),
        (RowsData(valid_share=0.9, test_share=0.1), ".*expected images in every part, .* training"),
        (RowsData(valid_share=0.0001), ".*expected images in every part, got none for validation"),
        (RowsData(test_share=0.0001), ".*--data.test-share 0.0001: .*, got none for test"),
        (replace(MOTION, train_examples=10**9), ".*--data.train-examples.* of 5 frames.*GB.*"),
    ],
    ids=["nothing to train on", "all held out", "no validation", "no test", "too many films"],
)
def test_impossible_parts_are_refused(data: Data, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}$"):
        load_task(config(data))
