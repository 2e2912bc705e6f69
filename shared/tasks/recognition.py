"""Sequences with one class each: speakers by their vowels, digits by their rows, moving digits."""

from dataclasses import replace

import numpy as np

from shared.config import Config
from shared.config.data import MotionData, RowsData, VowelsData
from shared.errors import InvalidInput
from shared.protocol.dataset import Signature, Split
from shared.system.environment import check_memory
from shared.system.randomness import generator
from shared.tasks import baselines, published
from shared.tasks.task import Task

SPEAKERS = 9
FRAME = 16
"""Side of a film's frame in pixels."""
DIRECTIONS = {
    "right": (0, 1),
    "down right": (1, 1),
    "down": (1, 0),
    "down left": (1, -1),
    "left": (0, -1),
    "up left": (-1, -1),
    "up": (-1, 0),
    "up right": (-1, 1),
}
"""Rows and columns by which a digit moves from one frame to the next."""


def vowels(config: Config) -> Task:
    """Reads vowels, to tell which of nine men speaks: 7 to 29 frames of 12 cepstrum coefficients.

    The published parts train and test. The last utterances of each speaker in the training part
    validate.
    """
    data = config.data
    assert isinstance(data, VowelsData)
    found = published.load("vowels")
    frames, lengths, speakers = _utterances(found, "train")
    # Utterances stand in order of their speakers.
    least = np.bincount(speakers, minlength=SPEAKERS).min()
    if data.valid_utterances >= least:
        raise InvalidInput(
            f"--data.valid-utterances: expected fewer than a speaker's {least} utterances, "
            f"got {data.valid_utterances}"
        )
    later = np.concatenate(
        [np.flatnonzero(speakers == s)[-data.valid_utterances :] for s in range(SPEAKERS)]
    )
    chosen = np.isin(np.arange(len(speakers)), later)
    longest: int = frames.shape[1]
    real = np.arange(longest) < lengths[:, None]
    known = frames[~chosen][real[~chosen]]
    mean, std = known.mean(0), known.std(0)

    def split(frames: np.ndarray, lengths: np.ndarray, speakers: np.ndarray) -> Split:
        scaled = (frames - mean) / std
        scaled[np.arange(frames.shape[1]) >= lengths[:, None]] = 0
        return Split(scaled, speakers, lengths)

    train, valid = (
        split(frames[rows], lengths[rows], speakers[rows]) for rows in (~chosen, chosen)
    )
    test = split(*_utterances(found, "test"))
    classes = tuple(f"speaker {i + 1}" for i in range(SPEAKERS))
    task = _task("vowels", train, valid, test, classes, published.SOURCES["vowels"])
    return replace(task, scaling=(mean, std))


def _utterances(found: dict[str, np.ndarray], part: str) -> tuple[np.ndarray, ...]:
    """Returns frames (N, 29, 12) padded with zeros, lengths and speakers of a published part."""
    lengths = found[f"{part}_lengths"].astype(np.int32)
    frames = found[f"{part}_frames"].astype(np.float64)
    longest = max(found["train_lengths"].max(), found["test_lengths"].max())
    padded = np.zeros((len(lengths), longest, frames.shape[1]))
    padded[np.arange(longest) < lengths[:, None]] = frames
    return padded, lengths, found[f"{part}_speakers"].astype(np.int32)


def rows(config: Config) -> Task:
    """Reads handwritten digits, row by row: 8 steps of 8 pixels from 0 to 1."""
    data = config.data
    assert isinstance(data, RowsData)
    images, labels = _digits()
    order = generator(0, "digits").permutation(len(images))  # the same parts for every seed
    ends = np.cumsum([round(s * len(images)) for s in (data.test_share, data.valid_share)])
    test, valid, train = (Split(images[part], labels[part]) for part in np.split(order, ends))
    for name, part in (("training", train), ("validation", valid), ("test", test)):
        if not len(part.inputs):
            raise InvalidInput(
                f"--data.valid-share {data.valid_share}, --data.test-share {data.test_share}: "
                f"expected images in every part, got none for {name}"
            )
    classes = tuple(map(str, range(10)))
    task = _task("rows", train, valid, test, classes, published.SOURCES["digits"])
    return replace(task, image=(1, 8), scaling=(np.zeros(8), np.full(8, 16.0)))


def motion(config: Config) -> Task:
    """Makes films of a digit that moves in one of eight directions, which is the class.

    A frame has 16 × 16 pixels; the digit moves by one pixel a step, around the edges. No digit of
    one part is in another.
    """
    data = config.data
    assert isinstance(data, MotionData)
    images, _ = _digits()
    order = generator(0, "digits").permutation(len(images))
    sizes = {"train": data.train_examples, "valid": data.valid_examples, "test": data.test_examples}
    check_memory(
        sum(sizes.values()) * data.frames * FRAME**2 * 4,
        f"{sum(sizes.values())} films (--data.train-examples, --data.valid-examples, "
        f"--data.test-examples) of {data.frames} frames",
    )
    ends = np.cumsum([round(0.2 * len(images)), round(0.1 * len(images))])
    images_of: dict[str, np.ndarray] = dict(
        zip(("test", "valid", "train"), np.split(order, ends), strict=True)
    )

    def part(name: str) -> Split:
        draw, count = generator(config.seed, f"motion, {name}"), sizes[name]
        shown = images[draw.choice(images_of[name], count)]
        directions = draw.integers(0, len(DIRECTIONS), count, np.int32)
        at = draw.integers(0, FRAME, (2, count, 1, 1, 1))
        step = np.array([*DIRECTIONS.values()])[directions]
        film, pixel = np.arange(data.frames)[:, None, None], np.arange(8)
        place = [at[i] + film * step[:, i, None, None, None] for i in range(2)]
        row, column = place[0] + pixel[:, None], place[1] + pixel
        films = np.zeros((count, data.frames, FRAME, FRAME), np.float32)
        number = np.arange(count)[:, None, None, None]
        films[number, film, row % FRAME, column % FRAME] = shown[:, None]
        return Split(films.reshape(count, data.frames, FRAME**2), directions)

    source = f"generated from {published.SOURCES['digits']}"
    parts = part("train"), part("valid"), part("test")
    return replace(_task("motion", *parts, tuple(DIRECTIONS), source), image=(FRAME, FRAME))


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Reads images (1797, 8, 8) from 0 to 1 and their digits."""
    found = published.load("digits")
    return (found["images"] / 16).astype(np.float32), found["labels"].astype(np.int32)


def _task(
    name: str, train: Split, valid: Split, test: Split, classes: tuple[str, ...], source: str
) -> Task:
    count = len(classes)
    inputs = train.inputs.shape[2]
    return Task(
        name=name,
        signature=Signature(inputs, count, tokens=False, per_step=False, loss="cross_entropy"),
        train=train,
        valid=valid,
        test=test,
        baselines=lambda: [
            baselines.class_frequencies(np.asarray(train.targets), np.asarray(test.targets), count)
        ],
        classes=classes,
        source=source,
    )
