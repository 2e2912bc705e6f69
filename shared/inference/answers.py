"""Answers of a network that reads a source and writes a target: greedy decoding of many at once.

The answers are those of `beam.search` with one beam, a source at a time.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from shared.inference.generate import PADDED
from shared.protocol import Backend
from shared.protocol.backend import State
from shared.tasks.pairs import joined
from shared.tasks.task import Task
from shared.tasks.text import UNKNOWN_WORD
from shared.tasks.text_scores import nearest

ROWS = 512
NUMBERS = 2**25
"""Most texts, and most numbers that a network may return, in one call."""
LONGEST = 2
"""Longest answer for the scores, in multiples of the longest target of the training part; it is cut
off there."""


class Block(NamedTuple):
    """Texts of similar lengths.

    rows:    (n,) of these texts among all.
    tokens:  (B, T) padded with zeros; from row n on, the last text again.
    lengths: (B,) int32.
    """

    rows: np.ndarray
    tokens: np.ndarray
    lengths: np.ndarray


def answered(task: Task, backend: Backend, state: State) -> tuple[list[str], list[str], list[str]]:
    """Returns the sources of a task's questions, the network's answers, and the targets.

    Of several targets of a source, the one that is nearest to the answer is taken. No answer is
    right that has an unknown token, or the one between source and target: its text is none of the
    targets.
    """
    questions, end, between = task.questions, task.end, task.between
    assert task.train.weights is not None
    assert questions is not None
    assert end is not None
    assert between is not None
    longest = LONGEST * int(task.train.weights.sum(1).max())
    found = greedy(
        backend, state, questions.prompts, task.vocabulary.index(end), longest, len(task.vocabulary)
    )
    targets = "\n".join(target for own in questions.references for target in own)
    special = {token: _unlike(token, targets) for token in (UNKNOWN_WORD, between)}
    names = [special.get(token, token) for token in task.vocabulary]
    answers = [joined(tokens, names, task.unit) for tokens in found]
    return questions.sources, answers, nearest(answers, questions.references)


def _unlike(token: str, text: str) -> str:
    """Returns a token, in more brackets where a text has it, too."""
    return _unlike(f"<{token}>", text) if token in text else token


def greedy(
    backend: Backend,
    state: State,
    prompts: Sequence[np.ndarray],
    end: int,
    longest: int,
    size: int,
) -> list[np.ndarray]:
    """Returns what follows each prompt if the most probable token is always taken.

    Args:
        prompts: each (P,) token numbers, P ≥ 1.
        end: the token that ends an answer.
        longest: tokens of an answer at most; it is cut off there.
        size: of the vocabulary.

    Returns:
        The tokens of each answer, without the end.
    """
    answers = [np.empty(0, np.int32)] * len(prompts)
    for block in blocks(prompts, size):
        written = _of_block(backend, state, block, end, longest)
        for row, tokens in zip(block.rows, written, strict=False):
            answers[row] = tokens[: (tokens != end).sum()]  # after an end there are only ends
    return answers


def _of_block(backend: Backend, state: State, block: Block, end: int, longest: int) -> np.ndarray:
    """Returns the answers (B, longest) of a block, filled up with ends."""
    outputs, carry = backend.predict(state, block.tokens, block.lengths)
    logits = outputs[np.arange(len(outputs)), block.lengths - 1]
    written = np.full((len(logits), longest), end, np.int32)
    rows = np.arange(len(logits))
    going = rows < len(block.rows)
    for step in range(longest):
        drawn = np.where(going, logits.argmax(-1), end).astype(np.int32)
        written[rows, step] = drawn
        going = going & (drawn != end)
        if not going.any():
            break
        if 4 * going.sum() <= len(going):  # most have ended: not computed any longer
            kept = np.argsort(~going, kind="stable")[: len(going) // 4]
            rows, going, drawn = rows[kept], going[kept], drawn[kept]
            carry = tuple(part[:, kept] for part in carry)
        outputs, carry = backend.predict(state, drawn[:, None], carry=carry)
        logits = outputs[:, -1]
    return written


def blocks(texts: Sequence[np.ndarray], size: int) -> Iterator[Block]:
    """Yields texts of similar lengths together, so that little is padding.

    Lengths and numbers of rows are powers of two (times `PADDED` steps), so that JAX compiles few
    programs.

    Args:
        texts: each (P,) token numbers, P ≥ 1.
        size: outputs of a step.
    """
    lengths = np.array([len(text) for text in texts])
    steps = PADDED * 2 ** np.ceil(np.log2(np.maximum(lengths / PADDED, 1))).astype(np.int64)
    for own in np.unique(steps):
        members = np.flatnonzero(steps == own)
        most = min(ROWS, max(1, NUMBERS // int(own * size)), len(members))
        count = 1 << (most - 1).bit_length() if most == len(members) else 1 << most.bit_length() - 1
        for start in range(0, len(members), count):
            rows = members[start : start + count]
            filled = np.append(rows, np.full(count - len(rows), rows[-1]))
            tokens = np.zeros((count, own), np.int32)
            for padded, row in zip(tokens, filled, strict=True):
                padded[: lengths[row]] = texts[int(row)]
            yield Block(rows, tokens, lengths[filled].astype(np.int32))
