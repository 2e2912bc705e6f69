"""Number words of English and French, one into the other: "twenty-one>vingt et un"."""

import numpy as np

from shared.config import Config
from shared.config.data import TranslateData
from shared.errors import InvalidInput
from shared.protocol.dataset import Signature, Split
from shared.system.randomness import generator
from shared.tasks import baselines
from shared.tasks.task import Task

BETWEEN, END = ">", "."
"""Characters between source and target, and after the target. Neither is part of a number word."""


def load(config: Config) -> Task:
    """Makes a task in which one network reads `source>target` and predicts the next character.

    Only the characters of the target and its end count. So the same network reads the source and
    writes the translation.

    The words come from the package num2words. Each number belongs to one part.

    Raises:
        InvalidInput: num2words is not installed, or a part is empty.
    """
    data = config.data
    assert isinstance(data, TranslateData)
    pairs = _pairs(data)
    order = generator(0, "translate").permutation(len(pairs))  # the same parts for every seed
    ends = np.cumsum([round(s * len(pairs)) for s in (data.test_share, data.valid_share)])
    parts = dict(zip(("test", "valid", "train"), np.split(order, ends), strict=True))
    for name, numbers in parts.items():
        if not len(numbers):
            raise InvalidInput(
                f"--data.largest {data.largest}, --data.valid-share {data.valid_share}, "
                f"--data.test-share {data.test_share}: expected numbers in every part, "
                f"got none for {name}"
            )
    texts = {name: [pairs[int(i)] for i in numbers] for name, numbers in parts.items()}
    vocabulary = tuple(sorted({BETWEEN, END}.union(*map("".join, pairs))))
    longest = max(len(source) + len(target) for source, target in pairs) + 1
    train, valid, test = (_split(texts[name], vocabulary, longest, data.reverse) for name in _NAMES)
    size = len(vocabulary)
    return Task(
        name="translate",
        signature=Signature(size, size, tokens=True, per_step=True, loss="cross_entropy"),
        train=train,
        valid=valid,
        test=test,
        score="exact",
        baselines=lambda: [
            baselines.most_frequent(
                *([target for _, target in texts[name]] for name in ("train", "test"))
            )
        ],
        vocabulary=vocabulary,
        continues=True,
        between=BETWEEN,
        end=END,
        reverse=data.reverse,
        source="num2words, numbers from 0",
    )


_NAMES = ("train", "valid", "test")


def _pairs(data: TranslateData) -> list[tuple[str, str]]:
    """Returns (source, target) of every number from 0."""
    try:
        from num2words import (  # pyright: ignore[reportMissingTypeStubs]
            num2words,  # pyright: ignore[reportUnknownVariableType]
        )
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "--task translate needs the package num2words: pip install 'num2words>=0.5.14'"
        ) from error
    languages = ("en", "fr") if data.source == "en" else ("fr", "en")
    return [
        (num2words(number, lang=languages[0]), num2words(number, lang=languages[1]))
        for number in range(data.largest + 1)
    ]


def _split(
    pairs: list[tuple[str, str]], vocabulary: tuple[str, ...], steps: int, reverse: bool
) -> Split:
    """Makes a part of `source>target` and the character that follows each of its characters.

    Only the target's characters and its end count.
    """
    number = {character: i for i, character in enumerate(vocabulary)}
    inputs = np.zeros((len(pairs), steps), np.int32)
    targets, weights = np.zeros_like(inputs), np.zeros(inputs.shape, bool)
    lengths = np.zeros(len(pairs), np.int32)
    for i, (source, target) in enumerate(pairs):
        read = source[::-1] if reverse else source
        text = [number[c] for c in f"{read}{BETWEEN}{target}{END}"]
        lengths[i] = len(text) - 1
        inputs[i, : lengths[i]], targets[i, : lengths[i]] = text[:-1], text[1:]
        weights[i, len(source) : lengths[i]] = True
    return Split(inputs, targets, lengths, weights)
