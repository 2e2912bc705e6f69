"""What optimizers of `torch.optim` make of a gradient, as parts of those in `rnn_jax/optim.py`.

Each part is an `optax.GradientTransformation` without a learning rate. Its state has optax's names
of fields; `rnn_jax/optimizer_states.py` has torch's.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rnn_jax.optimizer_states import (
    AdagradState,
    AdamState,
    AmsgradState,
    CenteredRMSpropState,
    MomentumState,
    NadamState,
    RMSpropState,
)
from rnn_jax.optimizers import direction
from rnn_jax.scalars import check_number, one_minus_power, scalar
from shared.errors import InvalidInput

Number = float | jax.Array
Rate = Number | optax.Schedule


def optimizer(
    learning_rate: Rate,
    parts: Sequence[optax.GradientTransformation],
    *,
    weight_decay: Number,
    decoupled: bool = False,
    maximize: bool,
) -> optax.GradientTransformation:
    """Makes an optimizer of what turns a gradient into the direction of a step.

    bfloat16 and float16 are computed in float32; state and updates get their dtypes back. The decay
    of a weight is added to its gradient, or to the direction where it is decoupled.

    Raises:
        InvalidInput: a rate or a weight decay out of its range; then, parameters that are not real,
            and an update without parameters where weights decay.
    """
    if not callable(learning_rate):
        check_number("learning_rate", learning_rate)
    check_number("weight_decay", weight_decay)
    decay = [optax.add_decayed_weights(weight_decay)] if used(weight_decay) else []
    chain = optax.chain(
        *([optax.scale(-1.0)] if maximize else []),
        *([] if decoupled else decay),
        *parts,
        *(decay if decoupled else []),
        _scale_by_rate(learning_rate),
    )

    def init(params: Any) -> Any:
        for path, leaf in jax.tree.leaves_with_path(params):
            if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
                raise InvalidInput(
                    f"parameters{jax.tree_util.keystr(path)}: expected real numbers, got "
                    f"{jnp.result_type(leaf)}; optax.masked leaves parameters out"
                )
        return chain.init(params)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        if decay and params is None:
            raise InvalidInput("weight_decay: expected update(gradients, state, params), got none")
        found, moved = chain.update(wide(updates), wide(state), wide(params))
        return narrowed(found, updates), narrowed(moved, state)

    return optax.GradientTransformation(init, update)


def used(constant: Number) -> bool:
    """Tells whether a constant is not 0. An array of JAX counts as such, whatever its value, which
    may not be known."""
    return isinstance(constant, jax.Array) or bool(constant != 0)


def wide(tree: Any) -> Any:
    """Returns a pytree with bfloat16 and float16 as float32."""

    def widened(x: Any) -> jax.Array:
        array = jnp.asarray(x)
        short = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < 4
        return array.astype(jnp.float32) if short else array

    return jax.tree.map(widened, tree)


def narrowed(tree: Any, like: Any) -> Any:
    """Returns a pytree with the dtypes of another one."""
    return jax.tree.map(lambda x, other: x.astype(jnp.result_type(other)), tree, like)


def scale_by_adam(b1: float, b2: float, eps: Any, amsgrad: bool) -> Any:
    """m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,  (m / c₁) / (√v / √c₂ + ε) with cᵢ = 1 - βᵢᵗ.
    With amsgrad the largest v so far stands under the root."""

    def init(params: Any) -> AdamState | AmsgradState:
        state = AdamState(_no_steps(), _zeros(params), _zeros(params))
        return AmsgradState(*state, _zeros(params)) if amsgrad else state

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        state = _moments(updates, state, b1, b2)
        seconds = state.nu
        if amsgrad:
            seconds = jax.tree.map(jnp.maximum, state.nu_max, seconds)
            state = state._replace(nu_max=seconds)
        c1, c2 = one_minus_power(b1, state.count), one_minus_power(b2, state.count)

        def step(m: jax.Array, v: jax.Array) -> jax.Array:
            return direction(m, v, c1.astype(m.dtype), c2.astype(m.dtype), eps)

        return jax.tree.map(step, state.mu, seconds), state

    return optax.GradientTransformation(init, update)


def scale_by_nadam(b1: float, b2: float, eps: Number, momentum_decay: Number) -> Any:
    """Adam's m and v; μₜ = β₁ (1 - 0.96^(t ψ) / 2) with ψ = momentum_decay;
    ((1 - μₜ) / (1 - Πμ) g + μₜ₊₁ / (1 - Πμ μₜ₊₁) m) / (√(v / c₂) + ε)"""

    def momentum(count: jax.Array) -> jax.Array:
        return b1 * (1.0 - 0.5 * jnp.exp(scalar(count) * momentum_decay * math.log(0.96)))

    def init(params: Any) -> NadamState:
        return NadamState(_no_steps(), _zeros(params), _zeros(params), scalar(1.0))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        state = _moments(updates, state, b1, b2)
        now, following = momentum(state.count), momentum(state.count + 1)
        product = state.mu_product * now
        of_g, of_m = (1.0 - now) / (1.0 - product), following / (1.0 - product * following)
        c2 = one_minus_power(b2, state.count)

        def step(g: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            root = jnp.sqrt(v / c2.astype(v.dtype)) + eps
            return of_g.astype(g.dtype) * g / root + of_m.astype(g.dtype) * m / root

        found = jax.tree.map(step, updates, state.mu, state.nu)
        return found, state._replace(mu_product=product)

    return optax.GradientTransformation(init, update)


def scale_by_adagrad(lr_decay: Number, initial: Number, eps: Number) -> Any:
    """s ← s + g²,  g / (√s + ε) / (1 + (t - 1) lr_decay), from s = initial"""

    def init(params: Any) -> AdagradState:
        return AdagradState(_no_steps(), jax.tree.map(lambda p: jnp.full_like(p, initial), params))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        share = 1.0 / (1.0 + scalar(state.count) * lr_decay)
        sums = jax.tree.map(lambda s, g: s + g * g, state.sum_of_squares, updates)

        def step(g: jax.Array, s: jax.Array) -> jax.Array:
            return share.astype(g.dtype) * g / (jnp.sqrt(s) + eps)

        state = AdagradState(optax.safe_increment(state.count), sums)
        return jax.tree.map(step, updates, sums), state

    return optax.GradientTransformation(init, update)


def scale_by_rms(alpha: Number, eps: Number, centered: bool) -> Any:
    """v ← α v + (1 - α) g²,  g / (√v + ε). Centered: m ← α m + (1 - α) g and v - m² for v."""

    def init(params: Any) -> RMSpropState | CenteredRMSpropState:
        if centered:
            return CenteredRMSpropState(_zeros(params), _zeros(params))
        return RMSpropState(_zeros(params))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        state = state._replace(nu=_average_of_squares(updates, state.nu, alpha))
        variances = state.nu
        if centered:
            state = state._replace(mu=_average(updates, state.mu, alpha))
            variances = jax.tree.map(lambda v, m: v - m * m, state.nu, state.mu)
        step = jax.tree.map(lambda g, v: g / (jnp.sqrt(v) + eps), updates, variances)
        return step, state

    return optax.GradientTransformation(init, update)


def momentum_of(momentum: Number, dampening: Number, nesterov: bool) -> Any:
    """b ← g at first, then μ b + (1 - dampening) g;  b, or g + μ b with nesterov"""

    def init(params: Any) -> MomentumState:
        return MomentumState(_no_steps(), _zeros(params))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        def moved(g: jax.Array, b: jax.Array) -> jax.Array:
            later = momentum * b + (1.0 - dampening) * g
            return jnp.where(state.count == 0, g, later) if used(dampening) else later

        trace = jax.tree.map(moved, updates, state.trace)
        found = trace
        if nesterov:
            found = jax.tree.map(lambda g, b: g + momentum * b, updates, trace)
        return found, MomentumState(optax.safe_increment(state.count), trace)

    return optax.GradientTransformation(init, update)


def _scale_by_rate(learning_rate: Rate) -> Any:
    def init(params: Any) -> Any:
        if callable(learning_rate):
            return optax.ScaleByScheduleState(_no_steps())
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        rate = learning_rate
        if callable(rate):
            rate = rate(state.count)
            state = optax.ScaleByScheduleState(optax.safe_increment(state.count))
        rate = scalar(rate)
        return jax.tree.map(lambda u: -rate.astype(u.dtype) * u, updates), state

    return optax.GradientTransformation(init, update)


def _moments(updates: Any, state: Any, b1: float, b2: float) -> Any:
    """Returns Adam's moments, and the count, of one more step."""
    return state._replace(
        count=optax.safe_increment(state.count),
        mu=_average(updates, state.mu, b1),
        nu=_average_of_squares(updates, state.nu, b2),
    )


def _average(updates: Any, averages: Any, decay: Number) -> Any:
    """As torch's lerp, which computes the smaller change."""
    weight = 1.0 - decay
    small = isinstance(weight, jax.Array) or weight < 0.5

    def moved(g: jax.Array, m: jax.Array) -> jax.Array:
        return m + weight * (g - m) if small else g - (g - m) * decay

    return jax.tree.map(moved, updates, averages)


def _average_of_squares(updates: Any, averages: Any, decay: Number) -> Any:
    return jax.tree.map(lambda g, v: decay * v + (1.0 - decay) * g * g, updates, averages)


def _no_steps() -> jax.Array:
    return jnp.zeros((), jnp.int32)


def _zeros(params: Any) -> Any:
    return optax.tree.zeros_like(params)
