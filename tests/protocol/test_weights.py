"""The canonical layout is torch's, and initial values have torch's distributions."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from shared.config.settings import Cell, NetworkConfig
from shared.protocol import LayerConfig
from shared.protocol.weights import initialize, network_shapes


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize(("cell", "proj_size"), [("rnn", 0), ("lstm", 0), ("lstm", 4), ("gru", 0)])
def test_names_shapes_and_order_are_those_of_torch(
    cell: Cell, proj_size: int, num_layers: int, bidirectional: bool, bias: bool
) -> None:
    config = LayerConfig(
        cell, 5, 7, num_layers, bias=bias, bidirectional=bidirectional, proj_size=proj_size
    )
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    theirs = kind(**config.arguments()).state_dict()
    expected = [(name, tuple(tensor.shape)) for name, tensor in theirs.items()]
    assert list(config.shapes().items()) == expected


def test_the_network_has_an_embedding_only_where_it_is_asked_for() -> None:
    network = NetworkConfig(cell="lstm", hidden_size=4, bidirectional=True, embedding_size=3)
    shapes = network_shapes(network, 9, 2)
    assert shapes["embedding.weight"] == (9, 3)
    assert shapes["rnn.weight_ih_l0"] == (16, 3)
    assert shapes["head.weight"] == (2, 8)
    plain = network_shapes(NetworkConfig(cell="lstm", hidden_size=4), 9, 2)
    assert "embedding.weight" not in plain
    assert plain["rnn.weight_ih_l0"] == (16, 9)


def test_initial_values_have_the_distributions_of_torch() -> None:
    """Bounds, mean and variance of the uniform ±1/√H, ±1/√(fan-in), and of the standard normal."""
    network = NetworkConfig(hidden_size=100, bidirectional=True, embedding_size=50)
    weights = initialize(network, 200, 60, seed=0, dtype="float64")
    for name, bound in (("rnn.weight_hh_l0", 0.1), ("head.weight", 1 / math.sqrt(200))):
        values = weights[name]
        assert abs(values).max() <= bound, name
        assert abs(values).max() > 0.99 * bound, name
        assert abs(values.mean()) < 4 * bound / math.sqrt(3 * values.size), name
        assert values.var() == pytest.approx(bound**2 / 3, rel=0.05), name
    table = weights["embedding.weight"]
    assert abs(table.mean()) < 0.05
    assert table.var() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_forget_bias_is_added_to_the_gate_that_keeps_the_state(cell: Cell) -> None:
    """With a bias of 50 the gate is 1: whatever torch's layer reads, it returns what it held."""
    network = NetworkConfig(cell=cell, hidden_size=6, num_layers=2, bidirectional=True)
    plain, biased = (
        initialize(replace(network, forget_bias=bias), 3, 2, 0, "float64") for bias in (0.0, 50.0)
    )
    changed = [name for name in plain if (plain[name] != biased[name]).any()]
    assert changed == [name for name in plain if name.startswith("rnn.bias_ih")]
    assert len(changed) == 4
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    layer = kind(3, 6, 2, bidirectional=True, dtype=torch.float64)
    layer.load_state_dict(
        {
            name.removeprefix("rnn."): torch.from_numpy(array)
            for name, array in biased.items()
            if name.startswith("rnn.")
        }
    )
    held = torch.linspace(10, 20, 4 * 6, dtype=torch.float64).reshape(4, 1, 6)
    x = torch.linspace(-1, 1, 5 * 3, dtype=torch.float64).reshape(5, 1, 3)
    if cell == "gru":
        torch.testing.assert_close(layer(x, held)[1], held)
    else:  # what a cell adds in five steps is at most 5
        cells = layer(x, (torch.zeros_like(held), held))[1][1]
        assert ((cells - held).abs() < 5).all()
        assert (cells > 0.5 * held).all()


def test_a_float32_run_starts_from_the_rounded_weights_of_the_float64_run() -> None:
    network = NetworkConfig(cell="gru", hidden_size=8)
    wide, narrow = (initialize(network, 3, 2, 7, dtype) for dtype in ("float64", "float32"))
    for name, array in wide.items():
        np.testing.assert_array_equal(array.astype(np.float32), narrow[name])
        assert narrow[name].dtype == np.float32


def test_the_seed_decides_the_values() -> None:
    network = NetworkConfig(hidden_size=4)
    first, again, other = (initialize(network, 3, 2, seed, "float64") for seed in (1, 1, 2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
        assert (array != other[name]).all(), name
