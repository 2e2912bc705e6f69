"""Cells and layers of rnn_jax in Flax's hands: flax.nnx.RNN, Bidirectional, Optimizer."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rnn_jax
from shared.config.settings import Cell, Nonlinearity
from shared.protocol import LayerConfig
from tests.support.jax_cases import check_same, randn
from tests.support.layer_cases import LENGTHS, jax_layer, make_case, named, state_of
from tests.support.pairwise import covering

CELLS: dict[str, tuple[Cell, Nonlinearity, int]] = {
    "RNN": ("rnn", "tanh", 0),
    "RNN relu": ("rnn", "relu", 0),
    "LSTM": ("lstm", "tanh", 0),
    "LSTM projected": ("lstm", "tanh", 2),
    "GRU": ("gru", "tanh", 0),
}


def flax_twin(layer: Any, projected: int) -> list[Any]:
    """`flax.nnx.RNN` and `Bidirectional` over our cells, with the layer's weights."""
    config, weights, features = layer.layer_config, layer.state_dict(), layer.input_size
    kind = getattr(rnn_jax, f"{config.name}Cell")
    major, layers = not config.batch_first, []
    for endings in config.suffixes():
        rnns = []
        for ending in endings:
            options: dict[str, Any] = {"proj_size": projected} if projected else {}
            if config.cell == "rnn":
                options["nonlinearity"] = config.nonlinearity
            cell = kind(
                features,
                config.hidden_size,
                config.bias,
                param_dtype=jnp.float64,
                rngs=nnx.Rngs(0),
                **options,
            )
            for name, array in weights.items():
                if name.endswith(ending) and name.count("_") == ending.count("_") + 1:
                    getattr(cell, name.removesuffix(ending))[...] = jnp.asarray(array)
            rnns.append(nnx.RNN(cell, time_major=major))
        layers.append(nnx.Bidirectional(*rnns, time_major=major) if len(rnns) == 2 else rnns[0])
        features = config.directions * config.output_size
    return layers


EITHER = (False, True)
EVERY = list(itertools.product(CELLS, EITHER, EITHER, EITHER, LENGTHS))
"""Cell, bidirectional, bias, batch first, lengths."""


@pytest.mark.parametrize("choices", covering(EVERY), ids=str)
def test_flax_rnn_over_our_cells_is_the_layer(choices: tuple[str, bool, bool, bool, str]) -> None:
    check_in_flax(*choices)


@pytest.mark.slow
@pytest.mark.parametrize("choices", EVERY, ids=str)
def test_flax_rnn_is_every_layer(choices: tuple[str, bool, bool, bool, str]) -> None:
    check_in_flax(*choices)


def check_in_flax(
    cell: str, bidirectional: bool, bias: bool, batch_first: bool, lengths: str
) -> None:
    """Outputs and final carries, two layers deep. Flax leaves its outputs in the padding, which
    the layer zeroes; and its Bidirectional starts only from zeros."""
    kind, nonlinearity, projected = CELLS[cell]
    config = LayerConfig(
        kind, 3, 4, 2, nonlinearity, bias, batch_first, 0.0, bidirectional, projected
    )
    case = make_case(config, LENGTHS[lengths])
    layer = jax_layer(case)
    x = jnp.asarray(case.tensors["x"])
    found = None if case.lengths is None else jnp.asarray(case.lengths)
    output, final = layer(x, lengths=found)

    @nnx.jit
    def stacked(layers: Any, x: jax.Array, lengths: Any) -> tuple[jax.Array, list[Any]]:
        carries = []
        for rnn in layers:
            carry, x = rnn(x, return_carry=True, seq_lengths=lengths)
            carries += list(carry) if bidirectional else [carry]
        return x, carries

    theirs, carries = stacked(nnx.List(flax_twin(layer, projected)), x, found)
    if found is not None:
        steps = x.shape[1 if batch_first else 0]
        within = jnp.arange(steps)[:, None] < found
        theirs = jnp.where((within.T if batch_first else within)[..., None], theirs, 0)
    parts = [carry if isinstance(carry, tuple) else (carry,) for carry in carries]
    stacks = tuple(jnp.stack(part) for part in zip(*parts, strict=True))
    expected = named(case, theirs, stacks)
    check_same(named(case, output, final), expected)


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_is_one_step_of_the_layer(cell: str) -> None:
    """From a state that is not zero, for a batch, for one sequence, and for more axes."""
    kind, nonlinearity, projected = CELLS[cell]
    config = LayerConfig(kind, 3, 4, 1, nonlinearity, proj_size=projected)
    case = make_case(config, time=1)
    layer = jax_layer(case)
    (rnn,) = flax_twin(layer, projected)
    state = state_of(case, {name: jnp.asarray(a) for name, a in case.tensors.items()})
    carry = jax.tree.map(lambda part: part[0], state)
    x = jnp.asarray(case.tensors["x"])[0]
    expected = layer(x[None], state)
    moved, output = rnn.cell(carry, x)
    check_same((output[None], jax.tree.map(lambda part: part[None], moved)), expected)
    one, first = rnn.cell(jax.tree.map(lambda part: part[1], carry), x[1])
    check_same((one, first), (jax.tree.map(lambda part: part[1], moved), output[1]))
    deep, out = rnn.cell(jax.tree.map(lambda part: part[None], carry), x[None])
    check_same((jax.tree.map(lambda part: part[0], deep), out[0]), (moved, output))


def test_a_cell_makes_its_carry() -> None:
    cell = rnn_jax.LSTMCell(3, 4, proj_size=2, rngs=nnx.Rngs(0))
    h, c = cell.initialize_carry((5, 7, 3))
    assert (h.shape, c.shape, h.dtype) == ((5, 7, 2), (5, 7, 4), jnp.float32)
    assert not h.any()
    assert not c.any()
    ones = nnx.initializers.ones
    h, c = cell.initialize_carry((3,), nnx.Rngs(0), ones)
    assert (h.tolist(), c.tolist()) == ([1, 1], [1, 1, 1, 1])
    gru = rnn_jax.GRUCell(3, 4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert gru.initialize_carry((2, 3)).dtype == jnp.bfloat16
    assert cell.num_feature_axes == 1
    with pytest.raises(ValueError, match="expected rngs"):
        cell.initialize_carry((3,), None, ones)


def test_a_layer_trains_in_an_nnx_model() -> None:
    """With nnx.Optimizer, in a model of its own: the loss falls."""
    import optax

    class Model(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.rnn = rnn_jax.GRU(1, 8, num_layers=2, dropout=0.1, batch_first=True, rngs=rngs)
            self.head = nnx.Linear(8, 1, rngs=rngs)

        def __call__(self, x: jax.Array, lengths: jax.Array) -> jax.Array:
            _, h = self.rnn(x, lengths=lengths)
            return self.head(h[-1])

    x = randn(32, 6, 1, dtype=jnp.float32)
    lengths = jnp.asarray(np.random.default_rng(0).integers(1, 7, 32))
    targets = jnp.where((jnp.arange(6) < lengths[:, None])[..., None], x, 0).sum(1)

    def loss(model: Model) -> jax.Array:
        return jnp.mean(jnp.square(model(x, lengths) - targets))

    model = Model(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(0.02), wrt=nnx.Param)

    @nnx.jit
    def step(model: Model, optimizer: nnx.Optimizer) -> jax.Array:
        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return value

    losses = [float(step(model, optimizer)) for _ in range(150)]
    assert losses[-1] < 0.2 * losses[0], (losses[0], losses[-1])
