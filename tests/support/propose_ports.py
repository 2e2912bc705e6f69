"""Ports of the models in `propose_torch.py`, as their users would write them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from jax import Array

import rnn_jax

DOUBLE: dict[str, Any] = {"dtype": jnp.float64, "param_dtype": jnp.float64}


class Tagger(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.embedding = nnx.Embed(30, 8, **DOUBLE, rngs=rngs)
        self.lstm = rnn_jax.LSTM(
            8, 6, num_layers=2, bidirectional=True, batch_first=True, **DOUBLE, rngs=rngs
        )
        self.attention = nnx.MultiHeadAttention(3, 12, decode=False, **DOUBLE, rngs=rngs)
        self.norm = nnx.LayerNorm(12, epsilon=1e-5, **DOUBLE, rngs=rngs)
        self.drop = nnx.Dropout(0.3, rngs=rngs)
        self.head = nnx.Linear(12, 5, **DOUBLE, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        h, _ = self.lstm(self.embedding(x))
        return self.head(self.drop(self.norm(h + self.attention(h))))


class Speech(nnx.Module):
    """Channels last, so that what is flattened has another order."""

    def __init__(self, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(1, 4, (3, 3), **DOUBLE, rngs=rngs)
        self.bn1 = nnx.BatchNorm(4, momentum=0.9, **DOUBLE, rngs=rngs)
        self.conv2 = nnx.Conv(4, 4, (3, 3), use_bias=False, **DOUBLE, rngs=rngs)
        self.bn2 = nnx.BatchNorm(4, momentum=0.9, **DOUBLE, rngs=rngs)
        self.rnn = rnn_jax.GRU(20, 7, bidirectional=True, batch_first=True, **DOUBLE, rngs=rngs)
        self.fc = nnx.Linear(14, 6, **DOUBLE, rngs=rngs)

    def __call__(self, x: Array) -> Array:  # (B, T, 5, 1)
        h = jax.nn.relu(self.bn1(self.conv1(x)))
        h = jax.nn.relu(self.bn2(self.conv2(h)))  # (B, T, 5, 4)
        h, _ = self.rnn(h.reshape(*h.shape[:2], -1))
        return jax.nn.log_softmax(self.fc(h))


class Translator(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.embed_out = nnx.Embed(20, 6, **DOUBLE, rngs=rngs)  # not in torch's order
        self.embed_in = nnx.Embed(20, 6, **DOUBLE, rngs=rngs)
        self.decoder = rnn_jax.LSTMCell(12, 6, **DOUBLE, rngs=rngs)
        self.encoder = rnn_jax.GRUCell(6, 6, **DOUBLE, rngs=rngs)
        self.w_memory = nnx.Linear(6, 6, use_bias=False, **DOUBLE, rngs=rngs)
        self.w_state = nnx.Linear(6, 6, use_bias=False, **DOUBLE, rngs=rngs)
        self.v = nnx.Linear(6, 1, use_bias=False, **DOUBLE, rngs=rngs)
        self.out = nnx.Linear(12, 20, **DOUBLE, rngs=rngs)

    def __call__(self, source: Array, target: Array) -> Array:
        embedded = self.embed_in(source)
        h = jnp.zeros((len(source), 6), embedded.dtype)
        states = []
        for t in range(source.shape[1]):
            h, _ = self.encoder(h, embedded[:, t])
            states.append(h)
        memory, c, outputs = jnp.stack(states, 1), jnp.zeros_like(h), []
        for t in range(target.shape[1]):
            scores = self.v(jnp.tanh(self.w_state(h)[:, None] + self.w_memory(memory)))
            context = (jax.nn.softmax(scores, axis=1) * memory).sum(1)
            x = jnp.concatenate([self.embed_out(target[:, t]), context], -1)
            (h, c), _ = self.decoder((h, c), x)
            outputs.append(self.out(jnp.concatenate([h, context], -1)))
        return jnp.stack(outputs, 1)


class LanguageModel(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.embed = nnx.Embed(30, 8, **DOUBLE, rngs=rngs)
        self.lstm = rnn_jax.LSTM(8, 8, num_layers=2, dropout=0.2, **DOUBLE, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(30, jnp.float64))

    def __call__(self, x: Array) -> tuple[Array, Any]:
        h, state = self.lstm(self.embed(x))
        return self.embed.attend(h) + self.bias, state


class Branch(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.project = nnx.Linear(6, 6, **DOUBLE, rngs=rngs)
        self.norm = nnx.LayerNorm(6, epsilon=1e-5, **DOUBLE, rngs=rngs)
        self.rnn = rnn_jax.GRU(6, 6, batch_first=True, **DOUBLE, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.rnn(self.norm(self.project(x)))[0][:, -1]


class Branches(nnx.Module):
    """`swapped`: the names of the branches are the other way around."""

    def __init__(self, rngs: nnx.Rngs, swapped: bool = False):
        self.left, self.right = Branch(rngs), Branch(rngs)
        self.mix = nnx.Linear(6, 6, **DOUBLE, rngs=rngs)
        self.swapped = swapped

    def __call__(self, x: Array) -> Array:
        left, right = self.left(x), self.right(x)
        left, right = (right, left) if self.swapped else (left, right)
        return self.mix(jnp.tanh(left) * 2 + right)


class Wave(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.front = nnx.Conv(3, 8, (5,), **DOUBLE, rngs=rngs)
        self.group = nnx.GroupNorm(8, num_groups=2, epsilon=1e-5, **DOUBLE, rngs=rngs)
        self.slope = nnx.PReLU(param_dtype=jnp.float64)
        self.learned = nnx.Param(jnp.zeros((1, 10, 8), jnp.float64))
        self.rms = nnx.RMSNorm(8, epsilon=1e-6, **DOUBLE, rngs=rngs)
        self.rnn = rnn_jax.RNN(8, 8, nonlinearity="relu", batch_first=True, **DOUBLE, rngs=rngs)
        self.back = nnx.ConvTranspose(
            8, 2, (4,), strides=2, padding="SAME", transpose_kernel=True, **DOUBLE, rngs=rngs
        )

    def __call__(self, x: Array) -> Array:  # (B, 10, 3)
        angles = jnp.arange(10)[:, None] / 10000 ** (jnp.arange(8)[None] / 8)
        h = self.slope(self.group(self.front(x)))
        h = self.rms(h + self.learned[...] + jnp.sin(angles))
        return jnp.swapaxes(self.back(self.rnn(h)[0]), 1, 2)


class Pixels(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(2, 4, (3, 3), strides=2, padding="VALID", **DOUBLE, rngs=rngs)
        self.conv2 = nnx.Conv(4, 4, (3, 3), feature_group_count=2, **DOUBLE, rngs=rngs)
        self.fc1 = nnx.Linear(36, 36, **DOUBLE, rngs=rngs)
        self.fc2 = nnx.Linear(36, 3, **DOUBLE, rngs=rngs)

    def __call__(self, x: Array) -> Array:  # (B, 7, 7, 2)
        h = jax.nn.gelu(self.conv2(jnp.tanh(self.conv1(x))), approximate=False)
        return self.fc2(jnp.tanh(self.fc1(h.reshape(len(h), -1)))) / jnp.sqrt(2)


# Functions of a pytree ---------------------------------------------------------------------------


def by_hand(order: str = "ifgo", turned: bool = False) -> tuple[Callable, dict[str, Any]]:
    """Returns an LSTM of two matrices that are multiplied from the right, or `turned` as torch's,
    with its gates in any order."""
    params = {
        "wx": np.ones((24, 6) if turned else (6, 24)),
        "wh": np.ones((24, 6) if turned else (6, 24)),
        "b": np.ones(24),
        "b_state": np.ones(24),
        "out": {"w": np.ones((6, 6)), "b": np.ones(6)},
    }

    def model(params: Any, x: Array) -> Array:
        h = c = jnp.zeros((len(x), 6), x.dtype)
        wx, wh = (params[name].T if turned else params[name] for name in ("wx", "wh"))
        for t in range(x.shape[1]):
            gates = x[:, t] @ wx + params["b"] + h @ wh + params["b_state"]
            found = dict(zip(order, jnp.split(gates, 4, -1), strict=True))
            i, f, o = (jax.nn.sigmoid(found[gate]) for gate in "ifo")
            c = f * c + i * jnp.tanh(found["g"])
            h = o * jnp.tanh(c)
        return h @ params["out"]["w"] + params["out"]["b"]

    return model, params


def fused() -> tuple[Callable, dict[str, Any]]:
    """Returns an LSTM laid out as Haiku's: one matrix for input and state, one bias, gates i g f
    o."""
    params = {
        "lstm/linear": {"w": np.ones((12, 24)), "b": np.ones(24)},
        "head": {"w": np.ones((6, 6)), "b": np.ones(6)},
    }

    def model(params: Any, x: Array) -> Array:
        h = c = jnp.zeros((len(x), 6), x.dtype)
        for t in range(x.shape[1]):
            both = jnp.concatenate([x[:, t], h], -1)
            gates = both @ params["lstm/linear"]["w"] + params["lstm/linear"]["b"]
            i, g, f, o = jnp.split(gates, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return h @ params["head"]["w"] + params["head"]["b"]

    return model, params


class LinenClassifier(linen.Module):
    cell: type

    @linen.compact
    def __call__(self, x: Array) -> Array:
        h: Any = linen.RNN(self.cell(6))(x)
        return linen.Dense(6)(h[:, -1])


def of_linen(cell: type) -> tuple[Callable, Any]:
    module = LinenClassifier(cell)
    params = module.init(jax.random.key(0), np.ones((2, 3, 6), np.float32))
    return module.apply, params
