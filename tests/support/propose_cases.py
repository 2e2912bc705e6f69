"""Pairs of a model and its port, with the inputs of both."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from flax import linen, nnx
from torch import nn

from shared.system.randomness import generator
from tests.support import propose_ports as ports
from tests.support import propose_torch as models


class Case(NamedTuple):
    theirs: nn.Module
    ours: Any
    """A module, or a function with `params`."""
    sample: Any
    ours_sample: Any = None
    params: Any = None

    @property
    def tree(self) -> Any:
        return self.ours if self.params is None else self.params


def _drawn(module: nn.Module) -> nn.Module:
    """Returns the module with other values, also where it begins with zeros and ones."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point() and name != "fixed":
                tensor.add_((torch.rand_like(tensor) - 0.4) * 0.5)
    return module


def case(name: str) -> Case:
    return _CASES[name]()


def _case(
    theirs: type[nn.Module], ours: Callable[[nnx.Rngs], nnx.Module], sample: Any, *args: Any
) -> Case:
    return Case(_drawn(theirs()), ours(nnx.Rngs(1)), sample, *args)


def _of_function(
    cell: type[nn.Module], function: tuple[Callable, Any], zero: str = "", rows: int = 24
) -> Case:
    """Returns a classifier and its port. Where that has one bias, `zero` names torch's other one,
    of which the first rows are zero."""
    model, params = function
    theirs = _drawn(models.Classifier(cell))
    if zero:
        with torch.no_grad():
            theirs.state_dict()[zero][:rows] = 0
    return Case(theirs, model, _sequences(), None, params)


def _tokens(most: int, *shape: int) -> np.ndarray:
    return generator(2, "tokens", *shape).integers(0, most, shape)


def _real(*shape: int) -> np.ndarray:
    return generator(2, "values", *shape).standard_normal(shape)


def _sequences() -> np.ndarray:
    return _real(3, 5, 6)


_CASES: dict[str, Callable[[], Case]] = {
    "tagger": lambda: _case(models.Tagger, ports.Tagger, _tokens(30, 3, 7)),
    "speech": lambda: _case(
        models.Speech, ports.Speech, _real(2, 1, 6, 5), _real(2, 1, 6, 5).transpose(0, 2, 3, 1)
    ),
    "translator": lambda: _case(
        models.Translator, ports.Translator, (_tokens(20, 3, 4), _tokens(20, 3, 5))
    ),
    "language model": lambda: _case(models.LanguageModel, ports.LanguageModel, _tokens(30, 5, 3)),
    "branches": lambda: _case(models.Branches, ports.Branches, _sequences()),
    "branches with swapped names": lambda: Case(
        _drawn(models.Branches()), ports.Branches(nnx.Rngs(1), swapped=True), _sequences()
    ),
    "wave": lambda: _case(
        models.Wave, ports.Wave, _real(2, 3, 10), _real(2, 3, 10).transpose(0, 2, 1)
    ),
    "pixels": lambda: _case(
        models.Pixels, ports.Pixels, _real(3, 2, 7, 7), _real(3, 2, 7, 7).transpose(0, 2, 3, 1)
    ),
    "by hand": lambda: _of_function(nn.LSTM, ports.by_hand()),
    "by hand, gates i f o g": lambda: _of_function(nn.LSTM, ports.by_hand("ifog")),
    "by hand, gates g o f i, as torch's": lambda: _of_function(
        nn.LSTM, ports.by_hand("gofi", turned=True)
    ),
    "fused": lambda: _of_function(nn.LSTM, ports.fused(), "rnn.bias_hh_l0"),
    "linen.LSTMCell": lambda: _of_function(
        nn.LSTM, ports.of_linen(linen.LSTMCell), "rnn.bias_ih_l0"
    ),
    "linen.GRUCell": lambda: _of_function(
        nn.GRU, ports.of_linen(linen.GRUCell), "rnn.bias_hh_l0", 12
    ),
    "linen.SimpleCell": lambda: _of_function(
        nn.RNN, ports.of_linen(linen.SimpleCell), "rnn.bias_hh_l0"
    ),
}
CASES = list(_CASES)
