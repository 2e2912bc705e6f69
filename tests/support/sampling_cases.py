"""The choice of a token from logits and noise: by both frameworks, and in plain Python."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import torch

import rnn_jax.sampling
import rnn_torch.sampling

Choose = Callable[[np.ndarray, np.ndarray, float, int, float], list[int]]
"""Logits (V,), noise (N, V), temperature, top-k and top-p → N tokens."""


def in_jax(
    logits: np.ndarray, noise: np.ndarray, temperature: float, top_k: int, top_p: float
) -> list[int]:
    choice = jnp.asarray(temperature), jnp.asarray(top_k), jnp.asarray(top_p)
    drawn = jax.jit(lambda row: rnn_jax.sampling.choose(jnp.asarray(logits), row, *choice))
    return [int(drawn(row)) for row in noise]


def in_torch(
    logits: np.ndarray, noise: np.ndarray, temperature: float, top_k: int, top_p: float
) -> list[int]:
    given = torch.from_numpy(logits), temperature, top_k, top_p
    return [
        int(rnn_torch.sampling.choose(given[0], torch.from_numpy(row), *given[1:])) for row in noise
    ]


FRAMEWORKS: dict[str, Choose] = {"jax": in_jax, "torch": in_torch}


def left(probabilities: Sequence[float], top_k: int, top_p: float) -> set[int]:
    """Tokens to draw from, and with the last of them those that are as probable."""
    order = sorted(range(len(probabilities)), key=lambda token: -probabilities[token])[:top_k]
    all_of_them = sum(probabilities[token] for token in order)
    kept, together = [], 0.0
    for token in order:
        if top_p == 1 or together < top_p:
            kept.append(token)
            together += probabilities[token] / all_of_them
    least = min(probabilities[token] for token in kept)
    return {token for token, probability in enumerate(probabilities) if probability >= least}


def chosen(
    logits: np.ndarray, noise: np.ndarray, temperature: float, top_k: int, top_p: float
) -> list[int]:
    """`choose` in plain Python."""
    among = left([math.exp(logit / temperature) for logit in logits], top_k, top_p)
    return [
        max(sorted(among), key=lambda token: logits[token] / temperature + row[token])
        for row in noise
    ]
