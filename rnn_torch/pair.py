"""A PyTorch module as one program of a pair (see `shared/pair.py`)."""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnn_torch.precision import Narrowings, subnormals_flushed
from shared.errors import InvalidInput
from shared.pair import Example
from shared.trace import Trace, below, ordered
from shared.weights import Weights

PRECISIONS = (torch.float64, torch.float32)
DROPOUT = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip


class TorchProgram:
    """A module with its loss and optimizer. The module itself stays as it is: a copy is trained.
    Subnormal numbers count as zero in a step, as in JAX on CPUs.

    Args:
        module: called with the inputs. Dropout must be off, by `eval()` or a rate of zero: no two
            frameworks draw the same.
        loss: (outputs, targets) → scalar.
        optimizer: parameters → optimizer; None compares up to the gradients.
        watch: names of submodules whose outputs are compared, too; those of a second call in a step
            are called name#2, and so on.
        prepare: called with the parameters between gradients and step, for clipping.
        name: what the report calls it.
        dtype: of parameters, buffers and real inputs: float64 or float32.

    Raises:
        InvalidInput: a module that draws dropout masks, a name that is no submodule, an optimizer
            of other parameters or that takes its steps by itself, another dtype.
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
        if dtype not in PRECISIONS:
            raise InvalidInput(f"dtype: expected float64 or float32, got {dtype}")
        _check_without_dropout(module)
        self.name = name
        self._module = copy.deepcopy(module).to(dtype)
        self._loss, self._make, self._prepare, self._dtype = loss, optimizer, prepare, dtype
        self._params = dict(self._module.named_parameters())
        self._buffers = {name: b.clone() for name, b in self._module.named_buffers()}
        self._watch, self._watched = tuple(watch), {}
        self._calls: Counter[str] = Counter()
        submodules = dict(self._module.named_modules())
        for watched in watch:
            if watched not in submodules:
                raise InvalidInput(f"watch: expected names of submodules, got {watched}")
            submodules[watched].register_forward_hook(self._hook(watched))
        self._optimizer = self._fresh_optimizer()

    def begin(self, weights: Weights) -> None:
        self.load(weights)
        with torch.no_grad():
            for name, buffer in self._module.named_buffers():
                buffer.copy_(self._buffers[name])
        self._optimizer = self._fresh_optimizer()

    def load(self, weights: Weights) -> None:
        with torch.no_grad():
            for name, param in self._params.items():
                param.copy_(torch.tensor(weights[name]))

    def weights(self) -> Weights:
        return {name: _array(param) for name, param in self._params.items()}

    def step(self, example: Example) -> Trace:
        with subnormals_flushed():
            return self._step(example)

    def _step(self, example: Example) -> Trace:
        inputs, targets = [self._tensor(x) for x in example.inputs], self._tensor(example.targets)
        # Copies: the module, the loss or a layer after a watched one may change what it gets.
        seen: dict[str, Tensor] = below("inputs", {str(i): x.clone() for i, x in enumerate(inputs)})
        seen["inputs/targets"] = targets.clone()
        seen |= below("before", {name: p.clone() for name, p in self._params.items()})
        self._watched.clear()
        self._calls.clear()
        self._module.zero_grad()
        outputs = self._module(*inputs)
        for watched in self._watch:
            if not self._calls[watched]:
                raise InvalidInput(f"watch: expected {watched} to be called in a step, it was not")
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
        """Buffers, which are not compared, and where float64 becomes float32."""
        changed = [
            name
            for name, buffer in self._module.named_buffers()
            if not torch.equal(buffer, self._buffers[name])
        ]
        found = [f"{self.name}: state is not compared: {', '.join(changed)}"] if changed else []
        if self._dtype == torch.float64:
            with Narrowings() as narrowings:
                self._loss(
                    self._module(*map(self._tensor, example.inputs)), self._tensor(example.targets)
                )
            places = dict.fromkeys(narrowings.places)
            found += [f"float32 inside float64: {place}" for place in places]
        return found

    def _fresh_optimizer(self) -> torch.optim.Optimizer | None:
        if self._make is None:
            return None
        optimizer = self._make(self._params.values())
        if isinstance(optimizer, torch.optim.LBFGS):
            raise InvalidInput(
                "optimizer: expected one that needs the gradients alone, got LBFGS, which calls "
                "the model by itself"
            )
        own = set(map(id, self._params.values()))
        held = [p for group in optimizer.param_groups for p in group["params"]]
        if not own.issuperset(map(id, held)):
            raise InvalidInput(
                "optimizer: expected one of the parameters it is called with, which are a copy's, "
                "got one that holds others"
            )
        return optimizer

    def _hook(self, name: str) -> Callable[..., None]:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            self._calls[name] += 1
            again = f"#{self._calls[name]}" if self._calls[name] > 1 else ""
            self._watched |= _parts(name + again, output)

        return keep

    def _tensor(self, array: np.ndarray) -> Tensor:
        tensor = torch.tensor(array)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor


def _check_without_dropout(module: nn.Module) -> None:
    for name, part in module.named_modules():
        rate = 0.0
        if isinstance(part, DROPOUT):
            rate = part.p
        elif isinstance(part, (nn.RNNBase, nn.MultiheadAttention)):
            rate = part.dropout if getattr(part, "num_layers", 2) > 1 else 0.0
        if part.training and rate > 0:
            raise InvalidInput(
                f"module: expected dropout to be off (eval() or a rate of 0), since no two "
                f"frameworks draw the same, got a rate of {rate} in {name or 'it'}"
            )


def _parts(name: str, value: Any) -> dict[str, Tensor]:
    """The tensors of an output by name: "lstm" if it is one, else "lstm.0", "lstm.1.0", … or by
    the names of its fields."""
    if value is None:
        return {}
    if torch.is_tensor(value):
        return {name: value.detach().clone()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        values = zip(value._fields, value, strict=True)  # pyright: ignore[reportAttributeAccessIssue]
    elif isinstance(value, dict):
        values = value.items()
    elif isinstance(value, (tuple, list)):
        values = enumerate(value)
    else:
        raise InvalidInput(f"{name}: expected tensors, got {type(value).__name__}")
    return {k: t for key, part in values for k, t in _parts(f"{name}.{key}", part).items()}


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()
