"""Reads a live optimizer of torch into update rules and learning rates, as plain values."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from shared.protocol.update_rule import UpdateRule


def update_rules(
    optimizer: torch.optim.Optimizer, params: Mapping[str, nn.Parameter]
) -> list[UpdateRule]:
    """Returns the rule of each param group, with the names of its parameters.

    A subclass of an optimizer of torch is read as that one: whether it does the same, its updates
    tell. Any other class is of kind "unknown".

    Args:
        optimizer: holds all or some of the parameters.
        params: by name.
    """
    names = {id(param): name for name, param in params.items()}
    read = next((_READERS[c] for c in type(optimizer).__mro__ if c in _READERS), _unknown)
    source = type(optimizer).__name__
    return [
        UpdateRule(
            source=source, names=tuple(names[id(p)] for p in group["params"] if id(p) in names),
            **read(group),
        )
        for group in optimizer.param_groups
    ]  # fmt: skip


def learning_rates(
    optimizer: torch.optim.Optimizer, params: Mapping[str, nn.Parameter]
) -> dict[str, float]:
    """Returns the learning rate of each parameter that the optimizer holds, as it is now."""
    names = {id(param): name for name, param in params.items()}
    return {
        names[id(param)]: float(group["lr"])
        for group in optimizer.param_groups
        for param in group["params"]
        if id(param) in names
    }


def _common(group: dict[str, Any]) -> dict[str, Any]:
    decoupled = group.get("decoupled_weight_decay", False)
    return {
        "decay": float(group["weight_decay"]),
        "decay_form": "decoupled" if decoupled else "coupled",
        "maximize": bool(group["maximize"]),
    }


def _sgd(group: dict[str, Any]) -> dict[str, Any]:
    return _common(group) | {
        "kind": "sgd",
        "momentum": float(group["momentum"]),
        "dampening": float(group["dampening"]),
        "nesterov": bool(group["nesterov"]),
    }


def _with_betas(kind: str, group: dict[str, Any]) -> dict[str, Any]:
    beta1, beta2 = map(float, group["betas"])
    return _common(group) | {
        "kind": kind, "beta1": beta1, "beta2": beta2, "eps": float(group["eps"])
    }  # fmt: skip


def _adam(group: dict[str, Any]) -> dict[str, Any]:
    return _with_betas("adam", group) | {"amsgrad": bool(group["amsgrad"])}


def _nadam(group: dict[str, Any]) -> dict[str, Any]:
    return _with_betas("nadam", group) | {"momentum_decay": float(group["momentum_decay"])}


def _radam(group: dict[str, Any]) -> dict[str, Any]:
    return _with_betas("radam", group) | {"epsilon": "hat"}


def _adamax(group: dict[str, Any]) -> dict[str, Any]:
    return _with_betas("adamax", group)


def _adadelta(group: dict[str, Any]) -> dict[str, Any]:
    return _common(group) | {
        "kind": "adadelta", "alpha": float(group["rho"]), "eps": float(group["eps"]),
        "epsilon": "inside",
    }  # fmt: skip


def _adagrad(group: dict[str, Any]) -> dict[str, Any]:
    return _common(group) | {
        "kind": "adagrad",
        "eps": float(group["eps"]),
        "rate_decay": float(group["lr_decay"]),
        "initial": float(group["initial_accumulator_value"]),
    }


def _rmsprop(group: dict[str, Any]) -> dict[str, Any]:
    return _common(group) | {
        "kind": "rmsprop",
        "alpha": float(group["alpha"]),
        "eps": float(group["eps"]),
        "momentum": float(group["momentum"]),
        "centered": bool(group["centered"]),
        "correction": "none",
    }


def _unknown(group: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "unknown"}


_READERS: dict[type, Callable[[dict[str, Any]], dict[str, Any]]] = {
    torch.optim.SGD: _sgd,
    torch.optim.Adam: _adam,
    torch.optim.NAdam: _nadam,
    torch.optim.RAdam: _radam,
    torch.optim.Adamax: _adamax,
    torch.optim.Adadelta: _adadelta,
    torch.optim.Adagrad: _adagrad,
    torch.optim.RMSprop: _rmsprop,
}
"""AdamW is a subclass of Adam, with a decoupled decay."""
