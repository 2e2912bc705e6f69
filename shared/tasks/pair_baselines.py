"""Answers without a network: the most frequent one, that of the most similar source, the source."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from shared.tasks.task import Baseline, Questions
from shared.tasks.text_scores import nearest, text_scores
from shared.tasks.vocabulary import numbered

EDGE = "\0\0"
"""Characters before and after a source, so that its first and last letters count as such."""


def of_pairs(
    sources: Sequence[str], targets: Sequence[str], questions: Questions
) -> list[Baseline]:
    """Returns the baselines of pairs, on the questions that the network answers.

    Args:
        sources, targets: of the training part.
    """
    asked = questions.sources
    frequent = max(sorted({*targets}), key=Counter(targets).__getitem__)
    answers = {
        "most frequent output": [frequent] * len(asked),
        "output of the most similar source": [targets[int(i)] for i in similar(sources, asked)],
        "the source itself": asked,
    }
    return [
        Baseline(name, text_scores(own, nearest(own, questions.references)))
        for name, own in answers.items()
    ]


def similar(known: Sequence[str], questions: Sequence[str]) -> np.ndarray:
    """Returns for each question the row (N,) of the known text that is most similar, of equals the
    first.

    The similarity is Dice's: twice the number of different character trigrams that both have, by
    the sum of those that each has (Dice 1945).
    """
    texts = (_trigrams(text) for text in (*known, *questions))
    found, names = numbered(texts)
    first = found.take(np.arange(len(known)))
    # For each trigram, the known texts that have it.
    order = np.argsort(first.numbers, kind="stable")
    holders = first.text_of[order]
    ends = np.cumsum(np.bincount(first.numbers, minlength=len(names)))
    sizes, rows = first.lengths, np.zeros(len(questions), np.int64)
    for i in range(len(questions)):
        own = found.text(len(known) + i)
        having = [holders[ends[t - 1] if t else 0 : ends[t]] for t in own]
        shared = np.bincount(np.concatenate(having), minlength=len(known))
        rows[i] = (2 * shared / (sizes + len(own))).argmax()
    return rows


def _trigrams(text: str) -> list[str]:
    whole = f"{EDGE}{text}{EDGE}"
    return [*dict.fromkeys(whole[i : i + 3] for i in range(len(whole) - 2))]
