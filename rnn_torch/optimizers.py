"""Optimizers and clipping of torch.optim, every constant explicit.

The learning rate is set before each step from `shared/protocol/schedule.py`.
"""

import torch

from shared.config.choices import constants, moment_names
from shared.config.settings import OptimizationConfig

Params = dict[str, torch.Tensor]


def make(optimization: OptimizationConfig, params: Params) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019), SGD with momentum (dampening 0),
    RMSprop (not centred, eps outside the root)."""
    kind, others = {
        "adam": (torch.optim.Adam, {"amsgrad": False, "fused": True}),
        "adamw": (torch.optim.AdamW, {"amsgrad": False, "fused": True}),
        "sgd": (torch.optim.SGD, {"dampening": 0.0}),
        "rmsprop": (torch.optim.RMSprop, {"centered": False}),
    }[optimization.optimizer]
    values = constants(optimization) | others
    return kind(list(params.values()), lr=optimization.learning_rate, **values)


def clip(params: Params, max_norm: float) -> None:
    """Scales the gradients, in place, by max_norm / (global norm + 1e-6), at most 1."""
    torch.nn.utils.clip_grad_norm_(list(params.values()), max_norm)


def moments(
    optimization: OptimizationConfig, optimizer: torch.optim.Optimizer, params: Params
) -> dict[str, Params]:
    """torch's name of each moment → its tensors by parameter; empty for plain SGD."""
    found: dict[str, Params] = {}
    for moment in moment_names(optimization):
        for name, param in params.items():
            tensor = optimizer.state[param].get(moment)
            if tensor is not None:
                found.setdefault(moment, {})[name] = tensor
    return found


def set_moments(
    optimization: OptimizationConfig,
    optimizer: torch.optim.Optimizer,
    params: Params,
    tensors: dict[str, Params],
    count: int,
) -> None:
    """Gives the optimizer the moments that it has after `count` steps."""
    for name, param in params.items():
        state = {moment: values[name].clone() for moment, values in tensors.items()}
        if optimization.optimizer != "sgd":
            # A fused optimizer counts on the parameter's device, always in float32.
            state["step"] = torch.tensor(float(count), dtype=torch.float32, device=param.device)
        optimizer.state[param] = state
