"""Optimizers and clipping for optax with the arguments, defaults and formulas of `torch.optim`.

Names, defaults and formulas are those of the documentation of PyTorch 2.13,
https://pytorch.org/docs/2.13/optim.html. Each optimizer is one `optax.GradientTransformation`, its
learning rate included, which is a number or a function of the number of steps taken: one of
`rnn_jax/schedules.py`, whose names are here as well, or one of optax. State is kept in the dtype of
its parameter, as in torch. bfloat16 and float16 are computed in float32, as torch computes them.

Scalars, such as a rate or 1 - βᵗ, are float64 where jax_enable_x64 is on, and float32 without it.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rnn_jax.cycles import (
    cosine_annealing_lr,
    cosine_annealing_warm_restarts,
    cyclic_lr,
    one_cycle_lr,
)
from rnn_jax.directions import (
    Number,
    Rate,
    momentum_of,
    narrowed,
    optimizer,
    scale_by_adagrad,
    scale_by_adam,
    scale_by_nadam,
    scale_by_rms,
    used,
    wide,
)
from rnn_jax.optimizer_states import MOMENT_NAMES
from rnn_jax.plateau import reduce_on_plateau
from rnn_jax.scalars import check_number
from rnn_jax.schedules import (
    Schedule,
    chained,
    constant_lr,
    exponential_lr,
    lambda_lr,
    linear_lr,
    multi_step_lr,
    multiplicative_lr,
    per_epoch,
    polynomial_lr,
    sequential_lr,
    step_lr,
)
from shared.errors import InvalidInput

__all__ = [
    "MOMENT_NAMES", "Schedule", "adagrad", "adam", "adamw", "amsgrad", "chained", "clip_grad_norm",
    "clip_grad_value", "constant_lr", "cosine_annealing_lr", "cosine_annealing_warm_restarts",
    "cyclic_lr", "exponential_lr", "lambda_lr", "linear_lr", "multi_step_lr", "multiplicative_lr",
    "nadam", "one_cycle_lr", "per_epoch", "polynomial_lr", "reduce_on_plateau", "rmsprop",
    "sequential_lr", "sgd", "step_lr",
]  # fmt: skip


def adam(
    learning_rate: Rate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> optax.GradientTransformation:
    """Makes torch.optim.Adam (Kingma & Ba 2015; amsgrad: Reddi et al. 2018).

    Weight decay is added to the gradient; with decoupled_weight_decay it is that of adamw.

    Raises:
        InvalidInput: a constant out of its range.
    """
    b1, b2 = _betas(betas)
    check_number("eps", eps)
    return optimizer(
        learning_rate,
        [scale_by_adam(b1, b2, eps, amsgrad)],
        weight_decay=weight_decay,
        decoupled=decoupled_weight_decay,
        maximize=maximize,
    )


def adamw(
    learning_rate: Rate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: Number = 1e-8,
    weight_decay: Number = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Makes torch.optim.AdamW (Loshchilov & Hutter 2019): weights decay by rate · weight_decay,
    beside the moments.

    Raises:
        InvalidInput: a constant out of its range.
    """
    return adam(
        learning_rate,
        betas,
        eps,
        weight_decay,
        amsgrad,
        maximize=maximize,
        decoupled_weight_decay=True,
    )


