"""Recurrent layers and cells of torch under what makes their weights anew before each call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune


class Scaled(nn.Module):
    """A parametrization of a user, with parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.25, dtype=torch.float64))

    def forward(self, weight: Tensor) -> Tensor:
        return F.dropout(weight, 0.5, self.training) * self.scale


class WeightDrop(nn.Module):
    """Keeps the trained matrices in the layer, and assigns tensors (as AWD-LSTM does)."""

    def __init__(self, module: nn.Module, *names: str, dropout: float = 0.5):
        super().__init__()
        self.module, self.names, self.dropout = module, names, dropout
        for name in names:
            raw = module._parameters.pop(name)
            assert raw is not None
            module.register_parameter(f"{name}_raw", nn.Parameter(raw.data))
        vars(module)["flatten_parameters"] = self.nothing

    def nothing(self) -> None:
        """A bound method, as the original assigns."""

    def forward(self, *arguments: Any) -> Any:
        for name in self.names:
            raw = self.module.get_parameter(f"{name}_raw")
            setattr(self.module, name, self.dropped(raw))
        return self.module.forward(*arguments)

    def dropped(self, raw: Tensor) -> Tensor:
        return F.dropout(raw, self.dropout, self.training)


class StaleWeightDrop(WeightDrop):
    """Assigns parameters, which remain in the layer."""

    def dropped(self, raw: Tensor) -> Tensor:
        return nn.Parameter(super().dropped(raw))


class WeightDropout(nn.Module):
    """Keeps the trained matrix itself (as fastai does)."""

    def __init__(self, module: nn.Module, name: str, weight_p: float = 0.5):
        super().__init__()
        self.module, self.name, self.weight_p = module, name, weight_p
        weight = module._parameters.pop(name)
        assert weight is not None
        self.register_parameter(f"{name}_raw", nn.Parameter(weight.data))
        setattr(module, name, weight.clone())

    def forward(self, *arguments: Any) -> Any:
        raw = self.get_parameter(f"{self.name}_raw")
        dropped = F.dropout(raw, self.weight_p) if self.training else raw.clone()
        setattr(self.module, self.name, dropped)
        return self.module(*arguments)


class OlderWeightDropout(WeightDropout):
    """Puts a plain tensor among the parameters (as the first fastai did)."""

    def __init__(self, module: nn.Module, name: str, weight_p: float = 0.5):
        super().__init__(module, name, weight_p)
        module.__dict__.pop(name)

    def forward(self, *arguments: Any) -> Any:
        raw = self.get_parameter(f"{self.name}_raw")
        dropped: Any = F.dropout(raw, self.weight_p, self.training)
        self.module._parameters[self.name] = dropped
        return self.module(*arguments)


def pruned(module: Any, name: str) -> Any:
    prune.random_unstructured(module, name, 0.3)
    return prune.l1_unstructured(module, name, 0.2)


def parametrized(module: Any, name: str) -> Any:
    return parametrize.register_parametrization(module, name, Scaled())


def twice_parametrized(module: Any, name: str) -> Any:
    return parametrized(parametrizations.weight_norm(module, name), name)


WRAPPERS: dict[str, Callable[[Any, str], Any]] = {
    "weight norm by hooks": lambda m, name: nn.utils.weight_norm(m, name),
    "weight norm of all, by hooks": lambda m, name: nn.utils.weight_norm(m, name, None),  # pyright: ignore
    "weight norm": parametrizations.weight_norm,
    "spectral norm by hooks": nn.utils.spectral_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "pruning": lambda m, name: prune.random_unstructured(m, name, 0.5),
    "pruning twice": pruned,
    "a user's parametrization": parametrized,
    "two parametrizations": lambda m, name: parametrized(
        parametrizations.weight_norm(m, name), name
    ),
    "drops, tensor within": WeightDrop,
    "drops, parameter within": StaleWeightDrop,
    "drops, tensor from around": WeightDropout,
    "drops, tensor among the parameters": OlderWeightDropout,
}
DROPS = [name for name in WRAPPERS if name.startswith("drops")]


def moved(module: Any, seed: int = 5) -> Any:
    """Changes all parameters, as training or loading does, so that what was computed is old."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.5).add_(
                0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            )
    return module


def state(module: nn.Module) -> dict[str, Any]:
    """All that a conversion must leave as it is: values, modes, hooks, attributes by identity."""
    found: dict[str, Any] = {}
    for path, part in module.named_modules():
        found[f"{path} class"], found[f"{path} mode"] = type(part), part.training
        for key, value in vars(part).items():
            if key not in ("_flat_weights", "_flat_weight_refs"):
                found[f"{path} {key}"] = dict(value) if isinstance(value, dict) else value
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        found[f"{name} values"] = tensor.detach().numpy().tobytes()
        found[f"{name} gradient"] = tensor.requires_grad
    return found


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Raises unless the module and the generators are left as they were."""
    before, drawn = state(module), torch.get_rng_state()
    numpy = str(np.random.get_state())
    yield
    after = state(module)
    assert list(after) == list(before)
    for name, value in before.items():
        same = after[name] is value or _equal(after[name], value)
        assert same, f"{name} has changed"
    assert torch.equal(torch.get_rng_state(), drawn)
    assert str(np.random.get_state()) == numpy


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return list(one) == list(other) and all(one[key] is other[key] for key in one)
    return not torch.is_tensor(one) and one == other
