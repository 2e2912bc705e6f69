"""Number words of English and French, one into the other: "twenty-one>vingt et un"."""

from dataclasses import replace

import numpy as np

from shared.config import Config
from shared.config.data import TranslateData
from shared.errors import InvalidInput
from shared.system.randomness import generator
from shared.tasks import baselines
from shared.tasks.pairs import Pairs, Texts, paired
from shared.tasks.task import Task
from shared.tasks.vocabulary import numbered

BETWEEN, END = ">", "."
"""Characters between source and target, and after the target. Neither is part of a number word."""


def load(config: Config) -> Task:
    """Makes pairs of number words for one network that reads `source>target`: `pairs.paired`.

    The words come from the package num2words. Each number belongs to one part. All characters are
    known, whatever the part.

    Raises:
        InvalidInput: num2words is not installed, or a part is empty.
    """
    data = config.data
    assert isinstance(data, TranslateData)
    sources, targets = _words(data)
    order = generator(0, "translate").permutation(len(sources))  # the same parts for every seed
    ends = np.cumsum([round(s * len(sources)) for s in (data.test_share, data.valid_share)])
    test, valid, train = np.split(order, ends)
    for name, numbers in (("test", test), ("valid", valid), ("train", train)):
        if not len(numbers):
            raise InvalidInput(
                f"--data.largest {data.largest}, --data.valid-share {data.valid_share}, "
                f"--data.test-share {data.test_share}: expected numbers in every part, "
                f"got none for {name}"
            )
    found, characters = numbered([*sources, *targets])
    vocabulary = tuple(sorted({BETWEEN, END}.union(characters)))
    number = np.array([vocabulary.index(character) for character in characters], np.int32)
    found, count = found.renumbered(number), np.arange(len(sources))
    pairs = Pairs(found.take(count), found.take(count + len(sources)))
    parts, texts = (train, valid, test), Texts(sources, targets)
    task = paired("translate", pairs, texts, parts, vocabulary, (BETWEEN, END), data.reverse)
    return replace(
        task,
        baselines=lambda: [
            baselines.most_frequent(*([targets[int(i)] for i in part] for part in (train, test)))
        ],
        source="num2words, numbers from 0",
    )


def _words(data: TranslateData) -> tuple[list[str], list[str]]:
    """Returns sources and targets of every number from 0."""
    try:
        from num2words import (  # pyright: ignore[reportMissingTypeStubs]
            num2words,  # pyright: ignore[reportUnknownVariableType]
        )
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "--task translate needs the package num2words: pip install 'num2words>=0.5.14'"
        ) from error
    languages = ("en", "fr") if data.source == "en" else ("fr", "en")
    sources, targets = (
        [num2words(number, lang=language) for number in range(data.largest + 1)]
        for language in languages
    )
    return sources, targets
