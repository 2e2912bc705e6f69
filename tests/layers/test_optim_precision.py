"""What optimizers of rnn_jax.optim keep in float32 and bfloat16, against those of torch."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from rnn_jax import optim
from rnn_jax.scalars import one_minus_power
from tests.support.optim_cases import (
    NAMES,
    OPTIONS,
    TORCHS,
    assert_same,
    drawn,
    moments,
    of_jax,
    of_torch,
)


@pytest.fixture(autouse=True)
def torch_in_float64() -> Any:
    """Where torch keeps its scalars, such as NAdam's mu_product, in float64, too."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def errors(
    name: str, options: dict[str, Any], dtypes: tuple[Any, torch.dtype], x64: bool
) -> tuple[float, float]:
    """How far each is from torch in float64: mine and torch's, relative to the largest weight.

    Weights are small at first, so that those after some steps are made of updates."""
    weights, gradients = drawn(20)
    short = lambda x: np.asarray(torch.tensor(x).to(dtypes[1]).double())  # noqa: E731
    weights = {name: short(1e-2 * w) for name, w in weights.items()}
    gradients = {name: short(g) for name, g in gradients.items()}
    make = lambda p: TORCHS[name](p, lr=0.02, **options)  # noqa: E731
    exact, _ = of_torch(make, weights, gradients)
    torch.set_default_dtype(torch.float32)
    theirs, _ = of_torch(make, weights, gradients, dtype=dtypes[1])
    with jax.enable_x64(x64):
        start = jax.tree.map(lambda w: jnp.asarray(w, dtypes[0]), weights)
        mine, state = of_jax(getattr(optim, name)(0.02, **options), start, gradients, dtypes[0])
    kept = jax.tree.leaves(moments(state))
    assert {x.dtype for x in (*mine.values(), *kept) if x.ndim} == {np.dtype(dtypes[0])}

    def error(found: dict[str, Any]) -> float:
        both = ((np.asarray(found[name], np.float64), w) for name, w in exact.items())
        return max(abs(a - w).max() / abs(w).max() for a, w in both)

    return error(mine), error(theirs)


SLOW = [i not in (2, 8, 19) for i in range(len(OPTIONS))]
SOME = [
    pytest.param(*case, id=name, marks=[pytest.mark.slow] if slow else [])
    for case, name, slow in zip(OPTIONS, NAMES, SLOW, strict=True)
]


@pytest.mark.parametrize(("name", "options"), SOME)
def test_float32_without_x64_is_as_precise_as_torch(name: str, options: dict[str, Any]) -> None:
    """Which has its scalars in float64. Where steps are larger than weights, both err more."""
    mine, theirs = errors(name, options, (np.float32, torch.float32), x64=False)
    assert mine <= 4 * theirs + 4 * 2.0**-24


@pytest.mark.parametrize(("name", "options"), SOME)
def test_bfloat16_is_computed_in_float32(name: str, options: dict[str, Any]) -> None:
    """And kept in bfloat16, as in torch. In bfloat16 0.999 would be 1."""
    mine, theirs = errors(name, options, (jnp.bfloat16, torch.bfloat16), x64=True)
    assert mine <= 2 * theirs + 4 * 2.0**-9


def test_float32_weights_have_scalars_in_float64() -> None:
    """Where x64 is on, as in torch: float32 would lose 1 - 0.9999999^t."""
    weights, gradients = drawn(3)
    betas = (0.9, 0.9999999)
    theirs, _ = of_torch(
        lambda p: torch.optim.Adam(p, 0.5, betas), weights, gradients, dtype=torch.float32
    )
    mine, _ = of_jax(optim.adam(0.5, betas), weights, gradients, np.float32)
    assert {x.dtype for x in mine.values()} == {np.dtype(np.float32)}
    assert_same(mine, theirs, 4 * 2.0**-24)


def test_the_bias_correction_of_float32_keeps_its_digits() -> None:
    """1 - β₂ᵗ as it stands would have lost half of them at the first step."""
    n = np.array([1, 2, 10, 1000, 100_000])
    for decay in (0.5, 0.9, 0.999, 0.999999):
        exact = -np.expm1(n * np.log(decay))
        with jax.enable_x64(False):
            found = one_minus_power(decay, jnp.asarray(n))
            plain = 1 - decay ** jnp.asarray(n)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact, rtol=4 * 2.0**-24)
    assert abs(plain / exact - 1)[0] > 1e-3


def test_the_first_steps_of_float32_have_the_size_of_the_rate() -> None:
    """Whatever β₂ is: the bias correction makes it so."""
    with jax.enable_x64(False):
        gradient = {"w": jnp.array([0.5, -2.0])}
        adam = optim.adam(0.5, (0.9, 0.999999), eps=0.0)
        updates, _ = adam.update(gradient, adam.init(gradient))
    np.testing.assert_allclose(updates["w"], [-0.5, 0.5], rtol=4 * 2.0**-24)  # pyright: ignore
