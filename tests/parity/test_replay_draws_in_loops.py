"""Draws in scans, while loops, vmap and second forward passes: outputs and gradients agree."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen
from jax.random import bernoulli  # imported early, as by users
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from rnn_jax import draws as in_jax
from tests.support.draw_cases import DOUBLE, KEYS, X, agree, by_hand


def zoneout_in_torch(x: Tensor) -> Tensor:
    h = torch.zeros_like(x[:, 0])
    for t in range(4):
        kept = torch.bernoulli(torch.full_like(h, 0.2))
        h = kept * h + (1 - kept) * torch.tanh(x[:, t] + 0.5 * h)
    return h


def zoneout_in_jax(x: Any) -> Any:
    def step(h: Any, given: Any) -> Any:
        x, key = given
        kept = bernoulli(key, 0.2, h.shape)
        return jnp.where(kept, h, jnp.tanh(x + 0.5 * h)), None

    return jax.lax.scan(step, jnp.zeros_like(x[:, 0]), (x.swapaxes(0, 1), KEYS[:4]))[0]


def test_a_mask_for_each_step_of_a_scan() -> None:  # zoneout (Krueger et al. 2017)
    agree(zoneout_in_torch, zoneout_in_jax, count=4)
    agree(zoneout_in_torch, jax.jit(zoneout_in_jax), count=4)


def test_a_scan_that_uses_one_key_has_one_mask() -> None:
    def step(h: Any, x: Any) -> Any:
        h = jnp.tanh(x + h * bernoulli(KEYS[0], 0.5, h.shape))
        return h, h

    def theirs(x: Tensor) -> Tensor:
        mask, h = torch.empty(4, 5, **DOUBLE).bernoulli_(0.5), torch.zeros(4, 5, **DOUBLE)
        return torch.stack([h := torch.tanh(x[t] + h * mask) for t in range(3)])

    agree(theirs, lambda x: jax.lax.scan(step, jnp.zeros((4, 5)), x)[1])


@pytest.mark.parametrize("split", [True, False])
def test_a_scan_of_linen(split: bool) -> None:
    class Step(linen.Module):
        @linen.compact
        def __call__(self, h: Any, x: Any) -> Any:
            h = jnp.tanh(x + linen.Dropout(0.3, deterministic=False)(h + x))
            return h, h

    rngs: Any = {"params": False, "dropout": split}
    scan = linen.scan(Step, variable_broadcast="params", split_rngs=rngs)

    def theirs(x: Tensor) -> Tensor:
        drop, h = nn.Dropout(0.3), x.new_zeros(4, 5)
        mask = None if split else drop(torch.ones_like(h))
        outputs = []
        for t in range(3):
            h = torch.tanh(x[t] + (drop(h + x[t]) if mask is None else mask * (h + x[t])))
            outputs.append(h)
        return torch.stack(outputs)

    def ours(x: Any) -> Any:
        return scan().apply({}, jnp.zeros((4, 5)), x, rngs={"dropout": KEYS[2]})[1]

    agree(theirs, ours, count=3 if split else 1)


def test_a_second_forward_pass_draws_nothing_new() -> None:
    def theirs(x: Tensor) -> Any:
        for _ in range(2):
            x = checkpoint(lambda x: F.dropout(torch.sin(x), 0.3), x, use_reentrant=False)  # pyright: ignore
        return x

    body = jax.checkpoint(lambda x, key: by_hand(jnp.sin(x), key))
    agree(theirs, lambda x: body(body(x, KEYS[0]), KEYS[1]), count=2)


def test_under_vmap_a_draw_is_that_of_the_batch() -> None:
    ours = jax.vmap(lambda x, key: by_hand(x, key))
    agree(nn.Dropout(0.3), lambda x: ours(x, KEYS[:3]))
    twice = jax.vmap(jax.vmap(lambda x, key, p: x * bernoulli(key, p, x.shape)), (1, 0, None), 1)
    p = np.array([0.2, 0.5, 0.8])
    agree(
        lambda x: x * torch.bernoulli(torch.tensor(p)[:, None].expand(4, 3, 5)).swapaxes(0, 1),
        lambda x: twice(x, jax.random.split(KEYS[0], (4, 3)), jnp.array(p)),
    )
    keys = jax.random.split(KEYS[0], (4, 3))
    with in_jax.recorded():
        assert jax.eval_shape(twice, jnp.asarray(X), keys, jnp.array(p)).shape == X.shape


def test_a_while_loop_under_vmap() -> None:
    def count(x: Any, steps: Any, key: Any) -> Any:
        def step(state: Any) -> Any:
            t, x = state
            return t + 1, x * bernoulli(jax.random.fold_in(key, t), 0.5, x.shape)

        return jax.lax.while_loop(lambda state: state[0] < steps, step, (0, x))[1]

    with in_jax.recorded() as draws:
        jax.vmap(count)(jnp.asarray(X), jnp.array([1, 3, 2]), KEYS[:3])
    assert [draw.shape for draw in draws] == [(3, 4, 5)] * 3
