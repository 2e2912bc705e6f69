"""Parameters that are one under several names are one in the twin, and are trained as one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from torch import nn

import rnn_jax
import rnn_torch
from shared.errors import InvalidInput
from tests.support.compare_arrays import check_close
from tests.support.exchange_cases import check_bits, flax_cell, randn, torch_layer, values
from tests.support.pairwise import each_by_default

KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
TIES: dict[str, dict[str, str]] = {
    "both directions": {f"{kind}_l0_reverse": f"{kind}_l0" for kind in KINDS},
    "the recurrence of both directions": {"weight_hh_l0_reverse": "weight_hh_l0"},
    "both biases": {"bias_hh_l0": "bias_ih_l0"},
    "two layers": {"weight_hh_l1": "weight_hh_l0", "bias_hh_l1": "bias_hh_l0"},
}


def tied_layer(ties: str, package: Any = nn, name: str = "LSTM") -> Any:
    torch.manual_seed(0)
    layers = 2 if ties == "two layers" else 1
    layer = getattr(package, name)(3, 4, layers, bidirectional=True, dtype=torch.float64)
    for later, earlier in TIES[ties].items():
        setattr(layer, later, getattr(layer, earlier))
    return layer


def check_tied(layer: Any, ties: str) -> None:
    for later, earlier in TIES[ties].items():
        assert getattr(layer, later) is getattr(layer, earlier), later
    total = len(layer.state_dict()) - len(TIES[ties])
    one_each = (
        list(layer.parameters())
        if isinstance(layer, nn.Module)
        else jax.tree.leaves(nnx.state(layer, nnx.Param))
    )
    assert len(one_each) == total


@pytest.mark.parametrize(("ties", "package"), each_by_default(TIES, [nn, rnn_torch]))
def test_ties_go_to_jax_and_back_bit_for_bit(ties: str, package: Any) -> None:
    theirs = tied_layer(ties, package)
    twin = rnn_jax.from_torch(theirs)
    again, back = rnn_jax.from_flax(twin), rnn_torch.from_flax(twin)
    for layer in (twin, again, back):
        check_tied(layer, ties)
        check_bits(layer, theirs)


@pytest.mark.parametrize(("ties", "name"), each_by_default(TIES, ["LSTM", "GRU", "RNN"]))
def test_one_step_of_training_leaves_them_equal(ties: str, name: str) -> None:
    theirs = tied_layer(ties, name=name)
    twin = rnn_jax.from_torch(theirs)
    back = rnn_torch.from_flax(twin)
    x = randn(5, 2, 3)
    for layer in (theirs, back):
        optimizer = torch.optim.SGD(layer.parameters(), 0.1)
        layer(torch.tensor(x))[0].square().sum().backward()
        optimizer.step()
    optimizer = nnx.Optimizer(twin, optax.sgd(0.1), wrt=nnx.Param)

    @nnx.jit
    def step(layer: Any, optimizer: nnx.Optimizer) -> None:
        gradients = nnx.grad(lambda layer: jnp.square(layer(x)[0]).sum())(layer)
        optimizer.update(layer, gradients)

    before = twin(x)[0]
    step(twin, optimizer)
    check_tied(twin, ties)
    expected = theirs(torch.tensor(x))[0].detach().numpy()
    assert abs(expected - np.asarray(before)).max() > 1e-3
    check_close(np.asarray(twin(x)[0]), expected, relative=1e-12, what="rnn_jax")
    ours = back(torch.tensor(x))[0].detach().numpy()
    check_close(ours, expected, relative=1e-12, what="rnn_torch")


def test_flax_keeps_ties_when_it_takes_a_module_apart() -> None:
    twin = rnn_jax.from_torch(tied_layer("both directions"))
    graph, state = nnx.split(twin)
    assert len(jax.tree.leaves(state)) == 4
    for layer in (nnx.merge(graph, state), nnx.clone(twin)):
        check_tied(layer, "both directions")
        check_bits(layer, twin)


@pytest.mark.parametrize("package", [rnn_jax, rnn_torch])
def test_two_values_for_one_parameter_are_refused(package: Any) -> None:
    """torch keeps the last, which would be another layer."""
    layer: Any = rnn_jax.from_torch(tied_layer("both biases"))
    layer = rnn_torch.from_flax(layer) if package is rnn_torch else layer
    doubled = {name: 2 * tensor for name, tensor in layer.state_dict().items()}
    layer.load_state_dict(doubled)
    expected = values(layer)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        with pytest.raises(InvalidInput, match="bias_ih_l0, bias_hh_l0: expected equal values"):
            layer.load_state_dict(doubled | {name: 3 * doubled[name]})
        found = values(layer)
        assert all(np.array_equal(found[key], bits) for key, bits in expected.items())


@pytest.mark.filterwarnings("ignore:forward_rnn and backward_rnn")
@pytest.mark.parametrize("cell", ["SimpleCell tanh", "LSTMCell", "OptimizedLSTMCell", "GRUCell"])
def test_one_flax_cell_in_both_directions(cell: str) -> None:
    made = flax_cell(cell)
    layer = nnx.Bidirectional(nnx.RNN(made), nnx.RNN(made))
    ours = rnn_jax.from_flax(layer, one_bias=True)
    check_tied(ours, "both directions")
    check_tied(rnn_torch.from_flax(layer, one_bias=True), "both directions")
    (again,) = rnn_jax.to_flax(ours, one_bias=True)
    assert isinstance(again, nnx.Bidirectional)
    assert len(jax.tree.leaves(nnx.state(again, nnx.Param))) == 3  # two kernels and a bias
    x = jnp.asarray(randn(2, 5, 3))
    expected = np.asarray(layer(x))
    check_close(np.asarray(ours(x)[0]), expected, relative=1e-12, what="from_flax")
    check_close(np.asarray(again(x)), expected, relative=1e-12, what="to_flax")


def test_a_kernel_that_two_flax_cells_share() -> None:
    cells = [flax_cell("OptimizedLSTMCell", seed=seed) for seed in (0, 1)]
    cells[1].dense_h.kernel = cells[0].dense_h.kernel
    layer = nnx.Bidirectional(*map(nnx.RNN, cells))
    ours = rnn_jax.from_flax(layer, one_bias=True)
    check_tied(ours, "the recurrence of both directions")
    (again,) = rnn_jax.to_flax(ours, one_bias=True)
    assert again.forward_rnn.cell.dense_h.kernel is again.backward_rnn.cell.dense_h.kernel  # pyright: ignore
    gate = [flax_cell("LSTMCell", seed=seed) for seed in (0, 1)]
    gate[1].hg.kernel = gate[0].hg.kernel
    with pytest.raises(
        InvalidInput, match=r"weight_hh_l0, weight_hh_l0_reverse: .* of their gates"
    ):
        rnn_jax.from_flax(nnx.Bidirectional(*map(nnx.RNN, gate)), one_bias=True)
    gate[0].hi.kernel = gate[0].hg.kernel
    with pytest.raises(InvalidInput, match="weight_hh_l0: expected parameters of its own for each"):
        rnn_jax.from_flax(nnx.RNN(gate[0]), one_bias=True)


@pytest.mark.parametrize("ties", ["both biases"])
def test_biases_that_flax_could_share_only_in_part(ties: str) -> None:
    with pytest.raises(InvalidInput, match=r"bias_ih_l0, bias_hh_l0: Flax's cells have a single"):
        rnn_jax.to_flax(rnn_jax.from_torch(tied_layer(ties)), one_bias=True)
    theirs = torch_layer("LSTM", bidirectional=True)
    theirs.bias_ih_l0_reverse = theirs.bias_ih_l0
    with pytest.raises(InvalidInput, match=r"bias_ih_l0, bias_ih_l0_reverse: Flax's cells have a"):
        rnn_jax.to_flax(rnn_jax.from_torch(theirs), one_bias=True)


def test_a_cell_with_a_tie() -> None:
    theirs = nn.GRUCell(4, 4, dtype=torch.float64)
    theirs.weight_hh = theirs.weight_ih
    twin = rnn_jax.from_torch(theirs)
    back = rnn_torch.from_flax(twin)
    for cell in (twin, back):
        assert cell.weight_hh is cell.weight_ih
        check_bits(cell, theirs)
