"""Optimizers and clipping with PyTorch's formulas, every constant explicit.

The learning rate is not part of them: a step is `weights - rate · direction`, with the rate from
`shared/protocol/schedule.py`. PyTorch applies it there too; optax would put it inside RMSprop's
momentum.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from shared.config.choices import constants, moment_names
from shared.config.settings import OptimizationConfig

Params = dict[str, jax.Array]
Scaling = Callable[..., optax.GradientTransformation]
Direction = Callable[[jax.Array, jax.Array, jax.Array, jax.Array, float], jax.Array]
"""Adam's moments m and v, their bias corrections and ε → the direction of a step."""

# torch's name of a moment → the field of optax's state that holds it
FIELDS = {"exp_avg": "mu", "exp_avg_sq": "nu", "square_avg": "nu", "momentum_buffer": "trace"}


def make(
    optimization: OptimizationConfig,
    *,
    adam_direction: Direction | None = None,
    scale_by_rms: Scaling = optax.scale_by_rms,
) -> optax.GradientTransformation:
    """The direction of a step, without its learning rate.

    Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019), SGD with momentum as torch.optim.SGD
    (dampening 0), RMSprop as torch.optim.RMSprop (not centred, eps outside the root).
    """
    kind, c = optimization.optimizer, constants(optimization)
    parts = []
    if c["weight_decay"] and kind != "adamw":
        parts.append(optax.add_decayed_weights(c["weight_decay"]))
    if kind in ("adam", "adamw"):
        b1, b2 = c["betas"]
        parts.append(scale_by_adam(b1, b2, c["eps"], adam_direction or direction))
    if kind == "adamw":
        parts.append(optax.add_decayed_weights(c["weight_decay"]))
    if kind == "rmsprop":
        parts.append(scale_by_rms(c["alpha"], c["eps"], initial_scale=0.0, eps_in_sqrt=False))
    if c.get("momentum"):
        parts.append(optax.trace(c["momentum"], nesterov=c.get("nesterov", False)))
    return optax.chain(*parts) if parts else optax.identity()


def direction(m: jax.Array, v: jax.Array, c1: jax.Array, c2: jax.Array, eps: float) -> jax.Array:
    """PyTorch's: (m / c₁) / (√v / √c₂ + ε)"""
    return m / c1 / (jnp.sqrt(v) / jnp.sqrt(c2) + eps)


def scale_by_adam(
    b1: float, b2: float, eps: float, direction: Direction
) -> optax.GradientTransformation:
    """optax's moments of Adam, with a bias correction that float32 can hold.

    optax computes 1 - β₂ᵗ as it stands: in float32 up to 3e-5 of it is rounding when t is small,
    which PyTorch, computing it in float64, does not have.
    """
    moments = optax.scale_by_adam(b1, b2)

    def correction(decay: float, count: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
        if not decay:
            return jnp.ones((), dtype)
        return -jnp.expm1(count.astype(dtype) * math.log(decay))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        moved: Any = moments.update(updates, state, params)[1]

        def step(m: jax.Array, v: jax.Array) -> jax.Array:
            c1, c2 = (correction(decay, moved.count, m.dtype) for decay in (b1, b2))
            return direction(m, v, c1, c2, eps)

        return jax.tree.map(step, moved.mu, moved.nu), moved

    return optax.GradientTransformation(moments.init, update)


def clip(gradients: Params, max_norm: float) -> Params:
    """Scales gradients down to a global norm as torch.nn.utils.clip_grad_norm_ does: by
    max_norm / (norm + 1e-6), at most 1 (optax's clip_by_global_norm has no 1e-6)."""
    scale = jnp.minimum(max_norm / (optax.tree.norm(gradients) + 1e-6), 1.0)
    return jax.tree.map(lambda gradient: gradient * scale, gradients)


def moments(optimization: OptimizationConfig, state: optax.OptState) -> dict[str, Params]:
    """torch's name of each moment → its tensors by parameter; empty for plain SGD."""
    return {name: optax.tree.get(state, FIELDS[name]) for name in moment_names(optimization)}


def of_kind(kind: str, moments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the moments of one kind by parameter: "exp_avg.head.bias" → "head.bias"."""
    return {
        name.removeprefix(f"{kind}."): array
        for name, array in moments.items()
        if name.startswith(f"{kind}.")
    }


def with_moments(
    optimization: OptimizationConfig,
    state: optax.OptState,
    tensors: Mapping[str, Mapping],
    count: int,
) -> optax.OptState:
    """The optimizer state with the given moments after `count` steps."""
    fields: dict[str, Any] = {FIELDS[name]: values for name, values in tensors.items()}
    if optimization.optimizer in ("adam", "adamw"):
        fields["count"] = jnp.asarray(count, jnp.int32)
    return optax.tree.set(state, **fields)
