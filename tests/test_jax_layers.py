"""rnn_jax.RNN, LSTM and GRU under JAX's transformations and in Flax's hands: everything but the
numbers of whole batches, which `test_layers.py` compares with torch.nn."""

import inspect
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
from rnn_jax.stack import Recurrent
from shared.errors import InvalidInput
from shared.layer import Cell, LayerConfig, Nonlinearity
from tests.compare_arrays import check_all_close, check_close
from tests.layer_cases import LENGTHS, jax_layer, make_case, named, run_jax, state_of

NAMES = ["RNN", "LSTM", "GRU"]
STACKED: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "batch_first": True}
CELLS: dict[str, tuple[Cell, Nonlinearity, int]] = {
    "RNN": ("rnn", "tanh", 0),
    "RNN relu": ("rnn", "relu", 0),
    "LSTM": ("lstm", "tanh", 0),
    "LSTM projected": ("lstm", "tanh", 2),
    "GRU": ("gru", "tanh", 0),
}


def make(name: str, *args: Any, **options: Any) -> Any:
    options = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)} | options
    return getattr(rnn_jax, name)(*args, **options)


def randn(*shape: int, dtype: Any = jnp.float64) -> jax.Array:
    return jax.random.normal(jax.random.key(len(shape)), shape, jnp.float64).astype(dtype)


def initial(name: str, *shape: int) -> Any:
    return (randn(*shape), 2 * randn(*shape)) if name == "LSTM" else randn(*shape)


