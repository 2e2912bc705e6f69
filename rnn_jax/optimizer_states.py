"""What the optimizers in `rnn_jax/optim.py` remember, by optax's names and by torch's."""

from typing import Any, NamedTuple


class AdamState(NamedTuple):
    """Of adam and adamw."""

    count: Any
    mu: Any
    nu: Any


class AmsgradState(NamedTuple):
    """Of adam and adamw with amsgrad. Unlike optax's, `nu_max` is the maximum of `nu` as it stands,
    without its bias correction."""

    count: Any
    mu: Any
    nu: Any
    nu_max: Any


class NadamState(NamedTuple):
    """Of nadam."""

    count: Any
    mu: Any
    nu: Any
    mu_product: Any
    """One number for all parameters: the product of the momenta so far."""


class AdagradState(NamedTuple):
    """Of adagrad."""

    count: Any
    sum_of_squares: Any


class RMSpropState(NamedTuple):
    """Of rmsprop."""

    nu: Any


class CenteredRMSpropState(NamedTuple):
    """Of rmsprop with centered."""

    mu: Any
    nu: Any


class MomentumState(NamedTuple):
    """Of sgd and rmsprop with momentum. The learning rate is not in it, as in torch."""

    count: Any
    trace: Any


MOMENT_NAMES: dict[type, dict[str, str]] = {
    AdamState: {"mu": "exp_avg", "nu": "exp_avg_sq"},
    AmsgradState: {"mu": "exp_avg", "nu": "exp_avg_sq", "nu_max": "max_exp_avg_sq"},
    NadamState: {"mu": "exp_avg", "nu": "exp_avg_sq", "mu_product": "mu_product"},
    AdagradState: {"sum_of_squares": "sum"},
    RMSpropState: {"nu": "square_avg"},
    CenteredRMSpropState: {"mu": "grad_avg", "nu": "square_avg"},
    MomentumState: {"trace": "momentum_buffer"},
}
"""Kind of state → its field → torch's name of it in `optimizer.state[parameter]`."""
