"""Modules of torch under wrappers that keep a matrix in parts, trained: old copies differ."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from rnn_torch.exchange import to_numpy

Wrap = Callable[[nn.Module, str], nn.Module]


def weight_norm(module: nn.Module, name: str, dim: Any = 0) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the older way, which many files have
        return nn.utils.weight_norm(module, name, dim)


class DropConnect(nn.Module):
    """As in AWD-LSTM: the trained matrix has another name, and forward sets the layer's own.

    Args:
        where: of the trained matrix and the copy: "around" and "copied", "around", "inside".
    """

    def __init__(self, module: nn.Module, name: str, where: str = "copied"):
        super().__init__()
        self.module, self.name, self.where = module, name, where
        raw = getattr(module, name)
        self.owner().register_parameter(f"{name}_raw", nn.Parameter(raw.detach().clone()))
        if where != "copied":
            del module._parameters[name]
        self.assign()

    def owner(self) -> nn.Module:
        return self.module if self.where == "inside" else self

    def assign(self) -> None:
        raw = getattr(self.owner(), f"{self.name}_raw")
        dropped = nn.functional.dropout(raw, 0.5, self.training)
        if self.where == "copied":
            self.module._parameters[self.name] = nn.Parameter(dropped.detach())
        else:
            object.__setattr__(self.module, self.name, dropped)

    def forward(self, *inputs: Any) -> Any:
        self.assign()
        return self.module(*inputs)


def drop_connect(where: str) -> Wrap:
    return lambda module, name: DropConnect(module, name, where)


def over_all(module: nn.Module, name: str) -> nn.Module:
    dim: Any = None
    return parametrizations.weight_norm(module, name, dim)


def pruned(module: nn.Module, name: str) -> nn.Module:
    return prune.random_unstructured(module, name, amount=0.4)


WRAPS: dict[str, tuple[str, Wrap]] = {
    "weight norm by hooks": ("weight norm", weight_norm),
    "weight norm over all": ("weight norm", lambda m, n: weight_norm(m, n, None)),
    "weight norm of columns": ("weight norm", lambda m, n: weight_norm(m, n, 1)),
    "weight norm by parametrization": ("weight norm", parametrizations.weight_norm),
    "the same over all": ("weight norm", over_all),
    "spectral norm by hooks": ("spectral norm", nn.utils.spectral_norm),
    "spectral norm by parametrization": ("spectral norm", parametrizations.spectral_norm),
    "pruning": ("pruning", pruned),
}  # fmt: skip
DROPPED: dict[str, Wrap] = {
    "around, beside a copy": drop_connect("copied"),
    "around": drop_connect("around"),
    "inside": drop_connect("inside"),
}


def trained(module: nn.Module, *inputs: torch.Tensor) -> nn.Module:
    """After two steps: what a wrapper computed in the last forward pass is old by now."""
    for _ in range(2):
        output = module(*inputs)
        output = output[0] if isinstance(output, tuple) else output
        module.zero_grad()
        output.square().sum().backward()
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.grad is not None:
                    parameter -= 0.05 * parameter.grad
    return module


def used(module: nn.Module, name: str, *inputs: torch.Tensor) -> np.ndarray:
    """The tensor with which the next forward pass in evaluation computes."""
    module.eval()
    module(*inputs)
    owner = module.module if isinstance(module, DropConnect) else module
    return to_numpy(getattr(owner, name).detach())


def state(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: to_numpy(tensor) for name, tensor in module.state_dict().items()}
