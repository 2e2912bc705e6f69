"""Predictors without a network, scored on the held-out data of the test."""

import bz2
import gzip
import lzma
import math
from collections.abc import Callable, Sequence

import numpy as np

from shared.tasks.task import Baseline

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda content: gzip.compress(content, 9),
    "bzip2": lambda content: bz2.compress(content, 9),
    "xz": lambda content: lzma.compress(content, preset=9 | lzma.PRESET_EXTREME),
}


def class_frequencies(train: np.ndarray, test: np.ndarray, classes: int) -> Baseline:
    """Always predicts the class frequencies of the training part.

    One count is added to each class, so that a class which that part lacks has a finite loss.

    Args:
        train, test: classes, of any shape.
        classes: how many there are.
    """
    counts = np.bincount(train.ravel(), minlength=classes) + 1
    shares = counts / counts.sum()
    right: np.ndarray = test == shares.argmax()
    loss, accuracy = -np.log(shares[test]).mean(), np.mean(right)
    return Baseline("class frequencies", {"loss": float(loss), "accuracy": float(accuracy)})


def constant(name: str, value: float, targets: np.ndarray) -> Baseline:
    """Always predicts the same value."""
    return errors(name, np.full(targets.shape, value), targets)


def errors(
    name: str,
    predicted: np.ndarray,
    targets: np.ndarray,
    std: float | None = None,
    variance: float | None = None,
) -> Baseline:
    """Computes squared and absolute errors of predicted values.

    Args:
        predicted, targets: (N, 1) in the scale of the network's targets.
        std: how much of a quantity's unit is 1 in that scale, for an RMSE in the unit.
        variance: of the values to predict in that scale, for the share that is explained.
    """
    off = predicted.astype(np.float64) - targets
    loss = float(np.square(off).mean())
    scores = {"loss": loss, "mae": float(np.abs(off).mean())}
    if std is not None:
        scores["rmse"] = std * math.sqrt(loss)
    if variance is not None:
        scores["r2"] = 1 - loss / variance
    return Baseline(name, scores)


def linear(
    name: str, train: np.ndarray, known: np.ndarray, test: np.ndarray, targets: np.ndarray,
    std: float, variance: float,
) -> Baseline:  # fmt: skip
    """Fits least squares to the inputs that the network reads, such as an autoregression.

    Args:
        train, test: (N, F) features of both parts.
        known, targets: (N, 1) targets of both.
    """
    train, test = (np.column_stack([np.ones(len(part)), part]) for part in (train, test))
    return errors(name, test @ np.linalg.lstsq(train, known)[0], targets, std, variance)


def unigram(train: np.ndarray, test: np.ndarray, size: int, characters: int, unit: str) -> Baseline:
    """Predicts every token by its share of the training text (one count added to each).

    Args:
        train, test: tokens.
        size: of the vocabulary.
        characters: number of characters that the tokens of the test stand for.
        unit: "char" or "word".
    """
    found = class_frequencies(train, test, size).scores
    bits = found["loss"] / math.log(2) * len(test) / characters
    named = f"{'character' if unit == 'char' else 'word'} frequencies (unigram)"
    return Baseline(
        named, found | {"bits_per_character": bits, "perplexity": math.exp(found["loss"])}
    )


def compression(train: str, test: str) -> list[Baseline]:
    """Measures general compressors on the test text, after they have seen the training text.

    The score is compress(train + test) - compress(train), in bits per character of the test text.
    """
    before, both = train.encode(), (train + test).encode()
    return [
        Baseline(name, {"bits_per_character": 8 * (len(f(both)) - len(f(before))) / len(test)})
        for name, f in COMPRESSORS.items()
    ]


def most_frequent(train: Sequence[str], test: Sequence[str]) -> Baseline:
    """Always answers with the most frequent answer of the training part."""
    answers, counts = np.unique(np.array(train, object), return_counts=True)
    answer = answers[counts.argmax()]
    return Baseline("most frequent output", {"exact": float(np.mean([t == answer for t in test]))})
