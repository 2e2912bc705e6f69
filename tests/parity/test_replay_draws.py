"""What one framework draws, the other computes with: outputs and gradients agree to 1e-12."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx
from jax.random import bernoulli  # imported early, as by users
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import rnn_jax
from rnn_jax import draws as in_jax
from rnn_torch import draws as in_torch
from shared.protocol.draws import Replay
from tests.support.draw_cases import DOUBLE, KEYS, X, agree, by_hand, equal, with_jax, with_torch


def alpha(mask: Any, x: Any, p: float) -> Any:
    """Self-normalizing networks (Klambauer et al. 2017), with torch's constant."""
    low = -1.7580993408473766
    a = 1 / np.sqrt((low**2 * p + 1) * (1 - p))
    return a * jnp.where(mask, x, low) - a * low * p


def flax(rate: float = 0.3, **how: Any) -> nnx.Dropout:
    return nnx.Dropout(rate, rngs=nnx.Rngs(0), **how)


def of_linen(x: Any) -> Any:
    module = linen.Dropout(0.3, deterministic=False)
    return module.apply({}, x, rngs={"dropout": KEYS[1]})


def attention(x: Any) -> Any:
    scores = jax.nn.softmax(x @ x.swapaxes(1, 2) / np.sqrt(5))
    return flax()(scores) @ x


DROPOUTS: dict[str, Any] = {
    "nnx": (nn.Dropout(0.3), lambda x: flax()(x)),
    "inplace": (lambda x: F.dropout(x * 1, 0.3, inplace=True), lambda x: flax()(x)),
    "linen": (nn.Dropout(0.3), of_linen),
    "rnn_jax": (nn.Dropout(0.3), lambda x: by_hand(x)),
    "one probability for each": (
        lambda x: x * torch.bernoulli(torch.sigmoid(x.detach())),
        lambda x: x * bernoulli(KEYS[0], jax.nn.sigmoid(x)),
    ),
    "channels": (nn.Dropout1d(0.3), lambda x: flax(broadcast_dims=(2,))(x)),
    "channels last": (
        lambda x: F.dropout2d(x[:, :, None], 0.3)[:, :, 0],
        lambda x: flax(broadcast_dims=(1,))(x.swapaxes(1, 2)).swapaxes(1, 2),
    ),
    "volumes": (
        lambda x: F.dropout3d(x[None, ..., None], 0.3)[0, ..., 0],
        lambda x: flax(broadcast_dims=(1, 2))(x),
    ),
    "alpha": (nn.AlphaDropout(0.3), lambda x: alpha(bernoulli(KEYS[0], 0.7, x.shape), x, 0.3)),
    "feature alpha": (
        nn.FeatureAlphaDropout(0.3),
        lambda x: alpha(bernoulli(KEYS[0], 0.7, (3, 4, 1)), x, 0.3),
    ),
    "native": (lambda x: torch.native_dropout(x, 0.3, True)[0], lambda x: flax()(x)),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.3), attention),
    "locked": (  # one mask for all time steps (Merity et al. 2018)
        lambda x: x * x.new_empty(3, 1, 5).bernoulli_(0.6) / 0.6,
        lambda x: x * bernoulli(KEYS[0], 0.6, (3, 1, 5)) / 0.6,
    ),
    "word": (
        lambda x: x * (torch.rand(3, 4, 1, **DOUBLE) > 0.3),
        lambda x: x * (jax.random.uniform(KEYS[0], (3, 4, 1)) > 0.3),
    ),
    "noise": (
        lambda x: x + torch.normal(0.5, 0.1, x.shape, **DOUBLE),
        lambda x: x + 0.5 + 0.1 * jax.random.normal(KEYS[0], x.shape),
    ),
    "noise of a model": (  # whose scale has gradients
        lambda x: x + torch.randn_like(x) * x.exp(),
        lambda x: x + jax.random.normal(KEYS[0], x.shape) * jnp.exp(x),
    ),
    "gumbel": (
        lambda x: F.gumbel_softmax(x, tau=0.5),
        lambda x: jax.nn.softmax((x + jax.random.gumbel(KEYS[0], x.shape)) / 0.5),
    ),
    "categories": (
        lambda x: x[:, 0] * torch.multinomial(x[:, 0].detach().exp(), 1),
        lambda x: x[:, 0] * jax.random.categorical(KEYS[0], x[:, 0])[:, None],
    ),
    "integers": (
        lambda x: x * torch.randint(2, 9, (4, 1)),
        lambda x: x * jax.random.randint(KEYS[0], (4, 1), 2, 9),
    ),
    "order": (
        lambda x: x[torch.randperm(3)] ** torch.arange(1, 4)[:, None, None],
        lambda x: jax.random.permutation(KEYS[0], x) ** jnp.arange(1, 4)[:, None, None],
    ),
    "ends": (  # of a uniform, by which gradients go
        lambda x: x.new_empty(5).uniform_(0, 1) * (2 - x) + x,
        lambda x: jax.random.uniform(KEYS[0], (5,)) * (2 - x) + x,
    ),
}


