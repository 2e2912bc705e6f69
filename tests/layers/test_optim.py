"""Optimizers and clipping of rnn_jax.optim, against torch.optim on the same gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from rnn_jax import optim
from shared.errors import InvalidInput
from tests.support.optim_cases import (
    NAMES,
    OPTIONS,
    SHAPES,
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


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(*case, id=name, marks=[] if case[1] else [pytest.mark.slow])
        for case, name in zip(OPTIONS, NAMES, strict=True)
    ],
)
def test_an_optimizer_is_torchs(name: str, options: dict[str, Any]) -> None:
    """All weights after each step, and all that it remembers at the end."""
    weights, gradients = drawn()
    theirs, state = of_torch(lambda p: TORCHS[name](p, lr=0.02, **options), weights, gradients)
    mine, kept = of_jax(getattr(optim, name)(0.02, **options), weights, gradients)
    assert_same(mine, theirs)
    found = moments(kept)
    assert set(found) == {k for s in state.values() for k in s} - {"step"}
    for kind, tensors in found.items():
        if kind == "mu_product":
            tensors = dict.fromkeys(SHAPES, tensors)
        assert_same(tensors, {parameter: kept[kind] for parameter, kept in state.items()})


@pytest.mark.parametrize("name", TORCHS)
def test_defaults_are_torchs(name: str) -> None:
    weights, gradients = drawn(5)
    theirs, _ = of_torch(lambda p: TORCHS[name](p), weights, gradients)
    assert_same(of_jax(getattr(optim, name)(), weights, gradients)[0], theirs)


def test_amsgrad_has_a_name_of_its_own() -> None:
    weights, gradients = drawn(30)
    options: dict[str, Any] = {"betas": (0.8, 0.6), "eps": 1e-5, "weight_decay": 0.1}
    theirs, _ = of_torch(
        lambda p: torch.optim.Adam(p, 0.01, amsgrad=True, maximize=True, **options),
        weights,
        gradients,
    )
    assert_same(
        of_jax(optim.amsgrad(0.01, maximize=True, **options), weights, gradients)[0], theirs
    )


@pytest.mark.parametrize(
    "name",
    ["adamw", "rmsprop", *(pytest.param(n, marks=pytest.mark.slow) for n in ("nadam", "sgd"))],
)
def test_a_schedule_is_the_rate_of_each_step(name: str) -> None:
    """Also of a decoupled weight decay, and outside of a momentum."""
    extra = {"sgd": {"momentum": 0.9}, "rmsprop": {"momentum": 0.9}}
    options = {"weight_decay": 0.1, **extra.get(name, {})}
    weights, gradients = drawn(40)
    theirs, _ = of_torch(
        lambda p: TORCHS[name](p, lr=0.05, **options),
        weights,
        gradients,
        scheduler=lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
    )
    rate = optim.exponential_lr(0.05, 0.9)
    assert_same(of_jax(getattr(optim, name)(rate, **options), weights, gradients)[0], theirs)


@pytest.mark.parametrize(
    ("max_norm", "norm_type"),
    [
        (0.3, 2.0),
        (1e9, 2.0),
        (0.5, "inf"),
        (2.0, 3.0),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [(1.0, 2.0), (1.0, 1.0), (1e9, "inf"), (2.0, 0.5), (0.2, float("inf"))]
        ),
    ],
)
def test_clipping_by_norm_is_torchs(max_norm: float, norm_type: float | str) -> None:
    """Of gradients below and above the norm; 1e-6 counts where gradients are small."""
    weights, gradients = drawn(4)
    gradients["matrix"][2:] *= 1e-3
    gradients["number"][2:] *= 1e-3
    theirs, _ = of_torch(
        lambda p: torch.optim.SGD(p, 1.0),
        weights,
        gradients,
        prepare=lambda p: torch.nn.utils.clip_grad_norm_(p, max_norm, norm_type),  # pyright: ignore
    )
    clipped = optax.chain(optim.clip_grad_norm(max_norm, norm_type), optim.sgd(1.0))
    assert_same(of_jax(clipped, weights, gradients)[0], theirs)


def updated(
    optimizer: optax.GradientTransformation, gradients: Any, params: Any = None
) -> tuple[Any, Any]:
    """The first update, and the state after it."""
    return optimizer.update(gradients, optimizer.init(params or gradients), params)


def test_clipping_adds_1e_6_to_the_norm() -> None:
    """optax.clip_by_global_norm would leave a norm of 3, and the smallest as they are."""
    large, small = np.array([3e3, 4e3]), np.array([3e-6, 4e-6])
    found, _ = updated(optim.clip_grad_norm(3.0), {"a": large, "b": jnp.zeros((0,))})
    np.testing.assert_allclose(found["a"], large * 3 / (5e3 + 1e-6), rtol=1e-15)
    found, _ = updated(optim.clip_grad_norm(3.0), {"a": small})
    np.testing.assert_array_equal(found["a"], small)
    found, _ = updated(optim.clip_grad_norm(5e-6), {"a": small})
    np.testing.assert_allclose(found["a"], small * 5 / 6, rtol=1e-14)
    assert updated(optim.clip_grad_norm(3.0), {}) == ({}, optax.EmptyState())


def test_clipping_by_value_is_torchs() -> None:
    weights, gradients = drawn(5)
    theirs, _ = of_torch(
        lambda p: torch.optim.SGD(p, 1.0),
        weights,
        gradients,
        prepare=lambda p: torch.nn.utils.clip_grad_value_(p, 0.05),
    )
    clipped = optax.chain(optim.clip_grad_value(0.05), optim.sgd(1.0))
    assert_same(of_jax(clipped, weights, gradients)[0], theirs)


def test_any_pytree_will_do() -> None:
    """A dict with None, and one where others are masked."""
    make = optim.adamw(optim.step_lr(0.1, 2), weight_decay=0.1)
    w, g = jnp.array([1.0, -2.0]), jnp.array([0.3, 0.1])
    alone, _ = updated(make, {"w": g}, {"w": w})
    params = {"w": w, "none": None, "rest": (w, [w])}
    gradients = {"w": g, "none": None, "rest": (g, [g])}
    found, state = updated(make, gradients, params)
    np.testing.assert_array_equal(found["w"], alone["w"])
    np.testing.assert_array_equal(found["rest"][1][0], alone["w"])
    assert found["none"] is None
    assert len(optax.tree.get_all_with_path(state, "mu")) == 1
    masked = optax.masked(make, {"w": True, "none": None, "rest": False})
    found, state = updated(masked, gradients, params)
    np.testing.assert_array_equal(found["w"], alone["w"])
    np.testing.assert_array_equal(found["rest"][1][0], g)
    assert isinstance(optax.tree.get(state, "nu")["rest"], optax.MaskedNode)


def test_a_flax_optimizer_takes_it() -> None:
    def trained(tx: optax.GradientTransformation) -> Any:
        model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, optax.chain(optim.clip_grad_norm(0.5), tx), wrt=nnx.Param)
        x = jnp.array([[1.0, -0.5], [0.3, 0.7]])

        @nnx.jit
        def step(model: nnx.Module, optimizer: nnx.Optimizer) -> None:
            optimizer.update(model, nnx.grad(lambda m: (m(x) ** 2).sum())(model))

        for _ in range(3):
            step(model, optimizer)
        return nnx.state(model, nnx.Param)

    mine, theirs = trained(optim.adam(0.1)), trained(optax.adam(0.1))
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    make = optim.adagrad(0.1, weight_decay=0.1)
    updates, _ = updated(make, mine, mine)
    assert jax.tree.structure(updates) == jax.tree.structure(mine)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "name",
    ["rmsprop", *(pytest.param(n, marks=pytest.mark.slow) for n in ("adamw", "nadam", "sgd"))],
)
def test_constants_may_be_injected(name: str) -> None:
    """By optax.inject_hyperparams, which makes arrays of them, of values that are not known."""
    weights, gradients = drawn(10)
    make = getattr(optim, name)
    expected, _ = of_jax(make(0.05, weight_decay=0.1), weights, gradients)
    found, _ = of_jax(optax.inject_hyperparams(make)(0.05, weight_decay=0.1), weights, gradients)
    assert_same(found, jax.tree.map(np.asarray, expected))


REFUSED: dict[str, Callable[[], Any]] = {
    "learning_rate: expected a number ≥ 0, got -0.1": lambda: optim.sgd(-0.1),
    "learning_rate: expected a number ≥ 0, got nan": lambda: optim.adam(float("nan")),
    "betas[0]: expected a number ≥ 0 and < 1, got 1.0": lambda: optim.adam(betas=(1.0, 0.9)),
    "betas[1]: expected a number ≥ 0 and < 1, got -0.1": lambda: optim.nadam(betas=(0.9, -0.1)),
    "eps: expected": lambda: optim.adamw(eps=-1e-8),
    "weight_decay: expected": lambda: optim.adamw(weight_decay=-0.1),
    "momentum: expected": lambda: optim.sgd(momentum=-0.1),
    "nesterov: expected a momentum above 0 and no dampening": lambda: optim.sgd(nesterov=True),
    "dampening=0.1": lambda: optim.sgd(momentum=0.9, dampening=0.1, nesterov=True),
    "alpha: expected": lambda: optim.rmsprop(alpha=-0.1),
    "lr_decay: expected": lambda: optim.adagrad(lr_decay=-0.1),
    "initial_accumulator_value: expected": lambda: optim.adagrad(initial_accumulator_value=-1.0),
    "momentum_decay: expected": lambda: optim.nadam(momentum_decay=-1.0),
    "max_norm: expected": lambda: optim.clip_grad_norm(-1.0),
    'norm_type: expected a number or "inf", got': lambda: optim.clip_grad_norm(1.0, "two"),
    "clip_value: expected": lambda: optim.clip_grad_value(-1.0),
    "parameters['w']: expected real numbers, got int": lambda: optim.sgd().init(
        {"w": jnp.arange(2)}
    ),
    "got complex128": lambda: optim.adam().init({"w": jnp.ones(2) * 1j}),
    "weight_decay: expected update(gradients, state, params)": lambda: optim.adamw().update(
        {"w": jnp.ones(2)}, optim.adamw().init({"w": jnp.ones(2)})
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_bad_values_are_refused(message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        REFUSED[message]()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
