"""Optimizers of torch and of rnn_jax.optim on the same gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from rnn_jax import optim

RELATIVE = 1e-12
STEPS = 100
SHAPES: dict[str, tuple[int, ...]] = {
    "matrix": (3, 4),
    "vector": (5,),
    "number": (),
    "rows": (2, 1, 3),
}
SIZES = {"matrix": 1.0, "vector": 1e-3, "number": 0.1, "rows": 1e-7}
"""Of the gradients: beside the last one, eps counts."""
TORCHS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("adam", {}),
    ("adam", {"betas": (0.5, 0.9), "eps": 1e-4, "weight_decay": 0.1, "maximize": True}),
    ("adam", {"amsgrad": True, "betas": (0.9, 0.5)}),
    ("adam", {"decoupled_weight_decay": True, "weight_decay": 0.3}),
    ("adam", {"betas": (0.0, 0.0), "eps": 1e-3}),
    ("adamw", {}),
    ("adamw", {"amsgrad": True, "weight_decay": 0.5, "maximize": True, "betas": (0.3, 0.7)}),
    ("nadam", {}),
    ("nadam", {"betas": (0.8, 0.95), "eps": 1e-5, "momentum_decay": 0.3, "weight_decay": 0.2}),
    ("nadam", {"weight_decay": 0.2, "decoupled_weight_decay": True, "maximize": True}),
    ("adagrad", {}),
    ("adagrad", {"lr_decay": 0.1, "weight_decay": 0.2, "eps": 1e-4, "maximize": True}),
    ("adagrad", {"initial_accumulator_value": 0.5}),
    ("sgd", {}),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.1, "maximize": True}),
    ("sgd", {"momentum": 0.9, "dampening": 0.3}),
    ("sgd", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("rmsprop", {}),
    ("rmsprop", {"alpha": 0.3, "eps": 1e-4, "weight_decay": 0.1, "maximize": True}),
    ("rmsprop", {"centered": True, "alpha": 0.9, "eps": 1e-3}),
    ("rmsprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
]  # fmt: skip
NAMES = [f"{name} {' '.join(options) or 'as it is'}" for name, options in OPTIONS]


def drawn(steps: int = STEPS, seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Weights, and gradients of all steps."""
    rng = np.random.default_rng(seed)
    weights = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    gradients = {
        name: SIZES[name] * rng.standard_normal((steps, *shape)) for name, shape in SHAPES.items()
    }
    return weights, gradients


def of_torch(
    make: Callable[..., torch.optim.Optimizer],
    weights: dict[str, np.ndarray],
    gradients: dict[str, np.ndarray],
    *,
    dtype: torch.dtype = torch.float64,
    scheduler: Callable[..., Any] | None = None,
    prepare: Callable[..., Any] = lambda params: None,
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]:
    """The weights after each step, and torch's state of each parameter at the end."""
    params = {name: torch.tensor(w, dtype=dtype, requires_grad=True) for name, w in weights.items()}
    optimizer = make(list(params.values()))
    schedule = scheduler(optimizer) if scheduler else None
    found: dict[str, list[np.ndarray]] = {name: [] for name in params}
    for step in range(len(gradients["number"])):
        for name, p in params.items():
            p.grad = torch.tensor(gradients[name][step], dtype=dtype)
        prepare(list(params.values()))
        optimizer.step()
        if schedule:
            schedule.step()
        for name, p in params.items():
            found[name].append(p.detach().double().numpy().copy())
    state = {
        name: {k: np.asarray(v.double()) for k, v in optimizer.state[p].items() if v is not None}
        for name, p in params.items()
    }
    return {name: np.stack(each) for name, each in found.items()}, state


def of_jax(
    optimizer: optax.GradientTransformation, weights: Any, gradients: Any, dtype: Any = np.float64
) -> tuple[Any, Any]:
    """The weights after each step, and the state at the end."""
    weights, gradients = jax.tree.map(lambda x: jnp.asarray(x, dtype), (weights, gradients))

    def step(carry: Any, gradient: Any) -> Any:
        params, state = carry
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    both = jax.jit(lambda w, g: jax.lax.scan(step, (w, optimizer.init(w)), g))
    (_, state), found = both(weights, gradients)
    return found, state


def assert_same(mine: dict[str, Any], theirs: dict[str, Any], relative: float = RELATIVE) -> None:
    """Relative to the largest element of a tensor."""
    assert set(mine) == set(theirs)
    for name, array in theirs.items():
        found = np.asarray(mine[name], np.float64)
        assert found.shape == array.shape, name
        assert np.isfinite(found).all(), name
        error = abs(found - array).max() / abs(array).max()
        assert error <= relative, (name, error)


def moments(state: Any) -> dict[str, Any]:
    """The fields of each state by torch's names, as MOMENT_NAMES has them."""
    found: dict[str, Any] = {}

    def look(part: Any) -> bool:
        fields = optim.MOMENT_NAMES.get(type(part), {})
        found.update({torchs: getattr(part, name) for name, torchs in fields.items()})
        return bool(fields)

    jax.tree.leaves(state, is_leaf=look)
    return found
