"""Scores of written answers beside what they should be.

exact      share of the answers that are the same as their reference
edit_rate  characters to insert, delete or replace (Levenshtein 1966) to make the references of the
           answers, by the characters of the references: the character error rate; above 1 where
           the answers are longer than the references
bleu       0 to 100, of the package sacrebleu with its defaults (Papineni et al. 2002; Post 2018)
"""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

CELLS = 4_000_000
"""Most numbers of a table of distances at once."""


def text_scores(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Returns all scores by their names; bleu only where sacrebleu is installed."""
    scores = {"exact": exact(answers, references), "edit_rate": edit_rate(answers, references)}
    found = bleu(answers, references)
    return scores if found is None else scores | {"bleu": found}


def exact(answers: Sequence[str], references: Sequence[str]) -> float:
    """Returns the share of answers that are the same as their reference."""
    return sum(map(str.__eq__, answers, references)) / len(answers)


def edit_rate(answers: Sequence[str], references: Sequence[str]) -> float:
    """Returns the edit distances of all answers by the characters of all references."""
    return float(distances(answers, references).sum() / max(1, sum(map(len, references))))


def bleu(answers: Sequence[str], references: Sequence[str]) -> float | None:
    """Returns the BLEU of all answers; None if sacrebleu is not installed."""
    if find_spec("sacrebleu") is None:
        return None
    from sacrebleu import corpus_bleu  # pyright: ignore

    return float(corpus_bleu([*answers], [[*references]]).score)  # pyright: ignore


def nearest(answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[str]:
    """Returns for each answer the reference with the smallest edit distance, of several that are
    right."""
    counts = [len(own) for own in references]
    repeated = [answer for answer, count in zip(answers, counts, strict=True) for _ in range(count)]
    every = [reference for own in references for reference in own]
    parts = np.split(distances(repeated, every), np.cumsum(counts)[:-1])
    return [own[int(part.argmin())] for own, part in zip(references, parts, strict=True)]


def distances(answers: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Returns the edit distance (N,) of each answer from its reference: Levenshtein's."""
    found = np.zeros(len(answers), np.int64)
    sizes = np.array([max(map(len, pair)) for pair in zip(answers, references, strict=True)])
    order = np.argsort(sizes, kind="stable")
    start = 0
    while start < len(order):
        # The texts of a block are about as long as each other, so that little is padding.
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * (sizes[order[stop]] + 1) <= CELLS:
            stop += 1
        rows = order[start:stop]
        found[rows] = _of_block(*([own[int(i)] for i in rows] for own in (answers, references)))
        start = stop
    return found


def _of_block(answers: list[str], references: list[str]) -> np.ndarray:
    """Fills the tables of all pairs at once, a row for each character of the answers."""
    read, read_lengths = _codes(answers)
    meant, lengths = _codes(references)
    rows = np.arange(len(answers))
    place = np.arange(int(lengths.max()) + 1)
    row = np.repeat(place[None], len(answers), axis=0)
    found = row[rows, lengths]
    for i in range(read.shape[1]):
        replaced = row[:, :-1] + (read[:, i : i + 1] != meant)
        row = np.column_stack([np.full(len(rows), i + 1), np.minimum(replaced, row[:, 1:] + 1)])
        # An insertion costs 1: the least over all places before it.
        row = np.minimum.accumulate(row - place, axis=1) + place
        found = np.where(read_lengths == i + 1, row[rows, lengths], found)
    return found


def _codes(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the characters of texts (N, L), padded with zeros, and their lengths (N,)."""
    lengths = np.array([len(text) for text in texts])
    codes = np.zeros((len(texts), int(lengths.max())), np.uint32)
    every = "".join(texts).encode("utf-32-le", "surrogatepass")
    codes[np.arange(codes.shape[1]) < lengths[:, None]] = np.frombuffer(every, np.uint32)
    return codes, lengths
