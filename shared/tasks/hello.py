"""hello → elloh: predict the next character of a word, the smallest language model there is."""

from collections.abc import Sequence

import numpy as np

from shared.config import Config
from shared.config.data import HelloData
from shared.errors import InvalidInput
from shared.protocol.dataset import Signature, Split
from shared.tasks.task import Task


def load(config: Config) -> Task:
    """Makes one sequence of each word, one-hot over the distinct characters.

    "hello" has five steps and four characters. Shorter words are padded to the longest. The first
    character of a word follows its last one.

    There is nothing to hold out: the score says how well the words were memorised.

    Raises:
        InvalidInput: `bptt` with words of several lengths.
    """
    data = config.data
    assert isinstance(data, HelloData)
    words = data.words
    if config.bptt is not None and len(set(map(len, words))) > 1:
        raise InvalidInput(
            f"--bptt {config.bptt} needs sequences of one length, which {', '.join(words)} have not"
        )
    vocabulary = tuple(sorted(set("".join(words))))
    lengths = np.array([len(word) for word in words], np.int32)
    split = Split(
        _tokens(words, vocabulary),
        _tokens([word[1:] + word[0] for word in words], vocabulary),
        lengths if (lengths != lengths[0]).any() else None,
    )
    size = len(vocabulary)
    return Task(
        name="hello",
        signature=Signature(size, size, tokens=True, per_step=True, loss="cross_entropy"),
        train=split,
        valid=None,
        test=split,
        held_out=False,
        vocabulary=vocabulary,
        continues=True,
        source="the word itself" if len(words) == 1 else "the words themselves",
    )


def _tokens(words: Sequence[str], vocabulary: tuple[str, ...]) -> np.ndarray:
    tokens = np.zeros((len(words), max(map(len, words))), np.int32)
    for row, word in zip(tokens, words, strict=True):
        row[: len(word)] = [vocabulary.index(character) for character in word]
    return tokens
