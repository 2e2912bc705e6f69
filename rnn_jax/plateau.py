"""A learning rate that falls where the loss no longer does."""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from rnn_jax.scalars import check_choice, check_integer, check_number, scalar
from shared.errors import InvalidInput


class PlateauState(NamedTuple):
    """What ReduceLROnPlateau remembers."""

    count: Any
    """Steps taken."""
    rate: jax.Array
    """Of the next step."""
    best: jax.Array
    bad: jax.Array
    """Values since the best one (num_bad_epochs)."""
    cooldown: jax.Array
    """How many values are still left out (cooldown_counter)."""
    total: jax.Array
    """Sum of the losses since the last look."""


def reduce_on_plateau(
    learning_rate: float,
    mode: Literal["min", "max"] = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: int = 0,
    min_lr: float = 0.0,
    eps: float = 1e-8,
    *,
    every: int = 1,
) -> optax.GradientTransformationExtraArgs:
    """Makes torch.optim.lr_scheduler.ReduceLROnPlateau, to stand after the optimizer:

        optax.chain(sgd(0.1), reduce_on_plateau(0.1))

    `update(gradients, state, params, value=loss)` takes the step with the rate so far, then looks
    at the loss, as torch does; optax.contrib.reduce_on_plateau looks first.

    Args:
        learning_rate: that of the optimizer before it, a number. Updates are multiplied by the
            rate divided by this one.
        every: steps from one look at the loss to the next, such as those of an epoch. The mean of
            their losses counts.

    Raises:
        InvalidInput: a number out of its range; an update without value.
    """
    check_number("learning_rate", learning_rate)
    if not learning_rate:
        raise InvalidInput("learning_rate: expected a number above 0, got 0")
    check_integer("every", every, 1)
    plateau = _Plateau(mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps)
    _check(plateau)

    def init(params: Any) -> PlateauState:
        none = jnp.zeros((), jnp.int32)
        worst = scalar(math.inf if mode == "min" else -math.inf)
        return PlateauState(none, scalar(learning_rate), worst, none, none, scalar(0.0))

    def update(updates: Any, state: Any, params: Any = None, *, value: Any = None, **_: Any) -> Any:
        if value is None:
            raise InvalidInput("reduce_on_plateau: expected update(…, value=loss), got no value")
        share = state.rate / learning_rate
        scaled = jax.tree.map(lambda u: (u * share).astype(u.dtype), updates)
        total = state.total + scalar(value)
        state = state._replace(count=optax.safe_increment(state.count), total=total)
        after = _looked(plateau, state, total / every)
        now = state.count % every == 0
        return scaled, jax.tree.map(lambda a, b: jnp.where(now, a, b), after, state)

    return optax.GradientTransformationExtraArgs(init, update)


class _Plateau(NamedTuple):
    mode: str
    factor: float
    patience: int
    threshold: float
    threshold_mode: str
    cooldown: int
    min_lr: float
    eps: float


def _check(plateau: _Plateau) -> None:
    check_number("factor", plateau.factor, below=1.0)
    check_integer("patience", plateau.patience)
    check_integer("cooldown", plateau.cooldown)
    check_number("threshold", plateau.threshold, low=-math.inf)
    check_number("min_lr", plateau.min_lr)
    check_number("eps", plateau.eps)
    check_choice("mode", plateau.mode, ("min", "max"))
    check_choice("threshold_mode", plateau.threshold_mode, ("rel", "abs"))


def _better(plateau: _Plateau, value: jax.Array, best: jax.Array) -> jax.Array:
    signed = plateau.threshold if plateau.mode == "min" else -plateau.threshold
    relative = plateau.threshold_mode == "rel"
    bound = best * (1.0 - signed) if relative else best - signed
    return value < bound if plateau.mode == "min" else value > bound


def _looked(plateau: _Plateau, state: PlateauState, value: jax.Array) -> PlateauState:
    """Returns the state after one look at a loss."""
    improved, cooling = _better(plateau, value, state.best), state.cooldown > 0
    bad = jnp.where(improved | cooling, 0, state.bad + 1)
    reduced = bad > plateau.patience
    lower = jnp.maximum(state.rate * plateau.factor, plateau.min_lr)
    lower = jnp.where(state.rate - lower > plateau.eps, lower, state.rate)
    return state._replace(
        rate=jnp.where(reduced, lower, state.rate),
        best=jnp.where(improved, value, state.best),
        bad=jnp.where(reduced, 0, bad),
        cooldown=jnp.where(reduced, plateau.cooldown, state.cooldown - cooling),
        total=jnp.zeros_like(state.total),
    )
