"""Every layer of both packages against torch.nn: outputs, final states, all gradients."""

import itertools

import pytest

from shared.layer import Cell, LayerConfig, Nonlinearity
from tests.support.compare_arrays import check_all_close
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