def amsgrad(
    learning_rate: Rate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Makes torch.optim.Adam with amsgrad=True. optax.amsgrad takes the maximum after the bias
    correction, torch before it.

    Raises:
        InvalidInput: a constant out of its range.
    """
    return adam(learning_rate, betas, eps, weight_decay, True, maximize=maximize)


def nadam(
    learning_rate: Rate = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    momentum_decay: Number = 4e-3,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Makes torch.optim.NAdam (Dozat 2016), whose momentum grows with the number of steps.

    Raises:
        InvalidInput: a constant out of its range.
    """
    b1, b2 = _betas(betas)
    check_number("eps", eps)
    check_number("momentum_decay", momentum_decay)
    return optimizer(
        learning_rate,
        [scale_by_nadam(b1, b2, eps, momentum_decay)],
        weight_decay=weight_decay,
        decoupled=decoupled_weight_decay,
        maximize=maximize,
    )


def adagrad(
    learning_rate: Rate = 1e-2,
    lr_decay: Number = 0.0,
    weight_decay: Number = 0.0,
    initial_accumulator_value: Number = 0.0,
    eps: Number = 1e-10,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Makes torch.optim.Adagrad (Duchi et al. 2011).

    Raises:
        InvalidInput: a constant out of its range.
    """
    check_number("lr_decay", lr_decay)
    check_number("initial_accumulator_value", initial_accumulator_value)
    check_number("eps", eps)
    part = scale_by_adagrad(lr_decay, initial_accumulator_value, eps)
    return optimizer(learning_rate, [part], weight_decay=weight_decay, maximize=maximize)


def sgd(
    learning_rate: Rate = 1e-3,
    momentum: Number = 0.0,
    dampening: Number = 0.0,
    weight_decay: Number = 0.0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Makes torch.optim.SGD. The first gradient enters the momentum undampened.

    Raises:
        InvalidInput: a constant out of its range; nesterov without momentum or with dampening.
    """
    check_number("momentum", momentum)
    check_number("dampening", dampening, low=-math.inf)
    if nesterov and (not used(momentum) or used(dampening)):
        raise InvalidInput(
            "nesterov: expected a momentum above 0 and no dampening, got "
            f"momentum={momentum}, dampening={dampening}"
        )
    parts = [momentum_of(momentum, dampening, nesterov)] if used(momentum) else []
    return optimizer(learning_rate, parts, weight_decay=weight_decay, maximize=maximize)


def rmsprop(
    learning_rate: Rate = 1e-2,
    alpha: Number = 0.99,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    momentum: Number = 0.0,
    centered: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Makes torch.optim.RMSprop (Hinton 2012; centered: Graves 2013), eps outside of the root.

    Raises:
        InvalidInput: a constant out of its range.
    """
    for name, value in {"alpha": alpha, "eps": eps, "momentum": momentum}.items():
        check_number(name, value)
    parts = [scale_by_rms(alpha, eps, centered)]
    if used(momentum):
        parts.append(momentum_of(momentum, 0.0, nesterov=False))
    return optimizer(learning_rate, parts, weight_decay=weight_decay, maximize=maximize)


def clip_grad_norm(max_norm: Number, norm_type: float | str = 2.0) -> optax.GradientTransformation:
    """Makes torch.nn.utils.clip_grad_norm_: gradients times max_norm / (norm + 1e-6), at most 1.

    The norm is that of all gradients as one vector. It stands before the optimizer:
    `optax.chain(clip_grad_norm(1.0), adam(1e-3))`. optax.clip_by_global_norm has no 1e-6.

    Args:
        max_norm: the largest norm that is left as it is.
        norm_type: p of the p-norm; inf, or "inf", for the largest absolute value.

    Raises:
        InvalidInput: a negative max_norm, or a norm that is not there.
    """
    check_number("max_norm", max_norm, infinite=True)
    try:
        order = float(norm_type)
    except ValueError:
        order = math.nan
    if math.isnan(order):
        raise InvalidInput(f'norm_type: expected a number or "inf", got {norm_type!r}')

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        gradients = wide(updates)
        leaves = [x for x in jax.tree.leaves(gradients) if x.size]
        if not leaves:
            return updates, state
        norms = jnp.stack([jnp.linalg.norm(x.ravel(), order) for x in leaves])
        scale = jnp.minimum(max_norm / (jnp.linalg.norm(norms, order) + 1e-6), 1.0)
        scaled = jax.tree.map(lambda x: x * scale.astype(x.dtype), gradients)
        return narrowed(scaled, updates), state

    return optax.GradientTransformation(_no_state, update)


def clip_grad_value(clip_value: Number) -> optax.GradientTransformation:
    """Makes torch.nn.utils.clip_grad_value_: each element is cut to ± clip_value.

    Raises:
        InvalidInput: a negative clip_value.
    """
    check_number("clip_value", clip_value, infinite=True)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.tree.map(lambda x: jnp.clip(x, -clip_value, clip_value), updates), state

    return optax.GradientTransformation(_no_state, update)


def _betas(betas: tuple[float, float]) -> tuple[float, float]:
    for i, beta in enumerate(betas):
        check_number(f"betas[{i}]", beta, below=1.0)
    b1, b2 = betas
    return b1, b2


def _no_state(params: Any) -> optax.EmptyState:
    return optax.EmptyState()
