"""Optimizers of torch and of optax, clipping and schedules, as a port may combine them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import torch

DECAY = 0.05
FLOAT64 = jnp.float64


def torchs(kind: Any, rate: float = 0.02, **options: Any) -> Callable:
    return lambda params: kind(list(params.values()), rate, **options)


SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
RMS, ADAGRAD = torch.optim.RMSprop, torch.optim.Adagrad
RMSPROP: dict[str, Any] = {"decay": 0.99, "eps": 1e-8, "eps_in_sqrt": False}


def norm(limit: float, **options: Any) -> Callable:
    return lambda params: torch.nn.utils.clip_grad_norm_(params, limit, **options)


def value(limit: float) -> Callable:
    return lambda params: torch.nn.utils.clip_grad_value_(params, limit)


def scaled(limit: float, epsilon: float = 1e-6) -> optax.GradientTransformation:
    """Clipping as torch does it."""

    def clip(g: Any, _: Any) -> Any:
        factor = jnp.minimum(1.0, limit / (optax.tree.norm(g) + epsilon))
        return {name: x * factor for name, x in g.items()}

    return optax.stateless(clip)


def by_tensor(limit: float) -> optax.GradientTransformation:
    def clip(g: Any, _: Any) -> Any:
        norms = {n: jnp.linalg.norm(x.reshape(-1)) for n, x in g.items()}
        return {n: x * jnp.minimum(1.0, limit / norms[n]) for n, x in g.items()}

    return optax.stateless(clip)


def transformation(init: Any, update: Any) -> optax.GradientTransformation:
    return optax.GradientTransformation(init, update)


def steps(factor: float, size: int = 2) -> Callable:
    return lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, size, factor)


def halving(late: int = 0, size: int = 2) -> Callable:
    return lambda count: jnp.asarray(0.02, FLOAT64) * 0.5 ** (jnp.maximum(count - late, 0) // size)


def warming(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / 4))


def linear(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 - 0.7 * min(t, 7) / 7)


def flat_adam(rate: float = 0.02, *, first: bool, second: bool) -> Any:
    """Adam without one of its bias corrections, or both."""

    def init(params: Any) -> Any:
        zero = {n: jnp.zeros_like(p) for n, p in params.items()}
        return 0, zero, zero

    def step(g: Any, state: Any, _: Any = None) -> Any:
        t, m, v = state[0] + 1, {}, {}
        for n in g:
            m[n] = 0.9 * state[1][n] + 0.1 * g[n]
            v[n] = 0.999 * state[2][n] + 0.001 * g[n] ** 2
        c1, c2 = (1 - 0.9**t if first else 1.0), (1 - 0.999**t if second else 1.0)
        updates = {n: -rate * (m[n] / c1) / (jnp.sqrt(v[n] / c2) + 1e-8) for n in g}
        return updates, (t, m, v)

    return transformation(init, step)


def epsilon_hat(rate: float = 0.02, eps: float = 1e-8) -> optax.GradientTransformation:
    """Adam as in TensorFlow: epsilon beside a second moment that is not corrected yet."""

    def init(params: Any) -> Any:
        zero = {n: jnp.zeros_like(p) for n, p in params.items()}
        return 0, zero, zero

    def step(g: Any, state: Any, _: Any = None) -> Any:
        t = state[0] + 1
        m = {n: 0.9 * state[1][n] + 0.1 * g[n] for n in g}
        v = {n: 0.999 * state[2][n] + 0.001 * g[n] ** 2 for n in g}
        alpha = rate * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
        return {n: -alpha * m[n] / (jnp.sqrt(v[n]) + eps) for n in g}, (t, m, v)

    return transformation(init, step)


def averaged(rate: float = 0.02, momentum: float = 0.9) -> optax.GradientTransformation:
    """An average of gradients that begins with the first."""

    def step(g: Any, state: Any, _: Any = None) -> Any:
        mean = g if state is None else {n: momentum * state[n] + (1 - momentum) * g[n] for n in g}
        return {n: -rate * mean[n] for n in g}, mean

    return transformation(lambda _: None, step)


def chain(*parts: Any) -> optax.GradientTransformation:
    return optax.chain(*parts)


def coupled(rest: Any, decay: float = DECAY) -> optax.GradientTransformation:
    return optax.chain(optax.add_decayed_weights(decay), rest)


def groups(params: dict, first: dict, other: dict, kind: Any = SGD) -> torch.optim.Optimizer:
    """The first tensor by itself."""
    name, *names = params
    return kind([{"params": [params[name]], **first},
                 {"params": [params[n] for n in names], **other}], lr=0.02)  # fmt: skip


def only_first(inner: Any, others: Any) -> Callable:
    def make(names: list[str]) -> optax.GradientTransformation:
        labels = {name: "first" if name == names[0] else "others" for name in names}
        return optax.multi_transform({"first": inner, "others": others}, labels)

    return make


def multi(
    inner: Any, count: int, mean: bool = True, kept: Any = FLOAT64
) -> optax.GradientTransformation:
    steps = optax.MultiSteps(inner, count, use_grad_mean=mean, accumulator_dtype=kept)
    return compiled(steps.init, steps.update)


def compiled(init: Any, update: Any) -> optax.GradientTransformation:
    """MultiSteps is slow unless it is compiled."""
    return transformation(init, jax.jit(update))


def shifted(inner: Any, count: int) -> optax.GradientTransformation:
    """MultiSteps that has already counted a batch."""
    steps = optax.MultiSteps(inner, count, accumulator_dtype=FLOAT64)

    def init(params: Any) -> Any:
        return steps.init(params)._replace(mini_step=jnp.array(1, jnp.int32))

    return compiled(init, steps.update)


MOMENTUM: dict[str, Any] = {"momentum": 0.9}
