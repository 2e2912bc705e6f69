"""Constants of each optimizer and schedule, with the defaults that torch documents."""

from dataclasses import replace
from typing import Any

from shared.config.settings import OptimizationConfig

# What each choice understands, with the default that torch documents. An option outside the chosen
# row makes no sense and is refused instead of being ignored.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adam": {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0},
    "adamw": {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01},
    "sgd": {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    "rmsprop": {"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0},
}


SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {},
    "step": {"step_size": None, "gamma": 0.1},
    "decay": {"decay_after": None, "gamma": 0.5},
    "cosine": {"min_learning_rate": 0.0},
}


def with_choice(optimization: OptimizationConfig, choice: str, chosen: str) -> OptimizationConfig:
    """Returns the settings with another optimizer or schedule and its default constants.

    Args:
        choice: "optimizer" or "schedule".
        chosen: what to choose; nothing happens if it is chosen already.
    """
    if getattr(optimization, choice) == chosen:
        return optimization
    table = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}[choice]
    belonging: dict[str, Any] = {name: None for row in table.values() for name in row}
    return replace(optimization, **{choice: chosen}, **belonging)


def constants(optimization: OptimizationConfig) -> dict[str, Any]:
    """Returns the constants of a resolved configuration's optimizer, by torch's names."""
    return {name: getattr(optimization, name) for name in OPTIMIZERS[optimization.optimizer]}


def moment_names(optimization: OptimizationConfig) -> tuple[str, ...]:
    """Returns the names in torch.optim's state of what an optimizer remembers of each parameter."""
    return {
        "adam": ("exp_avg", "exp_avg_sq"),
        "adamw": ("exp_avg", "exp_avg_sq"),
        "sgd": (),
        "rmsprop": ("square_avg",),
    }[optimization.optimizer] + (("momentum_buffer",) if optimization.momentum else ())
