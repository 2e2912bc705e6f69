"""A layer or a cell in the canonical layout: what passes from one framework's module to another's.

    found = canonical_layer("torch", torch.nn.LSTM(10, 64))

Each backend reads the modules of its framework in its file `exchange.py`. That of the other is
loaded only when it is needed, so that neither backend imports the other.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from shared.errors import NotCarriedOver
from shared.protocol.backend import part_of
from shared.protocol.layer import LayerConfig, Shape
from shared.protocol.state_dict import listed
from shared.protocol.weights import Weights


@runtime_checkable
class Layered(Protocol):
    """A recurrent layer, for type checkers, which thereby tell it from a cell."""

    num_layers: int


class Omission(NamedTuple):
    """Something of a module that its canonical layout does not hold."""

    name: str
    """Of the tensor or, for hooks, of the module, with its place."""
    kind: Literal["computed", "frozen", "other", "drops", "hook"]
    """Made of other tensors; not trained; a buffer or a parameter beside those of such a layer;
    dropped in part while training; with hooks that see or change gradients."""
    by: str = ""
    """What computes the tensor, or what drops it and how often; empty for other kinds."""

    def line(self) -> str:
        """Returns the sentence for a user."""
        return {
            "computed": f"{self.name}: computed by {self.by} from other tensors; carried over is "
            "the result, and it is trained itself",
            "frozen": f"{self.name}: frozen (requires_grad is False); what is made of it trains",
            "other": f"{self.name}: a tensor that such a layer does not have; not carried over",
            "drops": f"{self.name}: dropped in part in training by {self.by}; what is made of it "
            "drops nothing of it",
            "hook": f"{self.name}: has hooks on its gradients, which are not carried over",
        }[self.kind]


@dataclass(frozen=True)
class CanonicalLayer:
    """Everything that a layer or a cell holds, independent of any framework."""

    config: LayerConfig
    weights: Weights
    """Name → array, in the order of `shapes`."""
    training: bool
    """True if it applies dropout, as in training; False if it computes as in evaluation."""
    computed_in: np.dtype | None = None
    """Dtype that it computes in; None if that follows from parameters and inputs."""
    cell: bool = False
    """True for a cell, a single step."""
    shared: dict[str, str] = field(default_factory=dict[str, str])
    """Name → the earlier name of the same parameter."""
    omitted: Sequence[Omission] = ()

    def shapes(self) -> dict[str, Shape]:
        """Returns name → shape of every tensor, in torch's order."""
        return self.config.cell_shapes() if self.cell else self.config.shapes()


def canonical_layer(
    framework: Literal["jax", "torch"], module: Any, **arguments: Any
) -> CanonicalLayer:
    """Returns a layer or a cell as the backend of its framework reads it.

    Args:
        framework: to which the module belongs.
        arguments: further arguments of that backend's `canonical`, such as one_bias.

    Raises:
        ModuleNotFoundError: the framework is not installed.
        TypeError, InvalidInput: as that backend's `canonical`.
    """
    return part_of(framework, "exchange").canonical(module, **arguments)


def warn_of_omissions(found: CanonicalLayer, stacklevel: int) -> None:
    """Says what of a module is not carried over: a warning `NotCarriedOver` for each, and one for
    all frozen parameters.

    Args:
        stacklevel: as in `warnings.warn`, counted from the caller: 2 blames the caller's caller.
    """
    frozen = [one.name for one in found.omitted if one.kind == "frozen"]
    lines = [one.line() for one in found.omitted if one.kind != "frozen"]
    if frozen:
        whole = set(frozen) >= found.weights.keys()
        names = "all parameters" if whole else listed(frozen)
        lines.insert(0, f"{names}: frozen (requires_grad is False); what is made of them trains")
    for line in lines:
        warnings.warn(line, NotCarriedOver, stacklevel=stacklevel + 1)


def earlier_names(parameters: dict[str, Any]) -> dict[str, str]:
    """Returns name → the earlier name of the same object, of parameters that are there twice."""
    first: dict[int, str] = {}
    for name, parameter in parameters.items():
        first.setdefault(id(parameter), name)
    return {
        name: first[id(parameter)]
        for name, parameter in parameters.items()
        if first[id(parameter)] != name
    }
