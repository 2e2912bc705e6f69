"""rnn_jax.RNN, LSTM and GRU as a user calls them. The numbers of whole batches are compared with
torch.nn's in `test_layers.py`."""

import inspect
import itertools
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
from shared.protocol import LayerConfig
from tests.support.compare_arrays import check_all_close
from tests.support.jax_cases import NAMES, STACKED, check_same, initial, make, randn, scalar
from tests.support.layer_cases import LENGTHS, jax_layer, make_case, run_jax
from tests.support.pairwise import slow_but


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_those_of_torch_and_then_those_of_flax(name: str) -> None:
    theirs = inspect.signature(getattr(rnn_torch, name).__init__).parameters
    ours = inspect.signature(getattr(rnn_jax, name).__init__).parameters
    positional = [p for p in ours.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [(p.name, p.default) for p in positional] == [
        (p.name, p.default)
        for p in theirs.values()
        if p.name not in ("device", "dtype") and p.kind is not p.KEYWORD_ONLY
    ]
    keywords = [p.name for p in ours.values() if p.kind is p.KEYWORD_ONLY]
    refused = [] if name == "LSTM" else ["proj_size"]
    assert keywords == ["device", "dtype", "param_dtype", "autodiff", "rngs", *refused]


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


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rngs": 0}, "LSTM: expected rngs to be flax.nnx.Rngs, got int"),
        ({"dtype": jnp.complex64}, "^dtype: expected one of real numbers"),
        ({"param_dtype": jnp.int32}, "^param_dtype: expected one of real numbers"),
    ],
)
def test_bad_arguments_of_flax(arguments: dict[str, Any], message: str) -> None:
    for kind in ("LSTM", "LSTMCell"):
        with pytest.raises(TypeError, match=message):
            make(kind, 3, 4, **arguments)


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
    params = jax.tree.leaves(nnx.state(layer))
    assert {param.devices() == {device} for param in params} == {True}
    assert all(param.committed for param in params)


def test_loaded_parameters_are_bound_to_no_device() -> None:
    """Else a compiled step, whose results would be bound, is compiled twice."""
    layer = rnn_jax.from_torch(torch.nn.GRU(3, 4))
    layer.load_state_dict(layer.state_dict())
    assert not any(param.committed for param in jax.tree.leaves(nnx.state(layer)))


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


FILLINGS = np.nan, np.inf, 1e300


@pytest.mark.parametrize(
    ("name", "filling"),
    slow_but(itertools.product(NAMES, FILLINGS), [*zip(NAMES, FILLINGS, strict=True)]),
)
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


@pytest.mark.parametrize(
    ("name", "steps"),  # gradients go back in chunks of 10
    slow_but(itertools.product(NAMES, [5, 20, 25]), [*zip(NAMES, [25, 20, 5], strict=True)]),
)
def test_an_empty_batch(name: str, steps: int) -> None:
    layer, x = make(name, 3, 4, **STACKED), jnp.zeros((0, steps, 3))
    output, state = layer(x)
    assert output.shape == (0, steps, 8)
    assert {part.shape for part in jax.tree.leaves(state)} == {(4, 0, 4)}
    gradients, d_x = nnx.grad(lambda layer, x: scalar(layer(x)), argnums=(0, 1))(layer, x)
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradients))
    assert d_x.shape == x.shape


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


@pytest.mark.usefixtures("unchecked")
def test_a_learned_initial_state() -> None:
    """A Param as state, as Flax's modules take them; it has a gradient."""

    class Model(nnx.Module):
        def __init__(self) -> None:
            self.rnn = make("GRU", 3, 4)
            self.h0 = nnx.Param(randn(1, 2, 4))

        def __call__(self, x: jax.Array) -> Any:
            return self.rnn(x, self.h0)

    model, x = Model(), randn(5, 2, 3)
    check_same(model(x), model.rnn(x, model.h0[...]))
    gradients = nnx.grad(lambda model: scalar(model(x)))(model)
    assert np.abs(gradients["h0"][...]).min() > 0


# State dicts ----------------------------------------------------------------------------------


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


def test_a_state_dict_is_loaded_whatever_holds_the_values() -> None:
    """Parameters restored as NumPy arrays, and those of a layer that has shapes alone."""
    new = make("GRU", 3, 4, rngs=nnx.Rngs(1)).state_dict()
    restored = make("GRU", 3, 4)
    restored.bias_hh_l0.set_value(np.zeros(12))
    abstract = nnx.eval_shape(lambda: make("GRU", 3, 4))
    for layer in (restored, abstract):
        layer.load_state_dict(new)
        check_all_close(layer.state_dict(), new, relative=1e-15)
        assert isinstance(layer.bias_hh_l0.get_value(), jax.Array)


@pytest.mark.filterwarnings("error")
def test_a_value_too_large_for_the_dtype_leaves_the_layer_as_it_was() -> None:
    layer = make("GRU", 3, 4, param_dtype=jnp.float32)
    before = layer.state_dict()
    new = make("GRU", 3, 4, rngs=nnx.Rngs(1)).state_dict()
    new["bias_hh_l0"] = np.full(12, 1e300)
    with pytest.raises(RuntimeWarning, match="overflow"):
        layer.load_state_dict(new)
    check_all_close(layer.state_dict(), before, relative=1e-15)


def test_a_gradient_of_a_case_uses_every_tensor() -> None:
    """`run_jax` would not see a parameter that the layer ignores: its gradient would be zero."""
    case = make_case(LayerConfig("gru", 3, 4, 2, bidirectional=True), LENGTHS["ragged"])
    _, gradients = run_jax(case, jax_layer(case))
    for name, gradient in gradients.items():
        assert gradient.any(), name
