"""The port of `attention_decoder_torch.py`: a GRU cell of two linear layers, a loop over words."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

import rnn_jax
from rnn_jax import optim

SOURCE, TARGET, SIZE, HIDDEN, PAD = 13, 11, 5, 6, 0


class Words(nnx.Embed):
    """A table whose row of the padding is not trained."""

    def table(self) -> Array:
        table = self.embedding[...]
        return table.at[PAD].set(jax.lax.stop_gradient(table[PAD]))

    def __call__(self, inputs: Array, *args: Any, **options: Any) -> Array:
        return self.table()[inputs]


class Cell(nnx.Module):
    def __init__(self, inputs: int, **options: Any):
        self.inp = nnx.Linear(inputs, 3 * HIDDEN, **options)
        self.rec = nnx.Linear(HIDDEN, 3 * HIDDEN, **options)

    def __call__(self, h: Array, x: Array) -> Array:
        xr, xz, xn = jnp.split(self.inp(x), 3, axis=-1)
        hr, hz, hn = jnp.split(self.rec(h), 3, axis=-1)
        z = jax.nn.sigmoid(xz + hz)
        n = jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn)
        return (1 - z) * n + z * h


class Attention(nnx.Module):
    def __init__(self, **options: Any):
        self.of_state = nnx.Linear(HIDDEN, HIDDEN, use_bias=False, **options)
        self.of_memory = nnx.Linear(2 * HIDDEN, HIDDEN, **options)
        self.score = nnx.Linear(HIDDEN, 1, use_bias=False, **options)

    def __call__(self, h: Array, memory: Array, keys: Array, mask: Array) -> tuple[Array, Array]:
        energy = self.score(jnp.tanh(self.of_state(h)[:, None] + keys))[..., 0]
        shares = jax.nn.softmax(jnp.where(mask, -1e10, energy), axis=1)
        return jnp.einsum("bs,bsf->bf", shares, memory), shares


class Translator(nnx.Module):
    def __init__(self, epsilon: float = 1e-5, **options: Any):
        rngs = options["rngs"]
        self.source = Words(SOURCE, SIZE, **options)
        self.drop_source = nnx.Dropout(0.2, rngs=rngs)
        self.reader = rnn_jax.GRU(SIZE, HIDDEN, bidirectional=True, batch_first=True, **options)
        self.norm = nnx.LayerNorm(2 * HIDDEN, epsilon=epsilon, **options)
        self.start = nnx.Linear(2 * HIDDEN, HIDDEN, **options)
        self.target = Words(TARGET, SIZE, **options)
        self.drop_target = nnx.Dropout(0.3, rngs=rngs)
        self.attention = Attention(**options)
        self.cell = Cell(SIZE + 2 * HIDDEN, **options)
        self.scores = nnx.Linear(SIZE + 3 * HIDDEN, TARGET, **options)

    def __call__(self, source: Array, target: Array, told: Array) -> tuple[Array, Array]:
        memory, last = self.reader(self.drop_source(self.source(source)))
        h = jnp.tanh(self.start(jnp.concatenate([last[0], last[1]], axis=1)))
        memory = self.norm(memory)
        keys, mask, word = self.attention.of_memory(memory), source == PAD, target[:, 0]
        scores, shares = [], []
        for t in range(target.shape[1] - 1):
            x = self.drop_target(self.target(word))
            context, share = self.attention(h, memory, keys, mask)
            h = self.cell(h, jnp.concatenate([x, context], axis=1))
            scores.append(self.scores(jnp.concatenate([h, context, x], axis=1)))
            shares.append(share)
            word = jnp.where(told[t], target[:, t + 1], scores[-1].argmax(1))
        return jnp.stack(scores, 1), jnp.stack(shares, 1)


def losses(outputs: tuple[Array, Array], target: Array, smoothing: float = 0.1) -> Array:
    """Returns the loss of each word, (B, T - 1)."""
    shares, words = jax.nn.log_softmax(outputs[0]), target[:, 1:]
    right = jnp.take_along_axis(shares, words[..., None], -1)[..., 0]
    return -(1 - smoothing) * right - smoothing * shares.mean(-1)


def loss(outputs: tuple[Array, Array], target: Array) -> Array:
    words = target[:, 1:] != PAD
    return (losses(outputs, target) * words).sum() / words.sum()


def warm_up(step: Array) -> Array:
    return jnp.minimum((step + 1.0) ** -0.5, (step + 1.0) * 4**-1.5)


def optimizer() -> optax.MultiSteps:
    rate = optim.lambda_lr(0.02, warm_up)
    each = optax.chain(optim.clip_grad_norm(1.0), optim.adam(rate, betas=(0.9, 0.98), eps=1e-9))
    return optax.MultiSteps(each, 2)
