"""A PyTorch module as one program of a pair (see `shared/parity/pair.py`)."""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn

from rnn_torch.precision import narrowings, subnormals_flushed
from shared.errors import InvalidInput
from shared.protocol.program import Example, calling, parts
from shared.protocol.trace import Trace, below, ordered, phase_of
from shared.protocol.weights import Weights

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
        watch: names of submodules whose outputs are compared, too; the outputs of a second call in
            a step are called name#2, and so on.
        prepare: called with the parameters between gradients and step, for clipping.
        name: its name in the report.
        dtype: of parameters, buffers and real inputs: float64 or float32.

    Raises:
        InvalidInput: a module that draws dropout masks, has complex parameters or parameters
            without values, or cannot be copied; a name that is no submodule; an optimizer of other
            parameters or one that takes its steps by itself; another dtype.
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
            raise InvalidInput(f"dtype: expected torch.float64 or torch.float32, got {dtype}")
        if not isinstance(module, nn.Module):
            raise InvalidInput(f"module: expected a torch.nn.Module, got {type(module).__name__}")
        _check_without_dropout(module)
        for param, tensor in module.named_parameters():
            if nn.parameter.is_lazy(tensor) or tensor.is_meta:
                raise InvalidInput(f"module: expected parameters with values, got none in {param}")
            if tensor.is_complex():
                raise InvalidInput(
                    f"module: expected real parameters, got {tensor.dtype} in {param}"
                )
        self.name = name
        self._loss, self._make, self._prepare, self._dtype = loss, optimizer, prepare, dtype
        with calling("module", "one that can be copied"):
            self._original = copy.deepcopy(module).to(dtype)
        self._watch = tuple(watch)
        for watched in watch:
            if watched not in dict(self._original.named_modules()):
                raise InvalidInput(f"watch: expected names of submodules, got {watched}")
        self._watched: dict[str, Tensor] = {}
        self._calls: Counter[str] = Counter()
        self._renew()

    def begin(self, weights: Weights) -> None:
        self._renew()
        self.load(weights)

    def _renew(self) -> None:
        """Takes a fresh copy, for buffers and whatever else a module may keep of its steps."""
        self._module = copy.deepcopy(self._original)
        submodules = dict(self._module.named_modules())
        for watched in self._watch:
            submodules[watched].register_forward_hook(self._hook(watched))
        self._params = dict(self._module.named_parameters())
        self._optimizer = self._fresh_optimizer()

    def load(self, weights: Weights) -> None:
        with torch.no_grad():
            for name, param in self._params.items():
                param.copy_(torch.tensor(weights[name]))

    def weights(self) -> Weights:
        return {name: _array(param) for name, param in self._params.items()}

    def step(self, example: Example) -> Trace:
        with subnormals_flushed(), torch.enable_grad():
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
        outputs = self._outputs(inputs)
        for watched in self._watch:
            if not self._calls[watched]:
                raise InvalidInput(f"watch: expected {watched} to be called in a step, it was not")
        seen |= below("layers", self._watched) | below("logits", _parts("outputs", outputs))
        loss = self._loss_of(outputs, targets)
        if loss.requires_grad:  # else no parameter plays a part in it
            with calling(f"{self.name}: loss", "one with gradients"):
                loss.backward()
        seen["loss/loss"] = loss
        gradients = {
            name: torch.zeros_like(p) if p.grad is None else p.grad.to_dense().clone()
            for name, p in self._params.items()
        }
        seen |= below("gradients", gradients)
        seen["norm/norm"] = torch.nn.utils.get_total_norm(gradients.values())
        if self._optimizer is not None:
            self._update(self._optimizer)
            for name, param in self._params.items():
                for kind, moment in self._optimizer.state[param].items():
                    if torch.is_tensor(moment) and moment.shape == param.shape and param.dim():
                        seen[f"moments/{kind}.{name}"] = moment
            seen |= below("weights", self._params)
        layers = iter(below("layers", self._watched))  # in the order in which they ran
        names = [next(layers) if phase_of(n) == "layers" else n for n in ordered(seen)]
        return {name: _array(seen[name]) for name in names}

    def hints(self, example: Example) -> list[str]:
        """Tells of buffers, which are not compared, of random numbers, and where float64 becomes
        less."""
        before = dict(self._original.named_buffers())
        changed = [
            name
            for name, buffer in self._module.named_buffers()
            if name not in before or not np.array_equal(_array(buffer), _array(before[name]))
        ]
        found = [f"{self.name}: state is not compared: {', '.join(changed)}"] if changed else []
        random = torch.get_rng_state()
        with narrowings() as places:
            outputs = self._outputs([self._tensor(array) for array in example.inputs])
            self._loss_of(outputs, self._tensor(example.targets))
        if not torch.equal(random, torch.get_rng_state()):
            found.append(f"{self.name}: the model draws random numbers")
        return found + list(dict.fromkeys(places))

    # The user's own code ------------------------------------------------------------------------

    def _outputs(self, inputs: list[Tensor]) -> Any:
        with calling(f"{self.name}: model"):
            return self._module(*inputs)

    def _loss_of(self, outputs: Any, targets: Tensor) -> Tensor:
        with calling(f"{self.name}: loss"):
            loss = self._loss(outputs, targets)
        got = type(loss).__name__
        if torch.is_tensor(loss):
            if not loss.dim() and loss.is_floating_point():
                return loss
            got = f"{str(loss.dtype).removeprefix('torch.')} of shape {tuple(loss.shape)}"
        raise InvalidInput(f"{self.name}: loss: expected one real number as a tensor, got {got}")

    def _update(self, optimizer: torch.optim.Optimizer) -> None:
        if self._prepare is not None:
            with calling(f"{self.name}: prepare"):
                self._prepare(list(self._params.values()))
        with calling(f"{self.name}: optimizer"):
            optimizer.step()

    def _fresh_optimizer(self) -> torch.optim.Optimizer | None:
        if self._make is None:
            return None
        if not callable(self._make):
            raise InvalidInput(
                f"optimizer: expected a function of the parameters, got {type(self._make).__name__}"
            )
        with calling(f"{self.name}: optimizer"):
            optimizer = self._make(self._params.values())
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise InvalidInput(
                f"optimizer: expected a torch.optim.Optimizer, got {type(optimizer).__name__}"
            )
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
            tensors = _parts(name + again, output)
            if not tensors:
                raise InvalidInput(f"watch: expected tensors of {name or 'the module'}, got none")
            self._watched |= tensors

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
    return {n: tensor.detach().clone() for n, tensor in parts(name, value, Tensor).items()}


def _array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # which NumPy does not know by itself
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16).copy()
    return tensor.numpy().copy()
