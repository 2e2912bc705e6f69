"""Layers pass between torch, this project's two packages and Flax: every value, or a refusal that
names the tensor and the reason."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnn_jax
import rnn_torch
from rnn_torch.exchange import to_numpy
from shared.errors import InvalidInput
from shared.layer import LayerConfig
from tests.compare_arrays import check_all_close, check_close

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNN": ("RNN", {}),
    "RNN relu": ("RNN", {"nonlinearity": "relu"}),
    "LSTM": ("LSTM", {}),
    "LSTM projected": ("LSTM", {"proj_size": 2}),
    "GRU": ("GRU", {}),
    "GRU without bias": ("GRU", {"bias": False}),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    kind: {"cell": name.lower(), "input_size": 3, "hidden_size": 4} | options
    for kind, (name, options) in KINDS.items()
}
STACKED: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "batch_first": True}
CELLS: dict[str, Callable[..., nnx.RNNCellBase]] = {
    "SimpleCell tanh": lambda i, h, **o: nnx.SimpleCell(i, h, dtype=jnp.float64, **o),
    "SimpleCell relu": lambda i, h, **o: nnx.SimpleCell(
        i, h, dtype=jnp.float64, activation_fn=nnx.relu, **o
    ),
    "LSTMCell": nnx.LSTMCell,
    "OptimizedLSTMCell": nnx.OptimizedLSTMCell,
    "GRUCell": nnx.GRUCell,
}


def torch_layer(kind: str, **options: Any) -> Any:
    name, arguments = KINDS[kind]
    torch.manual_seed(3)
    options = {"dtype": torch.float64} | arguments | options
    return getattr(nn, name)(3, 4, **options)


def flax_cell(cell: str, inputs: int = 3, seed: int = 0, bias: bool = True) -> Any:
    """Values that are not zero, as Flax's biases would be."""
    made = CELLS[cell](inputs, 4, param_dtype=jnp.float64, rngs=nnx.Rngs(seed))
    rng = np.random.default_rng(seed)
    for path, param in nnx.to_flat_state(nnx.state(made, nnx.Param)):
        values = rng.uniform(-0.6, 0.6, param.shape)
        if path[-1] == "bias" and not bias:
            values = np.zeros(param.shape)
        owner: Any = made
        for step in path:
            owner = getattr(owner, str(step))
        owner[...] = jnp.asarray(values)
    return made


def randn(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape)


def values(module: Any) -> dict[str, np.ndarray]:
    """All parameters by name, with their bits: bfloat16, which NumPy lacks, as integers."""
    if isinstance(module, nn.Module):
        found = {name: to_numpy(t) for name, t in module.state_dict().items()}
    else:
        found = module.state_dict()
    return {name: array.view(f"i{array.itemsize}") for name, array in found.items()}


def check_bits(actual: Any, expected: Any) -> None:
    mine, theirs = values(actual), values(expected)
    assert list(mine) == list(theirs)
    for name, bits in theirs.items():
        assert bits.any(), f"{name}: all zero"
        assert mine[name].dtype == bits.dtype, name
        assert np.array_equal(mine[name], bits), name


