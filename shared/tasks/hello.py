"""hello → elloh: predict the next character of a word, the smallest language model there is."""

import numpy as np

from shared.config import Config
from shared.tasks.task import Signature, Split, Task

INPUT, TARGET = "hello", "elloh"


def load(config: Config) -> Task:
    """One sequence of five characters, one-hot over the four distinct ones.

    There is nothing to hold out: the score says how well the word was memorised.
    """
    vocabulary = tuple(sorted(set(INPUT)))
    split = Split(_tokens(INPUT, vocabulary), _tokens(TARGET, vocabulary))
    size = len(vocabulary)
    return Task(
        name="hello",
        signature=Signature(size, size, tokens=True, per_step=True, loss="cross_entropy"),
        train=split,
        valid=None,
        test=split,
        held_out=False,
        vocabulary=vocabulary,
        source="the word itself",
    )


def _tokens(text: str, vocabulary: tuple[str, ...]) -> np.ndarray:
    return np.array([[vocabulary.index(character) for character in text]], np.int32)
