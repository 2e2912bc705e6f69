"""The port of `speech_torch.py`, written as one writes Flax: channels last, the batch first."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

import rnn_jax
from rnn_jax import optim

BANDS, LETTERS, CHANNELS, HIDDEN = 8, 6, 4, 6


class BatchNorm(nnx.BatchNorm):
    """The batch norm of Flax with PyTorch's constants, and its running variance, which divides by
    one less than it has values."""

    def __init__(self, features: int, **options: Any):
        options = {"momentum": 0.9, "epsilon": 1e-5, "use_fast_variance": False} | options
        super().__init__(features, **options)

    def __call__(self, x: Array, *args: Any, **options: Any) -> Array:
        before = self.var[...]
        y = super().__call__(x, *args, **options)
        if not self.use_running_average:
            unbiased = x.var(tuple(range(x.ndim - 1)), ddof=1)
            self.var[...] = self.momentum * before + (1 - self.momentum) * unbiased
        return y


class Front(nnx.Module):
    """Two convolutions over (B, F, T, 1), with zeros beyond each length after every layer."""

    def __init__(self, **options: Any):
        self.conv1 = nnx.Conv(1, CHANNELS, (5, 5), strides=2, padding=2, **options)
        self.norm1 = BatchNorm(CHANNELS, **options)
        self.conv2 = nnx.Conv(CHANNELS, CHANNELS, (3, 3), padding=1, **options)
        self.norm2 = BatchNorm(CHANNELS, **options)
        self.drop = nnx.Dropout(0.2, rngs=options["rngs"])

    def gelu(self, x: Array) -> Array:
        return jax.nn.gelu(x, approximate=False)

    def __call__(self, x: Array, within: Array) -> Array:
        within = within[:, None, :, None]
        x = jnp.where(within, self.conv1(x), 0)
        x = jnp.where(within, jnp.clip(self.norm1(x), 0, 20), 0)
        x = jnp.where(within, self.conv2(x), 0)
        return self.drop(jnp.where(within, self.gelu(jnp.where(within, self.norm2(x), 0)), 0))


class Recogniser(nnx.Module):
    def __init__(self, **options: Any):
        both = {"batch_first": True, "bidirectional": True, **options}
        self.front = Front(**options)
        self.lower = rnn_jax.GRU(CHANNELS * BANDS // 2, HIDDEN, **both)
        self.between = BatchNorm(HIDDEN, **options)
        self.upper = rnn_jax.GRU(HIDDEN, HIDDEN, **both)
        self.drop = nnx.Dropout(0.3, rngs=options["rngs"])
        self.last = BatchNorm(HIDDEN, **options)
        self.letters = nnx.Linear(HIDDEN, LETTERS, use_bias=False, **options)

    def __call__(self, spectrogram: Array, lengths: Array) -> tuple[Array, Array]:
        lengths = (lengths - 1) // 2 + 1
        within = jnp.arange((spectrogram.shape[2] + 1) // 2) < lengths[:, None]
        x = self.front(spectrogram[..., None], within)  # (B, F, T, C)
        x = x.swapaxes(1, 2).reshape(*within.shape, -1)  # (B, T, F * C)
        x = self.lower(x, lengths=lengths)[0]
        x = self.between(x[..., :HIDDEN] + x[..., HIDDEN:])
        x = self.upper(x, lengths=lengths)[0]
        x = self.last(self.drop(x[..., :HIDDEN] + x[..., HIDDEN:]))
        return jax.nn.log_softmax(self.letters(x)), lengths


def losses(outputs: tuple[Array, Array], targets: tuple[Array, Array]) -> Array:
    """Returns the loss of each sequence, (B,)."""
    shares, lengths = outputs
    letters, counts = targets
    padding = (jnp.arange(shares.shape[1]) >= lengths[:, None]).astype(shares.dtype)
    beyond = (jnp.arange(letters.shape[1]) >= counts[:, None]).astype(shares.dtype)
    return optax.ctc_loss(shares, padding, letters, beyond)


def loss(outputs: tuple[Array, Array], targets: tuple[Array, Array]) -> Array:
    """PyTorch's mean divides each loss by the number of letters first."""
    return (losses(outputs, targets) / targets[1]).mean()


def optimizer() -> optax.GradientTransformation:
    rate = optim.one_cycle_lr(0.01, total_steps=20, cycle_momentum=False)
    return optax.chain(optim.clip_grad_norm(0.5), optim.adamw(rate, weight_decay=0.05))
