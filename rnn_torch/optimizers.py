"""Optimizers and clipping of torch.optim, every constant explicit.

The learning rate is set before each step from `shared/schedule.py`.
"""

import torch

from shared.config import OptimizationConfig

Params = dict[str, torch.Tensor]

# The moments that torch.optim keeps for each parameter, by the names in its state.
MOMENTS = {
    "adam": ("exp_avg", "exp_avg_sq"),
    "adamw": ("exp_avg", "exp_avg_sq"),
    "sgd": ("momentum_buffer",),
    "rmsprop": ("square_avg", "momentum_buffer"),
}


def make(o: OptimizationConfig, params: Params) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019), SGD with momentum (dampening 0),
    RMSprop (not centred, eps outside the root)."""
    constants = {"lr": o.learning_rate, "weight_decay": o.weight_decay}
    if o.optimizer in ("adam", "adamw"):
        constants |= {"betas": o.betas, "eps": o.eps, "amsgrad": False}
    if o.optimizer == "sgd":
        constants |= {"momentum": o.momentum, "nesterov": o.nesterov, "dampening": 0.0}
    if o.optimizer == "rmsprop":
        constants |= {"alpha": o.alpha, "eps": o.eps, "momentum": o.momentum, "centered": False}
    kinds = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "sgd": torch.optim.SGD,
        "rmsprop": torch.optim.RMSprop,
    }
    return kinds[o.optimizer](list(params.values()), **constants)


def clip(params: Params, max_norm: float) -> None:
    """Scales the gradients, in place, by max_norm / (global norm + 1e-6), at most 1."""
    torch.nn.utils.clip_grad_norm_(list(params.values()), max_norm)


def moments(
    o: OptimizationConfig, optimizer: torch.optim.Optimizer, params: Params
) -> dict[str, Params]:
    """torch's name of each moment → its tensors by parameter; empty for plain SGD."""
    found: dict[str, Params] = {}
    for moment in MOMENTS[o.optimizer]:
        for name, param in params.items():
            tensor = optimizer.state[param].get(moment)
            if tensor is not None:
                found.setdefault(moment, {})[name] = tensor
    return found


def set_moments(
    o: OptimizationConfig,
    optimizer: torch.optim.Optimizer,
    params: Params,
    tensors: dict[str, Params],
    count: int,
) -> None:
    """Gives the optimizer the moments that it has after `count` steps."""
    for name, param in params.items():
        state = {moment: values[name].clone() for moment, values in tensors.items()}
        if o.optimizer != "sgd":
            state["step"] = torch.tensor(float(count))
        optimizer.state[param] = state
