"""Text from a trained language model, a few tokens at a time."""

from collections.abc import Iterator

import numpy as np

from shared.protocol import Backend
from shared.protocol.backend import State
from shared.protocol.sampling import Sampling
from shared.system.randomness import generator

CHUNK = 32
"""Number of tokens that a call of a backend generates."""
PADDED = 32


def stream(
    backend: Backend, state: State, prompt: np.ndarray, size: int, sampling: Sampling, count: int
) -> Iterator[np.ndarray]:
    """Generates the tokens that follow a prompt, some at a time.

    Args:
        prompt: (P,) token numbers, P ≥ 1.
        size: of the vocabulary, V.
        count: how many tokens to generate.
    """
    (logits,), carry = after(backend, state, prompt)
    for start in range(0, count, CHUNK):
        noise = _noise(sampling, start, size)
        tokens, logits, carry = backend.generate(state, logits, carry, noise, sampling)
        yield tokens[: count - start]


def after(
    backend: Backend, state: State, prompt: np.ndarray, rows: int = 1
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Returns the logits (rows, V) of the token after a prompt, and the state, the same in each
    row.

    A prompt is padded to a multiple of `PADDED` steps. So JAX has already compiled its program when
    another prompt comes.
    """
    count = len(prompt)
    tokens = np.zeros((rows, -(-count // PADDED) * PADDED), np.int32)
    tokens[:, :count] = prompt
    outputs, carry = backend.predict(state, tokens, np.full(rows, count, np.int32))
    return outputs[:, count - 1], carry


def _noise(sampling: Sampling, start: int, size: int) -> np.ndarray:
    """Returns standard Gumbel noise for tokens from start on, (CHUNK, V); zeros for greedy
    decoding."""
    if sampling.temperature == 0:
        return np.zeros((CHUNK, size))
    return generator(sampling.seed, "sampling", start).gumbel(size=(CHUNK, size))
