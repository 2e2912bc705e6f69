"""Flax's own layers to ours and back: every value, or a refusal that names the tensor and the
reason."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import rnn_jax
import rnn_torch
from shared.errors import InvalidInput
from tests.support.compare_arrays import check_close
from tests.support.exchange_cases import CELLS, KINDS, STACKED, flax_cell, randn, torch_layer


def flax_layers(cell: str, bidirectional: bool, bias: bool) -> list[Any]:
    """Two layers; in both directions if asked for."""
    layers, features = [], 3
    for layer in range(2):
        rnns = [
            nnx.RNN(flax_cell(cell, features, 2 * layer + i, bias))
            for i in range(1 + bidirectional)
        ]
        layers.append(nnx.Bidirectional(*rnns) if bidirectional else rnns[0])
        features = 4 * (1 + bidirectional)
    return layers


def run_flax(layers: list[Any], x: np.ndarray) -> np.ndarray:
    out = jnp.asarray(x)
    for layer in layers:
        out = layer(out)
    return np.asarray(out)


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both directions"])
@pytest.mark.parametrize("cell", CELLS)
def test_flax_layers_become_a_layer_that_computes_the_same(cell: str, bidirectional: bool) -> None:
    layers, x = flax_layers(cell, bidirectional, bias=True), randn(2, 5, 3)
    expected = run_flax(layers, x)
    ours = rnn_jax.from_flax(layers, one_bias=True)
    theirs = rnn_torch.from_flax(layers, one_bias=True)
    output, _ = ours(x)
    check_close(np.asarray(output), expected, relative=1e-10, what="rnn_jax")
    output, _ = theirs(torch.tensor(x))
    check_close(output.detach().numpy(), expected, relative=1e-10, what="rnn_torch")
    assert (ours.num_layers, ours.bidirectional, ours.batch_first) == (2, bidirectional, True)


@pytest.mark.parametrize("major", [True, False])
def test_bidirectional_decides_what_is_major(major: bool) -> None:
    """Its own time_major counts, not that of the two layers within it."""
    rnns = [nnx.RNN(flax_cell("GRUCell", seed=i), time_major=not major) for i in range(2)]
    layer, x = nnx.Bidirectional(*rnns, time_major=major), randn(4, 5, 3)
    ours = rnn_jax.from_flax(layer, one_bias=True)
    assert ours.batch_first is not major
    check_close(np.asarray(ours(x)[0]), run_flax([layer], x), relative=1e-10, what="rnn_jax")
    theirs, _ = rnn_torch.from_flax(layer, one_bias=True)(torch.tensor(x))
    check_close(theirs.detach().numpy(), run_flax([layer], x), relative=1e-10, what="rnn_torch")


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_other_dtypes_go_to_flax(name: str, dtype: Any) -> None:
    ours = getattr(rnn_jax, name)(3, 4, bias=False, param_dtype=dtype, rngs=nnx.Rngs(0))
    made = rnn_jax.to_flax(ours)
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(made[0], nnx.Param))} == {
        jnp.dtype(dtype)
    }
    back = rnn_jax.from_flax(made)
    for key, array in ours.state_dict().items():
        assert np.array_equal(back.state_dict()[key], array), key


@pytest.mark.parametrize("cell", CELLS)
def test_one_bias_for_two_is_refused_by_name(cell: str) -> None:
    for convert in (rnn_jax.from_flax, rnn_torch.from_flax):
        with pytest.raises(
            InvalidInput, match=r"bias_ih_l0, bias_hh_l0: .* single bias .*one_bias"
        ):
            convert(nnx.RNN(flax_cell(cell)))


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both directions"])
@pytest.mark.parametrize("cell", CELLS)
def test_to_flax_and_back_bit_for_bit(cell: str, bidirectional: bool) -> None:
    """Where Flax can hold it: with one bias of zeros, or, if asked for, with the sum."""
    layers, x = flax_layers(cell, bidirectional, bias=True), randn(2, 5, 3)
    ours = rnn_jax.from_flax(layers, one_bias=True)
    output, _ = ours(x)
    made = rnn_jax.to_flax(ours)
    check_close(run_flax(made, x), np.asarray(output), relative=1e-10, what="to_flax")
    back = rnn_jax.from_flax(made, one_bias=True)
    for name, array in ours.state_dict().items():
        assert np.array_equal(back.state_dict()[name], array), name
    assert back.layer_config == ours.layer_config


@pytest.mark.parametrize("kind", ["RNN", "RNN relu", "LSTM"])
def test_two_biases_go_to_flax_as_their_sum_if_asked_for(kind: str) -> None:
    ours, x = rnn_jax.from_torch(torch_layer(kind, **STACKED)), randn(2, 5, 3)
    with pytest.raises(InvalidInput, match=r"bias_hh_l0: Flax's cells have a single bias"):
        rnn_jax.to_flax(ours)
    output, _ = ours(x)
    made = rnn_jax.to_flax(ours, one_bias=True)
    check_close(run_flax(made, x), np.asarray(output), relative=1e-10, what="to_flax")


@pytest.mark.parametrize("kind", ["RNN", "GRU without bias"])
def test_a_layer_without_bias_goes_to_flax(kind: str) -> None:
    ours, x = rnn_jax.from_torch(torch_layer(kind, **STACKED | {"bias": False})), randn(2, 5, 3)
    output, _ = ours(x)
    check_close(run_flax(rnn_jax.to_flax(ours), x), np.asarray(output), relative=1e-10, what="flax")


def test_a_gru_goes_to_flax_only_without_b_hn() -> None:
    ours, x = rnn_jax.from_torch(torch_layer("GRU")), randn(5, 2, 3)
    for one_bias in (False, True):
        with pytest.raises(InvalidInput, match=r"bias_hh_l0: .* no b_hn"):
            rnn_jax.to_flax(ours, one_bias=one_bias)
    bias = ours.state_dict()["bias_hh_l0"].copy()
    bias[8:] = 0
    ours.load_state_dict(ours.state_dict() | {"bias_hh_l0": bias})
    made = rnn_jax.to_flax(ours, one_bias=True)
    check_close(run_flax(made, x), np.asarray(ours(x)[0]), relative=1e-10, what="to_flax")


def test_a_projection_does_not_go_to_flax() -> None:
    with pytest.raises(InvalidInput, match=r"weight_hr_l0: .* no projection"):
        rnn_jax.to_flax(rnn_jax.from_torch(torch_layer("LSTM projected")))


@pytest.mark.parametrize("kind", ["RNN relu", "LSTM projected", "GRU"])
def test_our_cells_in_flax_layers_pass_with_both_biases(kind: str) -> None:
    name, arguments = KINDS[kind]
    layers, features = [], 3
    width = arguments.get("proj_size", 4)
    for layer in range(2):
        make = getattr(rnn_jax, f"{name}Cell")
        cells = [
            make(features, 4, param_dtype=jnp.float64, rngs=nnx.Rngs(2 * layer + i), **arguments)
            for i in range(2)
        ]
        rnns = [nnx.RNN(cell, time_major=True) for cell in cells]
        layers.append(nnx.Bidirectional(*rnns, time_major=True))
        features = 2 * width
    x = randn(5, 2, 3)
    expected = run_flax(layers, x)
    ours = rnn_jax.from_flax(layers)
    check_close(np.asarray(ours(x)[0]), expected, relative=1e-10, what="rnn_jax")
    assert ours.state_dict()["bias_hh_l1_reverse"].any()
    theirs = rnn_torch.from_flax(layers)
    check_close(
        theirs(torch.tensor(x))[0].detach().numpy(), expected, relative=1e-10, what="rnn_torch"
    )


def options(**changed: Any) -> dict[str, Any]:
    return {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)} | changed


UNREPRESENTABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "activation of an RNN": (
        lambda: nnx.RNN(nnx.SimpleCell(3, 4, **options(activation_fn=nnx.gelu))),
        "weight_ih_l0: expected activation_fn tanh",
    ),
    "activation of a GRU": (
        lambda: nnx.RNN(nnx.GRUCell(3, 4, **options(activation_fn=nnx.relu))),
        "weight_ih_l0: expected activation_fn tanh",
    ),
    "gates of an LSTM": (
        lambda: nnx.RNN(nnx.LSTMCell(3, 4, **options(gate_fn=nnx.hard_sigmoid))),
        "weight_ih_l0: expected gate_fn sigmoid",
    ),
    "residual": (
        lambda: nnx.RNN(nnx.SimpleCell(3, 4, **options(residual=True))),
        "weight_hh_l0: expected a cell without residual",
    ),
    "a state that does not start at zero": (
        lambda: nnx.RNN(nnx.GRUCell(3, 4, **options(carry_init=nnx.initializers.ones))),
        "weight_hh_l0: expected a cell whose state starts at zero",
    ),
    "reverse": (
        lambda: nnx.RNN(nnx.GRUCell(3, 4, **options()), reverse=True),
        "reverse: expected False",
    ),
    "another merge": (
        lambda: nnx.Bidirectional(
            nnx.RNN(nnx.GRUCell(3, 4, **options())),
            nnx.RNN(nnx.GRUCell(3, 4, **options())),
            merge_fn=lambda a, b: a + b,
        ),
        "merge_fn: expected Flax's own",
    ),
    "layers that do not fit": (
        lambda: [nnx.RNN(nnx.GRUCell(i, 4, **options())) for i in (3, 5)],
        r"weight_ih_l1: expected shape \(12, 4\), got \(12, 5\)",
    ),
    "two cells": (
        lambda: [nnx.RNN(cell(3, 3, **options())) for cell in (nnx.GRUCell, nnx.LSTMCell)],
        "weight_ih_l1: expected GRU .* got LSTM",
    ),
    "a direction in one layer only": (
        lambda: [
            nnx.Bidirectional(*(nnx.RNN(nnx.GRUCell(3, 4, **options())) for _ in range(2))),
            nnx.RNN(nnx.GRUCell(8, 4, **options())),
        ],
        "missing weight_ih_l1_reverse",
    ),
    "a direction in the second layer only": (
        lambda: [
            nnx.RNN(nnx.GRUCell(3, 4, **options())),
            nnx.Bidirectional(*(nnx.RNN(nnx.GRUCell(4, 4, **options())) for _ in range(2))),
        ],
        "unexpected weight_ih_l1_reverse",
    ),
    "two layouts": (
        lambda: [nnx.RNN(nnx.GRUCell(4, 4, **options()), time_major=t) for t in (True, False)],
        "time_major=True as in the first layer",
    ),
}


@pytest.mark.filterwarnings("ignore:carry_init is provided")
@pytest.mark.parametrize("case", UNREPRESENTABLE)
def test_what_has_no_counterpart_is_refused_by_name(case: str) -> None:
    make, message = UNREPRESENTABLE[case]
    for convert in (rnn_jax.from_flax, rnn_torch.from_flax):
        with pytest.raises(InvalidInput, match=message):
            convert(make())


def test_another_cell() -> None:
    class Peephole(nnx.LSTMCell):
        """A cell of a user, of which only its name is known."""

    with pytest.raises(TypeError, match=r"expected SimpleCell, LSTMCell, .* got .*Peephole"):
        rnn_jax.from_flax(nnx.RNN(Peephole(3, 4, rngs=nnx.Rngs(0))))