def arrays(tree: Any) -> dict[str, np.ndarray]:
    """Every array of a tree by its path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def check_same(actual: Any, expected: Any, relative: float = 1e-10) -> None:
    check_all_close(arrays(actual), arrays(expected), relative=relative)


def scalar(result: Any) -> jax.Array:
    """A number that every output and final state moves, differently."""
    leaves = jax.tree.leaves(result)
    return jnp.stack([jnp.sum(jnp.sin((i + 1) * leaf)) for i, leaf in enumerate(leaves)]).sum()


# Arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_those_of_torch_and_then_those_of_flax(name: str) -> None:
    theirs = inspect.signature(getattr(rnn_torch, name).__init__).parameters
    ours = inspect.signature(getattr(rnn_jax, name).__init__).parameters
    positional = [p for p in ours.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [(p.name, p.default) for p in positional] == [
        (p.name, p.default) for p in theirs.values() if p.name not in ("device", "dtype")
    ]
    keywords = [p.name for p in ours.values() if p.kind is p.KEYWORD_ONLY]
    assert keywords == ["device", "dtype", "param_dtype", "rngs"]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"dropout": 1.5}, ValueError),
        ({"bias": 1}, TypeError),
        ({"input_size": 2.0}, TypeError),
        ({"num_layers": 0}, ValueError),
        ({"proj_size": 4}, ValueError),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type) -> None:
    (argument,) = arguments
    with pytest.raises(error, match=f"{argument}: expected .*, got"):
        make("LSTM", **({"input_size": 3, "hidden_size": 4} | arguments))


@pytest.mark.parametrize("name", NAMES)
def test_initial_values_are_uniform_as_in_torch(name: str) -> None:
    layer = make(name, 30, 25)
    other = make(name, 30, 25, rngs=nnx.Rngs(1))
    again = make(name, 30, 25)
    for key, array in layer.state_dict().items():
        assert 0.15 < array.max() <= 0.2, key  # 1/√25
        assert -0.2 <= array.min() < -0.15, key
        assert not np.array_equal(array, other.state_dict()[key]), key
        assert np.array_equal(array, again.state_dict()[key]), key


def test_a_device_for_the_parameters() -> None:
    device = jax.devices("cpu")[0]
    layer = make("GRU", 3, 4, device=device)
    layer.load_state_dict(layer.state_dict())
    assert {param.devices() == {device} for param in jax.tree.leaves(nnx.state(layer))} == {True}


# Transformations ------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [None, [2, 5, 3]])
@pytest.mark.parametrize("name", NAMES)
def test_jit_in_both_forms(name: str, lengths: list[int] | None) -> None:
    layer, x = make(name, 3, 4, **STACKED), randn(3, 5, 3)
    found = None if lengths is None else jnp.asarray(lengths)
    expected = layer(x, lengths=found)

    graph, params = nnx.split(layer)
    functional = jax.jit(lambda params, x, lengths: nnx.merge(graph, params)(x, lengths=lengths))
    check_same(functional(params, x, found), expected)
    check_same(nnx.jit(lambda layer, x, n: layer(x, lengths=n))(layer, x, found), expected)
    given = jnp.asarray([1, 1, 1]) if lengths is None else None  # without a new compilation error
    check_same(functional(params, x, given), layer(x, lengths=given))


@pytest.mark.parametrize("lengths", [None, [2, 5, 3]])
@pytest.mark.parametrize("name", NAMES)
def test_vmap_over_sequences(name: str, lengths: list[int] | None) -> None:
    """Sequences without a batch, mapped, are the batch; their lengths are traced."""
    layer, x = make(name, 3, 4, **STACKED), randn(3, 5, 3)
    if lengths is None:
        mapped = jax.vmap(layer, out_axes=(0, 1))(x)
        check_same(mapped, layer(x))
    else:
        found = jnp.asarray(lengths)
        mapped = jax.vmap(lambda x, n: layer(x, lengths=n), out_axes=(0, 1))(x, found)
        check_same(mapped, layer(x, lengths=found))


@pytest.mark.parametrize("name", NAMES)
def test_vmap_over_parameters(name: str) -> None:
    """An ensemble in one call is its members one by one, also in its gradients."""
    members = [make(name, 3, 4, rngs=nnx.Rngs(seed), **STACKED) for seed in range(3)]
    graph = nnx.graphdef(members[0])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(nnx.state, members))
    x = randn(2, 5, 3)

    def loss(params: Any) -> jax.Array:
        return scalar(nnx.merge(graph, params)(x))

    derive = jax.value_and_grad(loss)
    values, gradients = jax.jit(jax.vmap(derive))(stacked)
    for i, member in enumerate(members):
        value, gradient = jax.jit(derive)(nnx.state(member))
        check_close(values[i], value, relative=1e-10, what=f"loss of {i}")
        check_same(jax.tree.map(lambda leaf, i=i: leaf[i], gradients), gradient)


def test_an_ensemble_is_made_by_nnx_vmap() -> None:
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def members(rngs: nnx.Rngs) -> Any:
        return rnn_jax.LSTM(3, 4, num_layers=2, dropout=0.5, param_dtype=jnp.float64, rngs=rngs)

    layers = members(nnx.Rngs(0))
    assert layers.weight_ih_l1.shape == (3, 16, 4)
    output, (h, c) = nnx.vmap(lambda layer, x: layer(x), in_axes=(0, None))(layers, randn(5, 2, 3))
    assert (output.shape, h.shape, c.shape) == ((3, 5, 2, 4), (3, 2, 2, 4), (3, 2, 2, 4))
    assert not np.allclose(output[0], output[1])


@pytest.mark.parametrize(
    ("name", "lengths"), [*((name, [2, 5, 3]) for name in NAMES), ("LSTM", None)]
)
def test_forward_and_reverse_derivatives_agree(name: str, lengths: list[int] | None) -> None:
    layer = make(name, 2, 3, bidirectional=True, batch_first=True)
    x, found = randn(3, 5, 2), None if lengths is None else jnp.asarray(lengths)
    graph, params = nnx.split(layer)

    def loss(params: Any, x: jax.Array) -> jax.Array:
        return scalar(nnx.merge(graph, params)(x, lengths=found))

    reverse = jax.jit(jax.jacrev(loss, argnums=(0, 1)))(params, x)
    check_same(jax.jit(jax.jacfwd(loss, argnums=(0, 1)))(params, x), reverse)
    tangents = jax.tree.map(lambda leaf: jnp.cos(leaf), (params, x))
    _, along = jax.jvp(loss, (params, x), tangents)
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), reverse, tangents)
    expected = np.sum(jax.tree.leaves(products))
    check_close(np.asarray(along), expected, relative=1e-10, what="jvp")

    def along_reverse(x: jax.Array) -> jax.Array:  # a gradient of a gradient, in two ways
        return jnp.sum(jax.grad(loss, argnums=1)(params, x) * tangents[1])

    def along_forward(x: jax.Array) -> jax.Array:
        return jax.jvp(lambda x: loss(params, x), (x,), (tangents[1],))[1]

    check_same(jax.jit(jax.grad(along_reverse))(x), jax.jit(jax.grad(along_forward))(x))


@pytest.mark.parametrize("name", NAMES)
def test_checkpoint_and_remat_change_nothing(name: str) -> None:
    layer, x = make(name, 3, 4, **STACKED), randn(2, 5, 3)
    graph, params = nnx.split(layer)

    def loss(params: Any) -> jax.Array:
        return scalar(nnx.merge(graph, params)(x))

    expected = jax.jit(jax.grad(loss))(params)
    check_same(jax.jit(jax.grad(jax.checkpoint(loss)))(params), expected)
    by_nnx = nnx.jit(nnx.grad(nnx.remat(lambda layer, x: scalar(layer(x)))))(layer, x)
    check_same(by_nnx, expected)


# Calls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_one_sequence_without_a_batch(name: str) -> None:
    """With a state and a length too: as a batch of one."""
    layer, x, state = make(name, 3, 4, **STACKED), randn(5, 3), initial(name, 4, 4)
    batched = jax.tree.map(lambda part: part[:, None], state)
    for length in (None, 5, 3):
        many = None if length is None else jnp.asarray([length])
        one = None if length is None else jnp.asarray(length)
        output, final = layer(x[None], batched, lengths=many)
        expected = output[0], jax.tree.map(lambda part: part[:, 0], final)
        check_same(layer(x, state, lengths=one), expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_left_out_is_zero(name: str) -> None:
    layer, x = make(name, 3, 4, **STACKED), randn(2, 5, 3)
    zeros = jax.tree.map(jnp.zeros_like, initial(name, 4, 2, 4))
    check_same(layer(x), layer(x, zeros))
    assert not np.allclose(layer(x)[0], layer(x, initial(name, 4, 2, 4))[0])


@pytest.mark.parametrize("name", NAMES)
def test_numpy_arrays_and_lists_of_lengths(name: str) -> None:
    layer, x = make(name, 3, 4, **STACKED), randn(2, 5, 3)
    lengths = np.asarray([4, 2])
    check_same(layer(np.asarray(x), lengths=lengths), layer(x, lengths=jnp.asarray([4, 2])))
    check_same(layer(x, lengths=lengths.astype(np.int8)), layer(x, lengths=lengths))


@pytest.mark.parametrize("name", NAMES)
def test_lengths_of_all_steps_are_no_lengths(name: str) -> None:
    layer, x, state = make(name, 3, 4, **STACKED), randn(2, 5, 3), initial(name, 4, 2, 4)
    check_same(layer(x, state, lengths=jnp.asarray([5, 5])), layer(x, state))


@pytest.mark.parametrize("filling", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_the_padding_does_not_matter(name: str, filling: float) -> None:
    layer, x, lengths = make(name, 3, 4, **STACKED), randn(3, 5, 3), jnp.asarray([2, 5, 3])
    within = (jnp.arange(5) < lengths[:, None])[..., None]
    filled = jnp.where(within, x, filling)

    def loss(layer: Any, x: jax.Array) -> jax.Array:
        return scalar(layer(x, lengths=lengths))

    check_same(layer(filled, lengths=lengths), layer(x, lengths=lengths))
    derive = nnx.jit(nnx.grad(loss, argnums=(0, 1)))
    weights, inputs = derive(layer, filled)
    expected, at_inputs = derive(layer, x)
    check_same(weights, expected)
    check_same(inputs, at_inputs)
    assert not np.where(within, 0, inputs).any()


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch(name: str) -> None:
    output, state = make(name, 3, 4, **STACKED)(jnp.zeros((0, 5, 3)))
    assert output.shape == (0, 5, 8)
    assert {part.shape for part in jax.tree.leaves(state)} == {(4, 0, 4)}


@pytest.mark.parametrize("name", NAMES)
def test_dtypes(name: str) -> None:
    """param_dtype is that of the parameters, dtype that of the computation."""
    half, single, double = jnp.bfloat16, jnp.float32, jnp.float64
    for param_dtype, dtype, x_dtype, expected in [
        (half, None, half, half),
        (single, None, half, single),  # promoted
        (single, half, single, half),
    ]:
        layer = make(name, 3, 4, param_dtype=param_dtype, dtype=dtype)
        x = randn(5, 2, 3, dtype=x_dtype)
        output, state = layer(x)
        assert {part.dtype for part in jax.tree.leaves((output, state))} == {jnp.dtype(expected)}
        gradients = nnx.jit(nnx.grad(lambda layer, x: scalar(layer(x)).astype(single)))(layer, x)
        assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype(param_dtype)}
        exact = make(name, 3, 4)
        exact.load_state_dict(layer.state_dict())
        rounding = 8 * max(jnp.finfo(expected).eps, jnp.finfo(x_dtype).eps)
        found = jax.tree.map(lambda part: part.astype(double), (output, state))
        check_same(found, exact(x.astype(double)), relative=float(rounding))


# Dropout --------------------------------------------------------------------------------------


def test_dropout_is_inverted_and_between_layers_only() -> None:
    """With half of the units dropped, the rest doubled: the mean over many masks is the layer's
    without dropout, as far as the second layer is linear (ReLU with large biases)."""
    layer = make("RNN", 3, 400, 2, "relu", dropout=0.5)
    one = make("RNN", 3, 400, 1, "relu")
    one.load_state_dict({k: v for k, v in layer.state_dict().items() if k.endswith("_l0")})
    x = randn(1, 1, 3)
    below, _ = one(x)
    # The second layer passes its input on as it is.
    size = np.eye(400)
    layer.weight_ih_l1[...], layer.weight_hh_l1[...] = jnp.asarray(size), jnp.zeros_like(size)
    layer.bias_ih_l1[...], layer.bias_hh_l1[...] = jnp.zeros(400), jnp.zeros(400)
    output, _ = layer(x)
    active = np.asarray(below[0, 0] > 0)
    factors = np.asarray(output[0, 0])[active] / np.asarray(below[0, 0])[active]
    assert set(np.round(factors, 9)) == {0.0, 2.0}
    assert 0.35 < (factors > 0).mean() < 0.65
    check_same(layer(x, deterministic=True)[0], below)


@pytest.mark.parametrize("name", NAMES)
def test_when_dropout_drops(name: str) -> None:
    layer, x = make(name, 3, 4, dropout=0.5, **STACKED), randn(2, 5, 3)
    plain = make(name, 3, 4, **STACKED)
    plain.load_state_dict(layer.state_dict())
    expected = plain(x)

    first, second = layer(x), layer(x)
    assert not np.allclose(first[0], second[0])
    check_same(layer(x, deterministic=True), expected)
    layer.eval()
    check_same(layer(x), expected)
    assert not np.allclose(layer(x, deterministic=False)[0], expected[0])
    layer.train()
    assert not np.allclose(layer(x)[0], expected[0])


@pytest.mark.parametrize("name", NAMES)
def test_dropout_repeats_with_its_keys(name: str) -> None:
    x = randn(2, 5, 3)
    layers = [make(name, 3, 4, dropout=0.5, rngs=nnx.Rngs(3), **STACKED) for _ in range(2)]
    check_same(layers[0](x), layers[1](x))
    key = nnx.Rngs(dropout=5)
    first = layers[0](x, rngs=key)
    check_same(layers[0](x, rngs=nnx.Rngs(dropout=5)), first)
    assert not np.allclose(layers[0](x, rngs=key)[0], first[0])  # the stream has moved on
    call = nnx.jit(lambda layer, x: layer(x))
    assert not np.allclose(call(layers[0], x)[0], call(layers[0], x)[0])


@pytest.mark.parametrize("name", NAMES)
def test_dropout_of_everything_leaves_the_biases(name: str) -> None:
    layer, x = make(name, 3, 4, num_layers=2, dropout=1.0), randn(5, 2, 3)
    output, _ = layer(x)
    assert np.isfinite(output).all()
    check_same(layer(2 * x)[0], output)


def test_masks_take_the_place_of_dropout() -> None:
    layer, x = make("LSTM", 3, 4, dropout=0.5, **STACKED), randn(2, 5, 3)
    masks = jnp.asarray(np.random.default_rng(0).integers(0, 2, (1, 2, 5, 8)) / 0.5)
    output, _ = layer(x, masks=masks)
    check_same(layer(x, masks=masks)[0], output)
    assert not np.allclose(output, layer(x, deterministic=True)[0])
    check_same(layer(x[0], masks=masks[:, 0])[0], output[0])
    layer.batch_first = False
    swapped, _ = layer(jnp.swapaxes(x, 0, 1), masks=jnp.swapaxes(masks, 1, 2))
    check_same(jnp.swapaxes(swapped, 0, 1), output)


# In Flax's hands ------------------------------------------------------------------------------


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


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("batch_first", [False, True], ids=["time first", "batch first"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both directions"])
@pytest.mark.parametrize("cell", CELLS)
def test_flax_rnn_over_our_cells_is_the_layer(
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


# Bad input ------------------------------------------------------------------------------------

BAD_CALLS: dict[str, tuple[Callable[[Any, Any], Any], type, str]] = {
    "1-D input": (lambda layer, hx: layer(randn(3)), ValueError, "2-D or 3-D"),
    "4-D input": (lambda layer, hx: layer(randn(2, 5, 3, 1)), ValueError, "2-D or 3-D"),
    "features": (lambda layer, hx: layer(randn(5, 2, 7)), RuntimeError, "input_size 3"),
    "no steps": (lambda layer, hx: layer(randn(0, 2, 3)), RuntimeError, "one time step"),
    "integers": (lambda layer, hx: layer(jnp.ones((5, 2, 3), int)), ValueError, "real numbers"),
    "complex": (lambda layer, hx: layer(1j * randn(5, 2, 3)), ValueError, "real numbers"),
    "state without layers": (
        lambda layer, hx: layer(randn(5, 2, 3), hx(1, 2, 4)),
        RuntimeError,
        r"\(4, 2, 4\), got \(1, 2, 4\)",
    ),
    "state of one direction": (
        lambda layer, hx: layer(randn(5, 2, 3), hx(2, 2, 4)),
        RuntimeError,
        r"\(4, 2, 4\), got \(2, 2, 4\)",
    ),
    "state of another batch": (
        lambda layer, hx: layer(randn(5, 2, 3), hx(4, 3, 4)),
        RuntimeError,
        r"\(4, 2, 4\), got \(4, 3, 4\)",
    ),
    "3-D state for no batch": (
        lambda layer, hx: layer(randn(5, 3), hx(4, 1, 4)),
        RuntimeError,
        r"\(4, 4\), the input|= \(4, 4\)",
    ),
    "length 0": (
        lambda layer, hx: layer(randn(5, 2, 3), lengths=jnp.asarray([3, 0])),
        ValueError,
        "from 1 to 5.* got 0 for sequence 1",
    ),
    "length beyond the input": (
        lambda layer, hx: layer(randn(5, 2, 3), lengths=np.asarray([6, 2])),
        ValueError,
        "from 1 to 5.* got 6 for sequence 0",
    ),
    "lengths that are no integers": (
        lambda layer, hx: layer(randn(5, 2, 3), lengths=jnp.asarray([3.0, 2.0])),
        TypeError,
        "lengths to be integers, got float64",
    ),
    "lengths that are booleans": (
        lambda layer, hx: layer(randn(5, 2, 3), lengths=jnp.asarray([True, True])),
        TypeError,
        "lengths to be integers, got bool",
    ),
    "input of torch": (
        lambda layer, hx: layer(torch.ones(5, 2, 3)),
        TypeError,
        "an array of JAX or NumPy, got torch.Tensor",
    ),
    "input in a list": (lambda layer, hx: layer([[1.0, 2, 3]]), TypeError, "got list"),
    "too few lengths": (
        lambda layer, hx: layer(randn(5, 2, 3), lengths=jnp.asarray([3])),
        ValueError,
        r"lengths of shape \(2,\), got \(1,\)",
    ),
    "lengths for no batch": (
        lambda layer, hx: layer(randn(5, 3), lengths=jnp.asarray([3])),
        ValueError,
        r"lengths of shape \(\), got \(1,\)",
    ),
    "masks": (
        lambda layer, hx: layer(randn(5, 2, 3), masks=randn(1, 5, 2, 4)),
        ValueError,
        r"= \(1, 5, 2, 8\), got \(1, 5, 2, 4\)",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", BAD_CALLS)
@pytest.mark.parametrize("name", NAMES)
def test_bad_calls(name: str, bad: str) -> None:
    layer = make(name, 3, 4, num_layers=2, bidirectional=True)
    call, error, message = BAD_CALLS[bad]
    with pytest.raises(error, match=f"{name}: expected .*{message}"):
        call(layer, lambda *shape: initial(name, *shape))


@pytest.mark.usefixtures("unchecked")
def test_a_state_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match=r"LSTM: expected h_0 to be an array, got list"):
        make("LSTM", 3, 4)(randn(5, 2, 3), ([0.0] * 4, [0.0] * 4))
    with pytest.raises(TypeError, match=r"LSTM: expected a pair \(h_0, c_0\).* got one tensor"):
        make("LSTM", 3, 4)(randn(5, 2, 3), randn(1, 2, 4))
    with pytest.raises(TypeError, match=r"GRU: expected one tensor h_0 .* got 2 in a tuple"):
        make("GRU", 3, 4)(randn(5, 2, 3), (randn(1, 2, 4),) * 2)


@pytest.mark.usefixtures("unchecked")
def test_bad_steps_of_a_cell() -> None:
    lstm = rnn_jax.LSTMCell(3, 4, proj_size=2, rngs=nnx.Rngs(0))
    gru = rnn_jax.GRUCell(3, 4, rngs=nnx.Rngs(0))
    h, c = lstm.initialize_carry((5, 3))
    with pytest.raises(RuntimeError, match=r"LSTMCell: expected inputs of shape \(…, 3\), got"):
        lstm((h, c), jnp.ones((5, 2)))
    with pytest.raises(RuntimeError, match=r"LSTMCell: expected a carry h of shape \(…, 2\), got"):
        lstm((c, h), jnp.ones((5, 3)))  # the order of Flax's own cells
    with pytest.raises(RuntimeError, match=r"GRUCell: expected a carry h of shape \(…, 4\), got"):
        gru(h, jnp.ones((5, 3)))
    with pytest.raises(TypeError, match=r"LSTMCell: expected a pair \(h, c\) as carry, got one"):
        lstm(h, jnp.ones((5, 3)))
    with pytest.raises(
        TypeError, match=r"GRUCell: expected one array h as carry, got 2 in a tuple"
    ):
        gru((h, c), jnp.ones((5, 3)))


@pytest.mark.parametrize("how", ["missing", "unexpected", "shape", "integers", "list"])
def test_a_state_dict_is_loaded_as_a_whole_or_not_at_all(how: str) -> None:
    layer: Recurrent = make("LSTM", 3, 4, num_layers=2)
    before = layer.state_dict()
    tensors = make("LSTM", 3, 4, num_layers=2, rngs=nnx.Rngs(1)).state_dict()
    if how == "missing":
        del tensors["bias_hh_l1"]
    elif how == "unexpected":
        tensors["weight_ih_l2"] = np.ones((16, 4))
    elif how == "shape":
        tensors["weight_hh_l1"] = np.ones((16, 5))
    elif how == "integers":
        tensors["bias_hh_l1"] = np.ones(16, int)
    else:
        tensors["bias_hh_l1"] = [1.0] * 16  # pyright: ignore[reportArgumentType]
    message = {
        "missing": r"missing bias_hh_l1 \(16,\)",
        "unexpected": "unexpected weight_ih_l2",
        "shape": r"weight_hh_l1: expected shape \(16, 4\), got \(16, 5\)",
        "integers": "bias_hh_l1: expected real numbers, got int64",
        "list": "bias_hh_l1: expected an array, got list",
    }[how]
    with pytest.raises(InvalidInput, match=message):
        layer.load_state_dict(tensors)
    for name, array in layer.state_dict().items():
        assert np.array_equal(array, before[name]), name


def test_a_gradient_of_a_case_uses_every_tensor() -> None:
    """`run_jax` would not see a parameter that the layer ignores: its gradient would be zero."""
    case = make_case(LayerConfig("gru", 3, 4, 2, bidirectional=True), LENGTHS["ragged"])
    _, gradients = run_jax(case, jax_layer(case))
    for name, gradient in gradients.items():
        assert gradient.any(), name
