"""Layers of which it is not known what their next forward pass computes, or whose weights could not
stay one: refused by name, and left as they are."""

import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import rnn_jax
from rnn_torch.plain import plain
from shared.errors import InvalidInput
from tests.support.exchange_cases import torch_layer
from tests.support.wrapped_layers import WeightDrop, untouched


class Noisy(nn.Module):
    """Draws in evaluation mode too, from all generators."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + torch.randn_like(weight) * float(np.random.rand()) * random.random()


def one_source(layer: Any) -> Any:
    for name in ("weight_hh_l0", "weight_hh_l0_reverse"):
        parametrizations.weight_norm(layer, name)
    layer.parametrizations.weight_hh_l0_reverse.original1 = (
        layer.parametrizations.weight_hh_l0.original1
    )
    return layer


def one_source_by_hooks(layer: Any) -> Any:
    for name in ("weight_hh_l0", "weight_hh_l0_reverse"):
        with warnings.catch_warnings(action="ignore"):
            nn.utils.weight_norm(layer, name)
    layer.weight_hh_l0_reverse_g = layer.weight_hh_l0_g
    return layer


def also_used_as_it_is(layer: Any) -> Any:
    prune.random_unstructured(layer, "weight_hh_l0", 0.5)
    layer.weight_hh_l0_reverse = layer.weight_hh_l0_orig
    return layer


def one_memory(layer: Any) -> Any:
    layer.weight_hh_l0_reverse = nn.Parameter(layer.weight_hh_l0.data)
    return layer


def overlapping(layer: Any) -> Any:
    both = torch.randn(17, 4, dtype=torch.float64)
    layer.weight_hh_l0, layer.weight_hh_l0_reverse = (
        nn.Parameter(both[i : 16 + i]) for i in (0, 1)
    )
    return layer


def assigned(layer: Any) -> Any:
    values = layer.weight_hh_l0.detach() * 2
    del layer.weight_hh_l0
    layer.weight_hh_l0 = values
    return layer


def refused_by_torch(layer: Any) -> Any:
    """torch raises, and computes with the tensor all the same."""
    with pytest.raises(TypeError, match="cannot assign"):
        layer.weight_hh_l0 = layer.weight_hh_l0.detach() * 2
    return layer


def forward_of_its_own(layer: Any) -> Any:
    forward = layer.forward
    layer.forward = lambda *arguments: forward(*arguments)
    return layer


def hooked(layer: Any) -> Any:
    layer.register_forward_hook(lambda module, inputs, output: (output[0] * 2, output[1]))
    return layer


def hooked_before(layer: Any) -> Any:
    layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))
    return layer


def drops_in_evaluation_too(layer: Any) -> Any:
    class Always(WeightDrop):
        def forward(self, *arguments: Any) -> Any:
            return super().forward(*arguments) if self.eval().training else self.scaled(*arguments)

        def scaled(self, *arguments: Any) -> Any:
            output, state = super().forward(*arguments)
            return output * 0.5, state

    return Always(layer, "weight_hh_l0")


def called_otherwise(layer: Any) -> Any:
    class Other(WeightDrop):
        def forward(self, x: Any, lengths: Any) -> Any:  # pyright: ignore
            return super().forward(x)

    return Other(layer, "weight_hh_l0")


def out_of_its_wrapper(layer: Any) -> Any:
    return WeightDrop(layer, "weight_hh_l0").eval().module


REFUSED: dict[str, tuple[Any, str]] = {
    "random": (
        lambda m: parametrize.register_parametrization(m, "weight_hh_l0", Noisy()),
        "weight_hh_l0: expected the same values whenever",
    ),
    "one source": (one_source, "weight_hh_l0, weight_hh_l0_reverse: expected each .* its own"),
    "one source by hooks": (
        one_source_by_hooks,
        "weight_hh_l0, weight_hh_l0_reverse: expected each .* its own",
    ),
    "also used as it is": (
        also_used_as_it_is,
        "weight_hh_l0_reverse, weight_hh_l0: expected each .* its own",
    ),
    "one memory": (one_memory, "weight_hh_l0, weight_hh_l0_reverse: expected memory of its own"),
    "overlapping": (overlapping, "weight_hh_l0, weight_hh_l0_reverse: expected memory of its own"),
    "assigned": (assigned, "weight_hh_l0: expected a parameter, got a tensor"),
    "assigned, which torch refuses": (
        refused_by_torch,
        "weight_hh_l0: expected a layer that computes with its parameter",
    ),
    "forward of its own": (forward_of_its_own, "LSTM: expected the forward of its class"),
    "a hook": (hooked, "LSTM: expected no forward hooks, got hooked.*lambda"),
    "a hook before": (hooked_before, "LSTM: expected no forward hooks, got hooked_before"),
    "a wrapper that does more": (drops_in_evaluation_too, "Always: expected a wrapper that comp"),
    "a wrapper called otherwise": (called_otherwise, "Other: expected a wrapper that is called as"),
    "out of its wrapper": (out_of_its_wrapper, "weight_hh_l0: expected a parameter, got none"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_known_is_refused_by_name(case: str) -> None:
    make, message = REFUSED[case]
    module = make(torch_layer("LSTM", bidirectional=True))
    with untouched(module), pytest.raises(InvalidInput, match=message):
        rnn_jax.from_torch(module)


@pytest.mark.usefixtures("unchecked")  # who checks annotations draws from Python's generator
def test_pythons_generator_is_left_where_it_was() -> None:
    module = torch_layer("GRU")
    parametrize.register_parametrization(module, "weight_hh_l0", Noisy())
    before = random.getstate()
    with pytest.raises(InvalidInput, match="the same values"):
        rnn_jax.from_torch(module)
    assert random.getstate() == before


def test_a_module_that_cannot_be_copied() -> None:
    module = torch_layer("GRU")
    module.lines = (line for line in ())
    with pytest.raises(InvalidInput, match=r"GRU: expected a module that copy.deepcopy copies"):
        rnn_jax.from_torch(module)


def test_no_values_and_no_shape() -> None:
    with pytest.raises(InvalidInput, match="weight_ih_l0: expected values, got none"):
        rnn_jax.from_torch(nn.GRU(3, 4, device="meta"))
    with pytest.raises(InvalidInput, match=r"0.weight: expected a shape, got none yet"):
        plain(nn.Sequential(nn.LazyLinear(4)))
