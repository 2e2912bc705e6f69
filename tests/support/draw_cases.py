"""A step in both frameworks, of which each in turn draws for the other."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.random import bernoulli  # imported early, as by users
from torch import nn

from rnn_jax import draws as in_jax
from rnn_torch import draws as in_torch
from shared.protocol.draws import Replay

DOUBLE: Any = {"dtype": torch.float64}
X = np.random.default_rng(0).standard_normal((3, 4, 5))
KEYS = jax.random.split(jax.random.key(3), 8)


def agree(theirs: Any, ours: Any, x: np.ndarray = X, names: Any = None, count: int = 1) -> None:
    """Hands torch's draws to JAX and, without names, JAX's to torch.

    Args:
        theirs: a module or function of x.
        ours: a function of x.
        count: of the draws.
    """
    module = theirs if isinstance(theirs, nn.Module) else nn.Identity()
    with in_torch.seeded(1), in_torch.recorded(module) as draws:
        expected = with_torch(theirs, x)
    replay = Replay(draws, names)
    with in_jax.replayed(replay):
        equal(expected, with_jax(ours, x))
    assert replay.replayed == count
    if names is None:
        with in_jax.recorded() as draws:
            expected = with_jax(ours, x)
        with in_torch.seeded(2), in_torch.replayed(module, Replay(draws, drew="jax")):
            equal(expected, with_torch(theirs, x))
        assert len(draws) == count


def with_torch(step: Any, x: np.ndarray) -> list[np.ndarray]:
    tensor = torch.tensor(x, requires_grad=True)
    output = step(tensor)
    (gradient,) = torch.autograd.grad((output * torch.cos(output.detach() + 1)).sum(), tensor)
    return [output.detach().numpy(), gradient.numpy()]


def with_jax(step: Any, x: np.ndarray) -> list[np.ndarray]:
    def loss(x: Any) -> Any:
        output = step(x)
        return (output * jnp.cos(jax.lax.stop_gradient(output) + 1)).sum(), output

    (_, output), gradient = jax.value_and_grad(loss, has_aux=True)(jnp.asarray(x))
    return [np.asarray(output), np.asarray(gradient)]


def equal(expected: list[np.ndarray], found: list[np.ndarray]) -> None:
    for one, other in zip(expected, found, strict=True):
        assert np.abs(one).max() > 1e-3
        assert np.abs(one - other).max() < 1e-12


def by_hand(x: Any, key: Any = KEYS[0], keep: float = 0.7) -> Any:
    return jnp.where(bernoulli(key, keep, x.shape), x / keep, 0)
