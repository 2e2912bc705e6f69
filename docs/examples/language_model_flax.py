"""The port of `language_model_torch.py`, written as one writes Flax: an LSTM of two linear layers
and a scan, masks from `nnx.Dropout`, the table of words used twice."""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from rnn_jax import optim

WORDS, SIZE, HIDDEN = 19, 6, 7
State = tuple[Array, Array]


class Layer(nnx.Module):
    """An LSTM over (T, B, I) whose recurrent weights are dropped, the same ones at all steps."""

    def __init__(self, inputs: int, outputs: int, **options: Any):
        self.inp = nnx.Linear(inputs, 4 * outputs, **options)
        self.rec = nnx.Linear(outputs, 4 * outputs, use_bias=False, **options)
        self.bias = nnx.Param(jnp.zeros(4 * outputs, options["param_dtype"]))
        self.drop = nnx.Dropout(0.5, rngs=options["rngs"])

    def gates(self, sums: Array) -> list[Array]:
        """Returns i, f, g and o before their nonlinearities."""
        return jnp.split(sums, 4, axis=-1)

    def recurrent(self) -> Array:
        """Returns the weights that are left, (H, 4H), by a mask that lies as PyTorch's weights."""
        return self.drop(self.rec.kernel[...].T).T

    def __call__(self, x: Array, before: State) -> tuple[Array, State]:
        weights, bias = self.recurrent(), self.bias[...]

        def step(state: State, x: Array) -> tuple[State, Array]:
            h, c = state
            i, f, g, o = self.gates(x + h @ weights + bias)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        after, outputs = jax.lax.scan(step, (before[0][0], before[1][0]), self.inp(x))
        return outputs, (after[0][None], after[1][None])


class LanguageModel(nnx.Module):
    def __init__(self, **options: Any):
        locked = {"broadcast_dims": (0,), "rngs": options["rngs"]}
        self.words = nnx.Embed(WORDS, SIZE, **options)
        self.drop_words = nnx.Dropout(0.1, broadcast_dims=(1,), rngs=options["rngs"])
        self.drop_inputs = nnx.Dropout(0.4, **locked)
        self.layers = nnx.List(Layer(a, b, **options) for a, b in pairwise([SIZE, HIDDEN, SIZE]))
        self.drops = nnx.List(nnx.Dropout(rate, **locked) for rate in [0.25, 0.4])
        self.bias = nnx.Param(jnp.zeros(WORDS, options["param_dtype"]))

    def scores(self, x: Array) -> Array:
        return x @ self.words.embedding[...].T + self.bias[...]

    def __call__(self, words: Array, hidden: list[State]) -> dict[str, Any]:
        x = raw = self.drop_inputs(self.drop_words(self.words.embedding[...])[words])
        after = []
        for layer, drop, before in zip(self.layers, self.drops, hidden, strict=True):
            raw, state = layer(x, before)
            after.append(state)
            x = drop(raw)
        return {"scores": self.scores(x), "hidden": after, "raw": raw, "dropped": x}


def loss(outputs: dict[str, Any], targets: Array) -> Array:
    shares = jax.nn.log_softmax(outputs["scores"])
    entropy = -jnp.take_along_axis(shares, targets[..., None], -1).mean()
    temporal = jnp.square(jnp.diff(outputs["raw"], axis=0)).mean()
    return entropy + 2 * jnp.square(outputs["dropped"]).mean() + temporal


def optimizer(batches: int) -> optax.GradientTransformation:
    """Returns the original's optimizer, for epochs of so many batches."""
    rate = optim.step_lr(0.5, batches * 2, 0.5)
    return optax.chain(optim.clip_grad_norm(0.25), optim.sgd(rate, momentum=0.9, weight_decay=1e-3))
