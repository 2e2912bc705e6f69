"""A PyTorch module as one program of a pair (see `shared/pair.py`)."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shared.errors import InvalidInput
from shared.pair import Example
from shared.trace import Trace, below, ordered
from shared.weights import Weights


class TorchProgram:
    """A module with its loss and optimizer. The module itself stays as it is: a copy is trained.

    Args:
        module: called with the inputs. Dropout must be off, by `eval()` or a rate of zero: no two
            frameworks draw the same.
        loss: (outputs, targets) → scalar.
        optimizer: parameters → optimizer; None compares up to the gradients.
        watch: names of submodules whose outputs are compared, too.
        prepare: called with the parameters between gradients and step, for clipping.
        name: what the report calls it.
        dtype: of parameters and real inputs.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[[Any, Tensor], Tensor],
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None = None,
        *,
        watch: Sequence[str] = (),
        prepare: Callable[[list[nn.Parameter]], Any] | None = None,
        name: str = "torch",
        dtype: torch.dtype = torch.float64,
    ):
        self.name = name
        self._module = copy.deepcopy(module).to(dtype)
        self._loss, self._make, self._prepare, self._dtype = loss, optimizer, prepare, dtype
        self._params = dict(self._module.named_parameters())
        self._watched: dict[str, Tensor] = {}
        submodules = dict(self._module.named_modules())
        for watched in watch:
            if watched not in submodules:
                raise InvalidInput(f"watch: expected names of submodules, got {watched}")
            submodules[watched].register_forward_hook(self._hook(watched))
        self._optimizer = optimizer(self._params.values()) if optimizer else None

    def begin(self, weights: Weights) -> None:
        self.load(weights)
        self._optimizer = self._make(self._params.values()) if self._make else None

    def load(self, weights: Weights) -> None:
        with torch.no_grad():
            for name, param in self._params.items():
                param.copy_(torch.tensor(weights[name]))

    def weights(self) -> Weights:
        return {name: _array(param) for name, param in self._params.items()}

    def step(self, example: Example) -> Trace:
        inputs, targets = [self._tensor(x) for x in example.inputs], self._tensor(example.targets)
        # Copies: the module, the loss or a layer after a watched one may change what it gets.
        seen: dict[str, Tensor] = below("inputs", {str(i): x.clone() for i, x in enumerate(inputs)})
        seen["inputs/targets"] = targets.clone()
        seen |= below("before", {name: p.clone() for name, p in self._params.items()})
        self._watched.clear()
        self._module.zero_grad()
        outputs = self._module(*inputs)
        seen |= below("layers", self._watched) | below("logits", _parts("outputs", outputs))
        loss = self._loss(outputs, targets)
        if loss.dim():
            raise InvalidInput(f"loss: expected one number, got shape {tuple(loss.shape)}")
        loss.backward()
        seen["loss/loss"] = loss
        gradients = {
            name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
            for name, p in self._params.items()
        }
        seen |= below("gradients", gradients)
        seen["norm/norm"] = torch.nn.utils.get_total_norm(gradients.values())
        if self._optimizer is not None:
            if self._prepare is not None:
                self._prepare(list(self._params.values()))
            self._optimizer.step()
            for name, param in self._params.items():
                for kind, moment in self._optimizer.state[param].items():
                    if torch.is_tensor(moment) and moment.shape == param.shape and param.dim():
                        seen[f"moments/{kind}.{name}"] = moment
            seen |= below("weights", self._params)
        return {name: _array(seen[name]) for name in ordered(seen)}

    def hints(self, example: Example) -> list[str]:
        return []

    def _hook(self, name: str) -> Callable[..., None]:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            self._watched |= _parts(name, output)

        return keep

    def _tensor(self, array: np.ndarray) -> Tensor:
        tensor = torch.tensor(array)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor


def _parts(name: str, value: Any) -> dict[str, Tensor]:
    """The tensors of an output by name: "lstm" if it is one, else "lstm.0", "lstm.1.0", …"""
    if value is None:
        return {}
    if torch.is_tensor(value):
        return {name: value.detach().clone()}
    values = value.items() if isinstance(value, dict) else enumerate(value)
    return {k: t for key, part in values for k, t in _parts(f"{name}.{key}", part).items()}


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()
