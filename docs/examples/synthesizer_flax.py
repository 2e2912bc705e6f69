"""The port of `synthesizer_torch.py`, written as one writes Flax: other names, channels last."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

import rnn_jax

LETTERS, FRAME = 40, 20


class ConvNorm(nnx.Module):
    def __init__(self, inputs: int, outputs: int, **options: Any):
        self.conv = nnx.Conv(inputs, outputs, (5,), **options)
        self.norm = nnx.BatchNorm(outputs, momentum=0.9, epsilon=1e-5, **options)

    def __call__(self, x: Array) -> Array:
        return self.norm(self.conv(x))


class Encoder(nnx.Module):
    def __init__(self, size: int = 32, **options: Any):
        self.embed = nnx.Embed(LETTERS, size, **options)
        self.layers = nnx.List(ConvNorm(size, size, **options) for _ in range(3))
        self.rnn = rnn_jax.LSTM(size, size // 2, batch_first=True, bidirectional=True, **options)
        self.drop = nnx.Dropout(0.5, rngs=options["rngs"])

    def __call__(self, letters: Array) -> Array:
        x = self.embed(letters)
        for layer in self.layers:
            x = self.drop(jax.nn.relu(layer(x)))
        return self.rnn(x)[0]


class Attention(nnx.Module):
    def __init__(self, state: int = 48, memory: int = 32, size: int = 24, **options: Any):
        options["use_bias"] = False
        self.w_state = nnx.Linear(state, size, **options)
        self.w_memory = nnx.Linear(memory, size, **options)
        self.conv = nnx.Conv(2, 8, (7,), **options)
        self.w_place = nnx.Linear(8, size, **options)
        self.v = nnx.Linear(size, 1, **options)

    def __call__(self, h: Array, memory: Array, seen: Array) -> tuple[Array, Array]:
        place = self.w_place(self.conv(seen))
        mixed = jnp.tanh(self.w_state(h)[:, None] + self.w_memory(memory) + place)
        shares = jax.nn.softmax(self.v(mixed)[..., 0], axis=1)
        return (shares[:, :, None] * memory).sum(1), shares


class Decoder(nnx.Module):
    def __init__(self, memory: int = 32, state: int = 48, **options: Any):
        self.to_frame = nnx.Linear(state + memory, FRAME, **options)
        self.to_stop = nnx.Linear(state + memory, 1, **options)
        self.upper = rnn_jax.LSTMCell(state + memory, state, **options)
        self.lower = rnn_jax.LSTMCell(32 + memory, state, **options)
        self.attention = Attention(state, memory, **options)
        self.pre1 = nnx.Linear(FRAME, 32, **options)
        self.pre2 = nnx.Linear(32, 32, **options)
        self.drop = nnx.Dropout(0.5, rngs=options["rngs"])

    def __call__(self, memory: Array, frames: Array) -> tuple[Array, Array]:
        batch, length = memory.shape[:2]
        lower = upper = (jnp.zeros((batch, 48), memory.dtype),) * 2
        context, shares = jnp.zeros_like(memory[:, 0]), jnp.zeros((batch, length), memory.dtype)
        total, outputs, stops = shares, [], []
        before = jnp.pad(frames[:, :-1], ((0, 0), (1, 0), (0, 0)))
        before = jax.nn.relu(self.pre2(self.drop(jax.nn.relu(self.pre1(before)))))
        for t in range(frames.shape[1]):
            lower, h = self.lower(lower, jnp.concatenate([before[:, t], context], 1))
            context, shares = self.attention(h, memory, jnp.stack([shares, total], -1))
            total = total + shares
            upper, h = self.upper(upper, jnp.concatenate([h, context], 1))
            both = jnp.concatenate([h, context], 1)
            outputs.append(self.to_frame(both))
            stops.append(self.to_stop(both))
        return jnp.stack(outputs, 1), jnp.concatenate(stops, 1)


class Synthesizer(nnx.Module):
    def __init__(self, **options: Any):
        self.encoder = Encoder(**options)
        self.decoder = Decoder(**options)
        self.post1 = ConvNorm(FRAME, 32, **options)
        self.post2 = ConvNorm(32, FRAME, **options)
        self.drop = nnx.Dropout(0.5, rngs=options["rngs"])
        self.norm = nnx.LayerNorm(FRAME, epsilon=1e-5, **options)

    def __call__(self, letters: Array, frames: Array) -> tuple[Array, Array, Array]:
        rough, stops = self.decoder(self.encoder(letters), frames)
        fine = rough + self.post2(self.drop(jnp.tanh(self.post1(rough))))
        return rough, self.norm(fine), stops