SLOW = ("inplace", "channels", "volumes", "feature alpha", "native", "noise", "ends", "order")
slowly = [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in DROPOUTS]


@pytest.mark.parametrize("name", slowly)
def test_each_kind_of_dropout(name: str) -> None:
    agree(*DROPOUTS[name])


def test_gradients_go_through_the_ends_of_a_uniform() -> None:
    agree(
        lambda x: torch.rand(5, **DOUBLE) * (x[0, 0, 1] + 4 - x[0, 0, 0]) + x[0, 0, 0],
        lambda x: jax.random.uniform(KEYS[0], (5,), minval=x[0, 0, 0], maxval=x[0, 0, 1] + 4),
    )


@pytest.mark.parametrize(
    "cell", ["RNN", *(pytest.param(cell, marks=pytest.mark.slow) for cell in ("GRU", "LSTM"))]
)
def test_dropout_between_recurrent_layers(cell: str) -> None:
    how: Any = {"num_layers": 3, "dropout": 0.4, "bidirectional": True, "batch_first": True}
    with in_torch.seeded(0):
        theirs = getattr(nn, cell)(5, 6, **how, **DOUBLE)
    ours = getattr(rnn_jax, cell)(5, 6, **how, rngs=nnx.Rngs(0), param_dtype=jnp.float64)
    ours.load_state_dict({name: t.detach().numpy() for name, t in theirs.named_parameters()})
    agree(lambda x: theirs(x)[0], lambda x: nnx.clone(ours)(x)[0], count=2)


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [[4, 2, 3], [4, 3, 2]])
def test_dropout_in_a_packed_layer(lengths: list[int]) -> None:
    how: Any = {"num_layers": 2, "dropout": 0.4, "bidirectional": True}
    with in_torch.seeded(0):
        theirs = nn.GRU(5, 6, **how, **DOUBLE)
    ours = rnn_jax.GRU(5, 6, **how, rngs=nnx.Rngs(0), param_dtype=jnp.float64)
    ours.load_state_dict({name: t.detach().numpy() for name, t in theirs.named_parameters()})

    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = theirs

        def forward(self, x: Tensor) -> Tensor:
            packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
            output: PackedSequence = self.gru(packed)[0]
            return pad_packed_sequence(output)[0]

    agree(Packed(), lambda x: nnx.clone(ours)(x, lengths=jnp.array(lengths))[0], X.swapaxes(0, 1))


def test_modules_in_another_order_by_name() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Dropout1d(0.3), nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) + self.b(torch.sin(x))

    running = [""]

    def ours(x: Any) -> Any:
        running[0] = "second"
        second = by_hand(jnp.sin(x).swapaxes(1, 2), KEYS[0], 0.5).swapaxes(1, 2)
        running[0] = "first"
        return second + jnp.where(bernoulli(KEYS[1], 0.7, (3, 4, 1)), x / 0.7, 0)

    with in_torch.seeded(1), in_torch.recorded(module := Two()) as draws:
        expected = with_torch(module, X)
    assert [draw.module for draw in draws] == ["a", "b"]
    with in_jax.replayed(Replay(draws, {"a": "first", "b": "second BCL->BLC"}), lambda: running[0]):
        equal(expected, with_jax(ours, X))
