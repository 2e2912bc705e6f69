"""Beam search: the most probable of the answers that are worth following.

tokens, score = search(backend, state, prompt, end=3, beams=5, longest=60)[0]
"""

from typing import NamedTuple

import numpy as np

from shared.inference.generate import after
from shared.protocol import Backend
from shared.protocol.backend import State


class Answer(NamedTuple):
    tokens: np.ndarray
    """Tokens (N,), without the end."""
    score: float
    """Log probability, including that of the end."""


def search(
    backend: Backend, state: State, prompt: np.ndarray, end: int, beams: int, longest: int
) -> list[Answer]:
    """Returns answers to a prompt, the most probable first; one beam is greedy decoding.

    Keeps the most probable unfinished answers, `beams` of them. It goes on with each until none can
    become more probable than the worst finished one that is kept. An answer that has not ended
    after `longest` tokens counts as it is.

    Args:
        prompt: (P,) token numbers, P ≥ 1.
        end: the token that ends an answer.
    """
    logits, carry = after(backend, state, prompt, beams)
    tokens = np.empty((beams, 0), np.int32)
    # All rows are the same at first: only the first one counts.
    scores = np.where(np.arange(beams) == 0, 0.0, -np.inf)
    done: list[Answer] = []
    for _ in range(longest):
        each = scores[:, None] + log_softmax(logits)
        # Of equally probable ones the first, in both frameworks.
        ranked = np.argsort(-each, axis=None, kind="stable")[: 2 * beams]
        rows, drawn = np.divmod(ranked, each.shape[1])
        values = each.ravel()[ranked]
        # Not those that end behind the first `beams`: greedy decoding would not take them either.
        for row, token, value in zip(rows[:beams], drawn[:beams], values[:beams], strict=True):
            if token == end and np.isfinite(value):
                done.append(Answer(tokens[row], float(value)))
        done = sorted(done, key=lambda answer: -answer.score)[:beams]
        going = np.flatnonzero(drawn != end)[:beams]
        rows, drawn, scores = rows[going], drawn[going], values[going]
        tokens = np.column_stack([tokens[rows], drawn.astype(np.int32)])
        if len(done) == beams and scores[0] <= done[-1].score:
            return done
        carry = tuple(part[:, rows] for part in carry)
        outputs, carry = backend.predict(state, tokens[:, -1:], carry=carry)
        logits = outputs[:, -1]
    done += [Answer(row, float(s)) for row, s in zip(tokens, scores, strict=True) if np.isfinite(s)]
    return sorted(done, key=lambda answer: -answer.score)[:beams]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the log probabilities (…, V) of logits, float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
