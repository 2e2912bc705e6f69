"""Layers pass between torch and both packages: every value, or a refusal that names the tensor and
the reason."""

import warnings
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
from shared.errors import InvalidInput, NotCarriedOver
from shared.protocol import LayerConfig
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.exchange_cases import (
    ARGUMENTS,
    KINDS,
    STACKED,
    check_bits,
    randn,
    torch_layer,
    values,
)


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
    with pytest.warns(NotCarriedOver, match="weight_hh_l0: computed by WeightNorm"):
        ours, _ = rnn_jax.from_torch(theirs)(x)
    output, _ = theirs(torch.tensor(x))
    check_close(np.asarray(ours), output.detach().numpy(), relative=1e-10, what="output")


def test_what_computes_in_a_method_of_its_own() -> None:
    """A subclass with the same computation passes; one with another is not taken for it."""

    class Named(nn.LSTM):
        """Without a forward of its own."""

    class Scaled(nn.LSTM):
        def forward(self, *arguments: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
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
    converts: list[Any] = [rnn_jax.from_flax, rnn_torch.from_flax]
    for convert in converts:
        with pytest.raises(TypeError, match=r"expected flax.nnx.RNN or .* got flax.*Linear"):
            convert(nnx.Linear(3, 4, rngs=nnx.Rngs(0)))
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
