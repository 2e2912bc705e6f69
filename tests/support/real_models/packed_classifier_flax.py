"""The port of `packed_classifier_torch.py`: lengths in place of packed sequences."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

import rnn_jax
from rnn_jax import optim

WORDS, SIZE, HIDDEN, CLASSES = 11, 5, 6, 3


class Classifier(nnx.Module):
    def __init__(self, **options: Any):
        rngs = options["rngs"]
        self.embed = nnx.Embed(WORDS, SIZE, **options)
        self.drop_words = nnx.Dropout(0.2, rngs=rngs)
        self.encoder = rnn_jax.LSTM(
            SIZE, HIDDEN, 2, batch_first=True, bidirectional=True, dropout=0.3, **options
        )
        self.mid = nnx.Linear(4 * HIDDEN, 8, **options)
        self.drop_mid = nnx.Dropout(0.2, rngs=rngs)
        self.out = nnx.Linear(8, CLASSES, **options)

    def encode(self, x: Array, lengths: Array) -> tuple[Array, Array]:
        """Returns the outputs (B, T, 2H), zero in the padding, and the last states (2, B, H)."""
        outputs, (h, _) = self.encoder(x, lengths=lengths)
        return outputs, jnp.asarray(h[-2:])

    def __call__(self, words: Array, lengths: Array) -> Array:
        outputs, last = self.encode(self.drop_words(self.embed(words)), lengths)
        mean = outputs.sum(1) / lengths[:, None]
        x = jnp.tanh(self.mid(jnp.concatenate([*last, mean], axis=1)))
        return self.out(self.drop_mid(x))


def loss(scores: Array, classes: Array) -> Array:
    weights = jnp.asarray(np.array([1.0, 2.0, 0.5]))[classes]
    losses = -jnp.take_along_axis(jax.nn.log_softmax(scores), classes[:, None], 1)[:, 0]
    return (losses * weights).sum() / weights.sum()


def optimizer(batches: int) -> optax.GradientTransformation:
    rate = optim.per_epoch(optim.exponential_lr(0.01, 0.8), batches)
    return optim.adam(rate, weight_decay=1e-3)
