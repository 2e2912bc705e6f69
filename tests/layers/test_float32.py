"""What float32 keeps: digits that a formula, right in float64, would lose."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from rnn_jax import losses as jax_losses
from rnn_jax import optimizers
from rnn_torch import losses as torch_losses
from shared.config.settings import OptimizationConfig
from tests.support import reference

RELATIVE = 1e-6
EPSILON = 2.0**-23
LOGITS = {
    "a small loss": [12.0, 0.0, -3.0],
    "a smaller one": [15.0, -1.5, 0.25],
    "one below a unit in the last place of the logit": [17.5, 0.0, 1.0],
    "far from zero": [1012.0, 1000.0, 997.0],
    "a large one": [-20.0, 3.0, 2.0],
}


def mean(sums: tuple) -> float:
    loss, _, weight = (float(value) for value in sums)
    return loss / weight


@pytest.mark.parametrize("case", LOGITS)
def test_a_small_loss_keeps_its_digits(case: str) -> None:
    """log Σ exp minus the label's logit are two large numbers here, whose difference is small. From
    the largest logit on, only 1 + s is rounded, to a unit in the last place of 1."""
    logits, target = np.array([LOGITS[case]], np.float32), np.zeros(1, np.int32)
    expected = float(reference.cross_entropy(logits.astype(np.float64), target))
    with jax.enable_x64(False):
        arguments = (jnp.asarray(logits), jnp.asarray(target), jnp.ones(1, jnp.float32))
        mine = mean(jax_losses.sums("cross_entropy", *arguments))
        differentiated = jax.grad(lambda x: jax_losses.sums("cross_entropy", x, *arguments[1:])[0])
        gradient = np.asarray(differentiated(arguments[0]))[0]
    tensors = (torch.from_numpy(logits), torch.from_numpy(target).long(), torch.ones(1))
    theirs = mean(torch_losses.sums("cross_entropy", *tensors))
    assert abs(mine - expected) < EPSILON + RELATIVE * expected
    assert abs(theirs - expected) < EPSILON + RELATIVE * expected
    assert mine == pytest.approx(theirs, rel=RELATIVE, abs=0)
    shares = np.exp(logits[0].astype(np.float64) - logits.max())
    shares /= shares.sum()
    np.testing.assert_allclose(gradient[1:], shares[1:], rtol=1e-5)


@pytest.mark.parametrize("case", ["a small loss", "a smaller one", "far from zero"])
def test_optaxs_loss_would_fail_the_test_above(case: str) -> None:
    """Which therefore tests something."""
    with jax.enable_x64(False):
        logits = jnp.asarray(LOGITS[case], jnp.float32)
        found = float(optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(0)))
    expected = float(reference.cross_entropy(np.array([LOGITS[case]]), np.zeros(1, np.int32)))
    assert abs(found - expected) > 1.5 * EPSILON


ADAMS = {
    "torch's defaults": (0.9, 0.999),
    "a longer memory": (0.99, 0.9999),
    "a shorter one": (0.5, 0.6),
    "no first moment": (0.0, 0.999),
    "no second moment": (0.9, 0.0),
    "no memory": (0.0, 0.0),
}


def directions(b1: float, b2: float, gradients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every direction of Adam in float32, and the one in float64 that its own moments have: what
    is left between them is the bias correction."""
    optimization = OptimizationConfig(optimizer="adam", betas=(b1, b2), eps=1e-8, weight_decay=0.0)
    found, expected = [], []
    with jax.enable_x64(False):
        adam = optimizers.make(optimization)
        params = {"w": jnp.zeros(gradients.shape[1], jnp.float32)}
        state = adam.init(params)
        for t, gradient in enumerate(gradients, start=1):
            moved: Any = adam.update({"w": jnp.asarray(gradient)}, state, params)
            direction, state = moved
            assert direction["w"].dtype == jnp.float32
            found.append(np.asarray(direction["w"], np.float64))
            moments = optimizers.moments(optimization, state)
            m, v = (np.asarray(moments[k]["w"], np.float64) for k in ("exp_avg", "exp_avg_sq"))
            expected.append(m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + 1e-8))
    return np.array(found), np.array(expected)


@pytest.mark.parametrize("case", ADAMS)
def test_adams_bias_correction_keeps_its_digits(case: str) -> None:
    """1 - β₂ᵗ as it stands loses up to 3e-5 of itself in float32 when t is small."""
    gradients = np.random.default_rng(2).uniform(0.5, 2, (50, 8)).astype(np.float32)
    gradients[:, ::2] *= -1
    found, expected = directions(*ADAMS[case], gradients)
    assert np.isfinite(found).all()
    assert expected.all()
    np.testing.assert_allclose(found, expected, rtol=RELATIVE)


def test_optaxs_adam_would_fail_the_test_above() -> None:
    with jax.enable_x64(False):
        adam = optax.scale_by_adam(0.9, 0.999, eps=1e-8)
        gradient = jnp.asarray([0.75], jnp.float32)
        state = adam.init(gradient)
        worst = 0.0
        for _ in range(50):
            moved: Any = adam.update(gradient, state)
            direction, state = moved
            # A gradient that stays is its own mean; the direction is its sign.
            worst = max(worst, abs(float(direction[0]) - 1))
    assert worst > 1e-5
