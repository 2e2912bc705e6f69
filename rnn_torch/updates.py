"""What a training loop does between gradients and new weights: accumulate, clip, step, schedule."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from shared.errors import InvalidInput
from shared.protocol.gaps import Gap
from shared.protocol.program import calling


class Recipe(NamedTuple):
    """How a program updates its parameters; arguments as for `TorchProgram`."""

    optimizer: Callable[..., torch.optim.Optimizer] | None
    scheduler: Callable[[torch.optim.Optimizer], Any] | None
    every: int
    accumulate: int
    prepare: Callable[[list[nn.Parameter]], Any] | None

    def check(self) -> None:
        """Raises InvalidInput where an argument makes no sense."""
        for what, number in (("every", self.every), ("accumulate", self.accumulate)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise InvalidInput(f"{what}: expected a positive number of steps, got {number!r}")
        if self.optimizer is not None and not callable(self.optimizer):
            got = type(self.optimizer).__name__
            raise InvalidInput(f"optimizer: expected a function of the parameters, got {got}")
        if self.optimizer is None and (self.scheduler is not None or self.accumulate > 1):
            raise InvalidInput("scheduler, accumulate: expected an optimizer, got none")
        if self.scheduler is not None and not callable(self.scheduler):
            got = type(self.scheduler).__name__
            raise InvalidInput(f"scheduler: expected a function of the optimizer, got {got}")


class Updates:
    """The optimizer of one run of a program, with its scheduler."""

    def __init__(
        self,
        name: str,
        recipe: Recipe,
        params: Mapping[str, nn.Parameter],
        module: nn.Module,
    ) -> None:
        self._name, self._recipe, self._params, self._module = name, recipe, dict(params), module
        self.optimizer = self._made()
        self._scheduler = self._scheduled()
        self._sums: dict[str, Tensor] = {}
        self._losses: list[Tensor] = []
        self._batches = self._steps = 0
        self._prepared = False
        self.rates: list[dict[str, float]] = []
        """By parameter, at each batch."""

    def take(self, loss: Tensor) -> dict[str, Tensor]:
        """Takes a step with the gradients that the parameters have, or adds these up for a later
        one. Returns the gradients as the optimizer sees them."""
        self.rates.append(self._rates())
        self._batches += 1
        self._losses.append(loss.detach())
        if self._recipe.accumulate > 1 and not self._whole():
            return {}
        if self._recipe.prepare is not None:
            before = self._gradients()
            with calling(f"{self._name}: prepare"):
                self._recipe.prepare(list(self._params.values()))
            after = self._gradients()
            self._prepared |= any(not torch.equal(before[n], after[n]) for n in before)
        seen = self._gradients()
        assert self.optimizer is not None
        with calling(f"{self._name}: optimizer"):
            self.optimizer.step()
        self._steps += 1
        if self._scheduler is not None and self._steps % self._recipe.every == 0:
            mean = float(sum(self._losses)) / len(self._losses)
            with calling(f"{self._name}: scheduler"):
                plateau = isinstance(self._scheduler, ReduceLROnPlateau)
                self._scheduler.step(mean) if plateau else self._scheduler.step()
            self._losses.clear()
        return seen

    def moments(self) -> dict[str, Tensor]:
        """Returns what the optimizer remembers of each parameter: "exp_avg.rnn.weight_ih_l0", …"""
        assert self.optimizer is not None
        return {
            f"{kind}.{name}": moment
            for name, param in self._params.items()
            for kind, moment in self.optimizer.state.get(param, {}).items()
            if torch.is_tensor(moment) and moment.shape == param.shape and param.dim()
        }

    def gaps(self) -> list[Gap]:
        """Returns what of the loop did not act in the steps that were taken."""
        found = []
        if self._recipe.prepare is not None and self._steps and not self._prepared:
            found.append(Gap("prepare-changed-nothing", "prepare"))
        if self._scheduler is not None and len({tuple(r.values()) for r in self.rates}) < 2:
            found.append(Gap("rate-constant", "scheduler", self._steps))
        if self.optimizer is not None and self._steps == 1:
            found.append(Gap("one-update", "optimizer"))
        return found

    def _gradients(self) -> dict[str, Tensor]:
        named = self._params.items()
        return {n: p.grad.to_dense().clone() for n, p in named if p.grad is not None}

    def _whole(self) -> bool:
        """Adds the gradients up. After the last batch of a step, the parameters have the mean."""
        for name, param in self._params.items():
            if param.grad is not None:
                held = self._sums.get(name)
                self._sums[name] = param.grad.clone() if held is None else held + param.grad
        if self._batches % self._recipe.accumulate:
            return False
        for name, total in self._sums.items():
            self._params[name].grad = total / self._recipe.accumulate
        self._sums.clear()
        return True

    def _rates(self) -> dict[str, float]:
        assert self.optimizer is not None
        groups = self.optimizer.param_groups
        rates = {id(p): float(group["lr"]) for group in groups for p in group["params"]}
        return {n: rates[id(p)] for n, p in self._params.items() if id(p) in rates}

    def _made(self) -> torch.optim.Optimizer | None:
        if self._recipe.optimizer is None:
            return None
        with calling(f"{self._name}: optimizer"):
            more = (self._module,) if _takes_two(self._recipe.optimizer) else ()
            optimizer = self._recipe.optimizer(self._params.values(), *more)
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

    def _scheduled(self) -> Any:
        if self._recipe.scheduler is None:
            return None
        with calling(f"{self._name}: scheduler"):
            scheduler = self._recipe.scheduler(self.optimizer)  # pyright: ignore[reportArgumentType]
        if not isinstance(scheduler, (LRScheduler, ReduceLROnPlateau)):
            raise InvalidInput(
                "scheduler: expected one of torch.optim.lr_scheduler, got "
                f"{type(scheduler).__name__}"
            )
        if getattr(scheduler, "optimizer", self.optimizer) is not self.optimizer:
            raise InvalidInput("scheduler: expected one of the optimizer it is called with")
        return scheduler


def _takes_two(function: Callable) -> bool:
    """Tells whether a function must be given two arguments by position. A class of optimizers must
    not: what it takes beside the parameters has other names."""
    if isinstance(function, type):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = inspect.signature(function).parameters.values()
    return sum(p.kind in kinds and p.default is p.empty for p in found) == 2
