"""Predictors of a text's label without a network: naive Bayes on words and on character trigrams.

Multinomial naive Bayes (McCallum & Nigam 1998): with N_c training texts of class c, n_ct tokens t
in them, and V different tokens in the training part,

    log P(c | text) = log P(c) + Σ_t log P(t | c) + constant     over the tokens of the text
    P(c) = N_c / N                          or 1 / K where each class is to count as much
    P(t | c) = (n_ct + 1) / (Σ_t n_ct + V)

Tokens that the training part lacks count nowhere.
"""

import numpy as np

from shared.tasks import baselines
from shared.tasks.class_scores import class_scores
from shared.tasks.parts import Parts
from shared.tasks.task import Baseline
from shared.tasks.vocabulary import Ragged, numbered, words_and_marks

FEW = 2**24
"""Trigrams that are so few can be numbered without sorting those of the texts."""


def of_texts(
    found: Ragged,
    tokens: list[str],
    codes: np.ndarray,
    parts: Parts,
    classes: int,
    unit: str,
    equal: bool,
) -> list[Baseline]:
    """Returns the baselines of texts for their test part.

    Args:
        found: all texts as numbers of `tokens`, whether the network knows these or not.
        codes: (N,) class of each text.
        equal: True if each class counts as much, however many texts it has.
    """
    train, test = codes[parts[0]], codes[parts[2]]
    frequencies = baselines.class_frequencies(train, test, classes)
    most: np.ndarray = np.full(len(test), np.bincount(train, minlength=classes).argmax())
    scores = frequencies.scores | class_scores(most, test, classes)
    own = [frequencies._replace(scores=scores)]
    words = found
    if unit == "char":
        rows = map(found.text, range(len(found.ends)))
        texts = ("".join(tokens[int(t)] for t in row) for row in rows)
        words, _ = numbered(map(words_and_marks, texts))
    own.append(naive_bayes("naive Bayes on words", words, codes, parts, classes, equal))
    if unit == "char":
        name = "naive Bayes on character trigrams"
        own.append(naive_bayes(name, trigrams(found), codes, parts, classes, equal))
    return own


def naive_bayes(
    name: str, texts: Ragged, codes: np.ndarray, parts: Parts, classes: int, equal: bool
) -> Baseline:
    """Scores naive Bayes on the test part."""
    targets = codes[parts[2]]
    logs = log_probabilities(
        texts.take(parts[0]), codes[parts[0]], texts.take(parts[2]), classes, equal
    )
    second = np.exp(logs[:, 1]) if classes == 2 else None
    scores = class_scores(logs.argmax(1), targets, classes, second)
    loss = -logs[np.arange(len(targets)), targets].mean()
    return Baseline(name, {"loss": float(loss)} | scores)


def log_probabilities(
    train: Ragged, codes: np.ndarray, test: Ragged, classes: int, equal: bool = False
) -> np.ndarray:
    """Returns the log probability of each class for texts, (N, K), by multinomial naive Bayes.

    Args:
        codes: class of each training text; each class occurs.
        test: texts with the same numbers of tokens as the training texts.
        equal: True if each class is as probable beforehand.
    """
    size = int(max(train.numbers.max(initial=0), test.numbers.max(initial=0))) + 1
    known = np.bincount(train.numbers, minlength=size) > 0
    position = np.cumsum(known) - 1  # of a token among those that are known
    different = int(known.sum())
    cells = codes[train.text_of].astype(np.int64) * different + position[train.numbers]
    counts = np.bincount(cells, minlength=classes * different).reshape(classes, different) + 1.0
    likelihood = np.log(counts / counts.sum(1, keepdims=True))
    prior = np.bincount(codes, minlength=classes) / len(codes)
    if equal:
        prior = np.full(classes, 1 / classes)
    there = known[test.numbers]
    at, rows = position[test.numbers[there]], test.text_of[there]
    logs = np.column_stack(
        [np.bincount(rows, weights=own[at], minlength=len(test.ends)) for own in likelihood]
    )
    logs = logs + np.log(prior)
    logs -= logs.max(1, keepdims=True)
    return logs - np.log(np.exp(logs).sum(1, keepdims=True))


def trigrams(texts: Ragged) -> Ragged:
    """Returns the runs of three tokens of each text, numbered; a text of two tokens has none."""
    numbers, size = texts.numbers.astype(np.int64), int(texts.numbers.max(initial=0)) + 1
    text_of = texts.text_of
    inside = text_of[2:] == text_of[:-2]
    runs = ((numbers[:-2] * size + numbers[1:-1]) * size + numbers[2:])[inside]
    if size**3 > FEW:
        runs = np.unique(runs, return_inverse=True)[1]
    return Ragged(runs.astype(np.int32), np.cumsum(np.maximum(texts.lengths - 2, 0)))
