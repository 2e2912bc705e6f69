"""The port of `text_line_torch.py`: channels last, one scan for each direction."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from docs.examples.speech_flax import BatchNorm
from rnn_jax import optim

HEIGHT, LETTERS, HIDDEN = 8, 7, 6


class Direction(nnx.Module):
    """An LSTM over (T, B, I)."""

    def __init__(self, inputs: int, hidden: int, **options: Any):
        self.inp = nnx.Linear(inputs, 4 * hidden, **options)
        self.rec = nnx.Linear(hidden, 4 * hidden, use_bias=False, **options)
        self.bias = nnx.Param(jnp.zeros(4 * hidden, options["param_dtype"]))

    def gates(self, sums: Array) -> list[Array]:
        """Returns i, f, g and o before their nonlinearities."""
        return jnp.split(sums, 4, axis=-1)

    def recurrent(self, h: Array) -> Array:
        return self.rec(h)

    def __call__(self, x: Array) -> Array:
        def step(state: tuple[Array, Array], x: Array) -> tuple[tuple[Array, Array], Array]:
            h, c = state
            i, f, g, o = self.gates(x + self.recurrent(h))
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((x.shape[1], self.rec.in_features), x.dtype)
        return jax.lax.scan(step, (zeros, zeros), self.inp(x) + self.bias[...])[1]


class Both(nnx.Module):
    """Reads (T, B, I) from left to right and from right to left."""

    def __init__(self, inputs: int, hidden: int, outputs: int, **options: Any):
        self.right = Direction(inputs, hidden, **options)
        self.left = Direction(inputs, hidden, **options)
        self.out = nnx.Linear(2 * hidden, outputs, **options)

    def __call__(self, x: Array) -> Array:
        return self.out(jnp.concatenate([self.right(x), self.left(x[::-1])[::-1]], axis=-1))


class Reader(nnx.Module):
    def __init__(self, epsilon: float = 1e-5, **options: Any):
        channels = {"broadcast_dims": (1, 2), "rngs": options["rngs"]}
        self.conv1 = nnx.Conv(1, 4, (3, 3), padding=1, **options)
        self.drop1 = nnx.Dropout(0.2, **channels)
        self.conv2 = nnx.Conv(4, 6, (3, 3), padding=1, use_bias=False, **options)
        self.norm = BatchNorm(6, epsilon=epsilon, **options)
        self.drop2 = nnx.Dropout(0.2, **channels)
        self.lower = Both(6 * HEIGHT // 4, HIDDEN, HIDDEN, **options)
        self.upper = Both(HIDDEN, HIDDEN, HIDDEN, **options)
        self.drop = nnx.Dropout(0.3, rngs=options["rngs"])
        self.head = nnx.Linear(HIDDEN, LETTERS, **options)

    def columns(self, images: Array) -> Array:
        """Returns (W / 2, B, features)."""
        x = jnp.moveaxis(images, 1, -1)
        x = nnx.max_pool(jax.nn.leaky_relu(self.conv1(x), 0.2), (2, 2), strides=(2, 2))
        x = jax.nn.relu(self.norm(self.conv2(self.drop1(x))))
        x = self.drop2(nnx.max_pool(x, (2, 1), strides=(2, 1)))
        return x.transpose(2, 0, 1, 3).reshape(x.shape[2], x.shape[0], -1)

    def read(self, columns: Array) -> Array:
        return self.upper(self.lower(columns))

    def __call__(self, images: Array) -> Array:
        return self.head(self.drop(self.read(self.columns(images))))


def losses(scores: Array, letters: Array) -> Array:
    """Returns the loss of each column, (W / 2, B)."""
    shares = jax.nn.log_softmax(scores)
    return -jnp.take_along_axis(shares, letters.T[..., None], -1)[..., 0]


def loss(scores: Array, letters: Array) -> Array:
    return losses(scores, letters).mean()


def optimizer() -> optax.GradientTransformation:
    rate = optim.multi_step_lr(2e-3, [4, 7], 0.3)
    own = optim.rmsprop(rate, alpha=0.95, momentum=0.9, weight_decay=1e-3)
    return optax.chain(optim.clip_grad_value(0.05), own)
