"""The operations of torch that draw, as `rnn_torch/draws.py` has them: the kind and the settings of
each."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnn_torch import private
from shared.protocol.draws import scalar

OWN_PROBABILITIES = ("", "out")
"""Overloads of bernoulli whose first argument has the probabilities."""


def drawn_tensor(name: str, args: tuple, result: Any) -> Tensor:
    """Returns the tensor that has what was drawn."""
    if base_name(name) == "native_dropout":
        return result[1]
    tensors = [one for one in private.tree_leaves((result, args)) if torch.is_tensor(one)]
    return tensors[0]


def base_name(name: str) -> str:
    """Returns "bernoulli" of "aten::bernoulli_.float"."""
    base = name.removeprefix("aten::").partition(".")[0]
    return base.removesuffix("_")


def told(name: str, args: tuple, kwargs: dict) -> tuple[str, dict[str, Any]]:
    """Returns the kind of what an operation draws, and its settings; of one that is not handed over
    its name."""
    base, overload = base_name(name), name.partition(".")[2]

    def at(index: int, key: str, default: Any = None) -> Any:
        return args[index] if len(args) > index else kwargs.get(key, default)

    if base == "bernoulli":
        own = overload in OWN_PROBABILITIES
        return _kind("bernoulli", p=args[0] if own else at(1, "p", 0.5))
    if base == "native_dropout":
        return _kind("bernoulli", p=1 - args[1])
    if base in ("uniform", "rand", "rand_like"):
        given = base == "uniform"
        low, high = (at(1, "from", 0.0), at(2, "to", 1.0)) if given else (0.0, 1.0)
        return _kind("uniform", low=low, high=high)
    if base in ("randn", "randn_like"):
        return _kind("normal", mean=0.0, std=1.0)
    if base in ("normal", "normal_functional"):
        first = 0 if overload.startswith(("Tensor", "float")) else 1
        return _kind("normal", mean=at(first, "mean", 0.0), std=at(first + 1, "std", 1.0))
    if base in ("randint", "randint_like"):
        first = 1 if base == "randint_like" else 0
        low = (0, *args[first:]) if not overload.startswith("low") else args[first:]
        return _kind("integers", low=low[0], high=low[1])
    if base == "random" and overload.startswith(("from", "to")):
        low, high = (0, args[1]) if overload.startswith("to") else args[1:3]
        return (name, {}) if high is None else _kind("integers", low=low, high=high)
    if base == "randperm":
        return _kind("permutation")
    if base == "multinomial" and (at(1, "num_samples") == 1 or at(2, "replacement", False)):
        weights = np.asarray(to_values(args[0]), np.float64)
        probabilities = weights / weights.sum(-1, keepdims=True)
        return "categorical", {"probabilities": probabilities}
    if base == "exponential":
        return _kind("exponential", rate=at(1, "lambd", 1.0))
    return name.removeprefix("aten::"), {}


def _kind(kind: str, **settings: Any) -> tuple[str, dict[str, Any]]:
    found = {n: scalar(to_values(v) if torch.is_tensor(v) else v) for n, v in settings.items()}
    return kind, found


def to_values(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    tensor = tensor.to(torch.float64) if tensor.is_floating_point() else tensor
    return tensor.numpy().copy()