# torch ↔ JAX ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_from_torch_to_jax_and_back_bit_for_bit(kind: str, dtype: torch.dtype) -> None:
    theirs = torch_layer(kind, dtype=dtype, dropout=0.25, **STACKED)
    twin = rnn_jax.from_torch(theirs)
    back = rnn_torch.from_flax(twin)
    check_bits(twin, theirs)
    check_bits(back, theirs)
    again = getattr(nn, type(theirs).__name__)(3, 4, **KINDS[kind][1], dtype=dtype, **STACKED)
    again.load_state_dict(back.state_dict(), strict=True)
    check_bits(again, theirs)
    check_bits(rnn_jax.from_torch(back), theirs)
    assert (
        twin.layer_config
        == back.layer_config
        == LayerConfig(**ARGUMENTS[kind], dropout=0.25, **STACKED)
    )
    assert str(twin.param_dtype) in str(dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_the_twin_computes_the_same(kind: str) -> None:
    theirs = torch_layer(kind, **STACKED)
    x, lengths = randn(3, 5, 3), [3, 5, 2]
    packed = pack_padded_sequence(torch.tensor(x), torch.tensor(lengths), True, False)
    output, state = theirs(packed)
    padded, _ = pad_packed_sequence(output, batch_first=True)
    ours, final = rnn_jax.from_torch(theirs)(x, lengths=jnp.asarray(lengths))
    check_close(np.asarray(ours), padded.detach().numpy(), relative=1e-10, what="output")
    expected = {str(i): t.detach().numpy() for i, t in enumerate(_parts(state))}
    check_all_close(
        {str(i): np.asarray(a) for i, a in enumerate(_parts(final))}, expected, relative=1e-10
    )


def _parts(state: Any) -> tuple[Any, ...]:
    return state if isinstance(state, tuple) else (state,)


def test_twins_share_no_memory() -> None:
    theirs = torch_layer("GRU")
    twin = rnn_jax.from_torch(theirs)
    back = rnn_torch.from_flax(twin)
    kept = values(back)
    with torch.no_grad():
        theirs.weight_hh_l0.mul_(2)
        back.get_parameter("weight_ih_l0").add_(1)
    check_close(
        twin.state_dict()["weight_hh_l0"],
        theirs.weight_hh_l0.detach().numpy() / 2,
        relative=1e-15,
        what="twin",
    )
    assert np.array_equal(values(twin)["weight_ih_l0"], kept["weight_ih_l0"])


@pytest.mark.parametrize("training", [True, False])
def test_training_or_evaluation_is_kept(training: bool) -> None:
    theirs = torch_layer("LSTM", num_layers=2, dropout=0.5).train(training)
    twin = rnn_jax.from_torch(theirs, rngs=nnx.Rngs(0))
    assert rnn_torch.from_flax(twin).training is training
    x = randn(5, 2, 3)
    first, second = twin(x)[0], twin(x)[0]
    assert np.array_equal(first, second) is not training


def test_dropout_without_keys_asks_for_them() -> None:
    twin = rnn_jax.from_torch(torch_layer("LSTM", num_layers=2, dropout=0.5))
    x = randn(5, 2, 3)
    with pytest.raises(ValueError, match="rngs"):
        twin(x)
    assert not np.array_equal(twin(x, rngs=nnx.Rngs(dropout=0))[0], twin(x, deterministic=True)[0])


def test_a_reparametrized_layer_gives_the_weights_it_computes_with() -> None:
    theirs = torch_layer("GRU")
    nn.utils.parametrizations.weight_norm(theirs, "weight_hh_l0")
    with torch.no_grad():
        theirs.parametrizations.weight_hh_l0.original0.mul_(1.5)
    x = randn(5, 2, 3)
    ours, _ = rnn_jax.from_torch(theirs)(x)
    output, _ = theirs(torch.tensor(x))
    check_close(np.asarray(ours), output.detach().numpy(), relative=1e-10, what="output")


def test_what_computes_in_a_method_of_its_own() -> None:
    """A subclass with the same computation passes; one with another is not taken for it."""

    class Named(nn.LSTM):
        """Without a forward of its own."""

    class Scaled(nn.LSTM):
        def forward(self, *arguments: Any) -> Any:
            return super().forward(*arguments)[0] * 5

    class ScaledTwin(rnn_jax.GRU):
        def __call__(self, x: Any) -> Any:  # pyright: ignore
            return super().__call__(x)[0] * 5

    class ScaledCell(rnn_jax.GRUCell):
        def __call__(self, carry: Any, inputs: Any) -> Any:
            h, output = super().__call__(carry, inputs)
            return h, output * 5

    class ScaledRNN(nnx.RNN):
        def __call__(self, *arguments: Any, **options: Any) -> Any:
            return super().__call__(*arguments, **options) * 5

    twin = rnn_jax.from_torch(Named(3, 4))
    assert twin.layer_config == LayerConfig("lstm", 3, 4)
    with pytest.raises(TypeError, match=r"expected LSTM or a subclass .*Scaled with a forward"):
        rnn_jax.from_torch(Scaled(3, 4))
    rngs = nnx.Rngs(0)
    for module in (
        ScaledTwin(3, 4, rngs=rngs),
        nnx.RNN(ScaledCell(3, 4, rngs=rngs)),
        ScaledRNN(rnn_jax.GRUCell(3, 4, rngs=rngs)),
    ):
        for convert in (rnn_jax.from_flax, rnn_torch.from_flax):
            with pytest.raises(TypeError, match=r"a subclass that computes the same, got .*Scaled"):
                convert(module)


def test_the_dtype_of_the_computation() -> None:
    """Flax and rnn_jax keep it; torch's layers have none of their own."""
    half = rnn_jax.LSTM(3, 4, bias=False, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    made = rnn_jax.to_flax(half)
    for layer in (rnn_jax.from_flax(half), rnn_jax.from_flax(made)):
        assert (layer.dtype, layer.param_dtype) == (jnp.bfloat16, jnp.float32)
    message = "dtype: expected a layer that computes in float32 .* got one .* in bfloat16"
    for module in (half, made):
        with pytest.raises(InvalidInput, match=message):
            rnn_torch.from_flax(module)
    half.dtype = None
    check_bits(rnn_torch.from_flax(half), half)
    mixed = [
        nnx.RNN(rnn_jax.GRUCell(i, 4, dtype=dtype, rngs=nnx.Rngs(0)))
        for i, dtype in ((3, jnp.bfloat16), (4, None))
    ]
    with pytest.raises(InvalidInput, match="dtype: expected the same in all cells"):
        rnn_jax.from_flax(mixed)


def test_nothing_is_drawn_and_no_warning_given() -> None:
    with warnings.catch_warnings(action="ignore"):
        theirs = torch_layer("GRU", dropout=0.5)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with warnings.catch_warnings(action="error"):  # torch has said that it drops nothing
        twin = rnn_jax.from_torch(theirs)
        back = rnn_torch.from_flax(twin)
    assert torch.equal(torch.rand(3), expected)
    assert (twin.dropout, back.dropout) == (0.5, 0.5)
    check_bits(back, theirs)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_layer() -> None:
    with pytest.raises(TypeError, match=r"expected a torch.nn.RNN, LSTM or GRU.* got .*Linear"):
        rnn_jax.from_torch(nn.Linear(3, 4))
    with pytest.raises(TypeError, match=r"got torch.nn.modules.rnn.LSTMCell"):
        rnn_jax.from_torch(nn.LSTMCell(3, 4))
    for convert in (rnn_jax.from_flax, rnn_torch.from_flax):
        with pytest.raises(TypeError, match=r"expected flax.nnx.RNN or .* got flax.*Linear"):
            convert(nnx.Linear(3, 4, rngs=nnx.Rngs(0)))  # pyright: ignore[reportArgumentType]
        with pytest.raises(InvalidInput, match="at least one layer"):
            convert([])


def test_parameters_of_two_dtypes() -> None:
    theirs = torch_layer("GRU")
    theirs.bias_hh_l0 = nn.Parameter(theirs.bias_hh_l0.float())
    with pytest.raises(InvalidInput, match=r"one dtype, got float32 \(bias_hh_l0\), float64 \("):
        rnn_jax.from_torch(theirs)


def test_float64_where_jax_has_none() -> None:
    theirs = torch_layer("GRU")
    with jax.enable_x64(False):
        with pytest.raises(InvalidInput, match=r"weight_ih_l0: .*float64.*jax_enable_x64"):
            rnn_jax.from_torch(theirs)
        check_bits(rnn_jax.from_torch(theirs.float()), theirs)


# Flax's own cells -----------------------------------------------------------------------------


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
