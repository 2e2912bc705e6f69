"""Every layer of both packages against torch.nn: outputs, final states, all gradients."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from shared.config.settings import Cell, Nonlinearity
from shared.protocol import LayerConfig
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.layer_cases import (
    HIDDEN,
    INPUTS,
    LENGTHS,
    PROJECTED,
    Tensors,
    jax_layer,
    make_case,
    run_jax,
    run_torch,
    torch_handcrafted,
    torch_native,
    weights_of,
)
from tests.support.pairwise import covering

KINDS: dict[str, tuple[Cell, Nonlinearity, int]] = {
    "rnn tanh": ("rnn", "tanh", 0),
    "rnn relu": ("rnn", "relu", 0),
    "lstm": ("lstm", "tanh", 0),
    "lstm projected": ("lstm", "tanh", PROJECTED),
    "gru": ("gru", "tanh", 0),
}


def check_equal(actual: tuple[Tensors, Tensors], expected: tuple[Tensors, Tensors]) -> None:
    """Outputs and gradients in float64: 1e-10."""
    for mine, theirs in zip(actual, expected, strict=True):
        check_all_close(mine, theirs, relative=1e-10)


Choices = tuple[str, int, bool, bool, bool, str]
"""Kind, layers, bidirectional, bias, batch first, lengths."""

EITHER = (False, True)
EVERY: list[Choices] = list(itertools.product(KINDS, (1, 2, 3), EITHER, EITHER, EITHER, LENGTHS))


def named(choices: Choices) -> str:
    kind, num_layers, bidirectional, bias, batch_first, lengths = choices
    parts = [kind, f"{num_layers}x{1 + bidirectional}", lengths]
    return ", ".join([*parts, *["bias"] * bias, *["batch first"] * batch_first])


@pytest.mark.parametrize("choices", covering(EVERY), ids=named)
def test_layers_are_those_of_torch(choices: Choices) -> None:
    check_layers(*choices)


@pytest.mark.slow
@pytest.mark.parametrize("choices", EVERY, ids=named)
def test_all_layers_are_those_of_torch(choices: Choices) -> None:
    check_layers(*choices)


def check_layers(
    kind: str, num_layers: int, bidirectional: bool, bias: bool, batch_first: bool, lengths: str
) -> None:
    cell, nonlinearity, proj_size = KINDS[kind]
    config = LayerConfig(
        cell,
        INPUTS,
        HIDDEN,
        num_layers,
        nonlinearity,
        bias,
        batch_first,
        bidirectional=bidirectional,
        proj_size=proj_size,
    )
    case = make_case(config, LENGTHS[lengths])
    expected = run_torch(case, torch_native(config))
    check_equal(run_torch(case, torch_handcrafted(config)), expected)
    check_equal(run_jax(case, jax_layer(case)), expected)


def test_the_masks_are_each_layers_own() -> None:
    """Three layers with two masks are layers of torch.nn one after the other, and between them the
    masks."""
    config = LayerConfig("gru", INPUTS, HIDDEN, 3, batch_first=True, bidirectional=True)
    case = make_case(config)
    weights = {name: torch.tensor(array) for name, array in weights_of(case).items()}
    x, rng = torch.tensor(case.tensors["x"]), np.random.default_rng(0)
    masks = rng.integers(0, 2, (2, *x.shape[:2], 2 * HIDDEN)) / 0.5
    expected = x
    for k in range(3):
        single = nn.GRU(expected.shape[-1], HIDDEN, batch_first=True, bidirectional=True).double()
        single.load_state_dict(
            {n.replace(f"_l{k}", "_l0"): t for n, t in weights.items() if f"_l{k}" in n}
        )
        output, _ = single(expected)
        expected = output * torch.tensor(masks[k]) if k < 2 else output
    ours = torch_handcrafted(config)
    ours.load_state_dict(weights)
    found = {
        "torch": ours(x, masks=torch.tensor(masks))[0].detach().numpy(),
        "jax": np.asarray(jax_layer(case)(case.tensors["x"], masks=jnp.asarray(masks))[0]),
    }
    for name, output in found.items():
        check_close(output, expected.detach().numpy(), relative=1e-10, what=name)
