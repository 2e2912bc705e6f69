"""Cells pass between torch, both packages and Flax: every value, or a refusal by name."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn

import rnn_jax
import rnn_torch
from shared.errors import InvalidInput
from shared.protocol import LayerConfig
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.exchange_cases import (
    CELL_KINDS,
    CELLS,
    check_bits,
    flax_cell,
    randn,
    torch_cell,
    values,
)
from tests.support.jax_cases import arrays, scalar
from tests.support.pairwise import each_by_default


def carries(cell: Any) -> Any:
    """A state that is not zero, in this project's order."""
    h, c = randn(2, cell.layer_config.output_size), 2 * randn(2, 4)
    return (jnp.asarray(h), jnp.asarray(c)) if "lstm" in cell.layer_config.cell else jnp.asarray(h)


def in_torch(carry: Any) -> Any:
    found = tuple(torch.tensor(np.asarray(part)) for part in jax.tree.leaves(carry))
    return found if isinstance(carry, tuple) else found[0]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    each_by_default(CELL_KINDS, [torch.float64, torch.float32, torch.bfloat16]),
)
def test_from_torch_to_jax_and_back_bit_for_bit(kind: str, dtype: torch.dtype) -> None:
    theirs = torch_cell(kind, dtype=dtype)
    twin = rnn_jax.from_torch(theirs)
    back = rnn_torch.from_flax(twin)
    assert (type(twin).__name__, type(back).__name__) == (type(theirs).__name__,) * 2
    for cell in (twin, back, rnn_jax.from_flax(twin), rnn_jax.from_torch(back)):
        check_bits(cell, theirs)
        assert cell.layer_config == twin.layer_config
    theirs.load_state_dict(back.state_dict(), strict=True)
    again = rnn_jax.from_torch(torch_cell(kind, dtype=dtype, seed=1))
    assert not all(np.array_equal(values(again)[n], bits) for n, bits in values(twin).items())
    again.load_state_dict(theirs.state_dict())
    check_bits(again, theirs)


@pytest.mark.parametrize("kind", CELL_KINDS)
def test_the_twin_computes_the_same(kind: str) -> None:
    theirs = torch_cell(kind)
    twin: Any = rnn_jax.from_torch(theirs)
    x = jnp.asarray(randn(2, 3))
    carry = carries(twin)
    after, h = twin(carry, x)
    expected = theirs(torch.tensor(np.asarray(x)), in_torch(carry))
    several = expected if isinstance(expected, tuple) else (expected,)
    check_close(np.asarray(h), several[0].detach().numpy(), relative=1e-12, what="h")
    for i, (one, other) in enumerate(zip(jax.tree.leaves(after), several, strict=True)):
        check_close(np.asarray(one), other.detach().numpy(), relative=1e-12, what=f"carry {i}")


@pytest.mark.parametrize("kind", [*CELL_KINDS, "LSTMCell projected"])
def test_a_loop_of_cells_is_the_layer(kind: str) -> None:
    """Outputs, final state and all gradients, in JAX."""
    cell = rnn_jax.from_torch(torch_cell(kind))
    config = cell.layer_config
    layer = getattr(rnn_jax, config.name)(
        **config.arguments(), param_dtype=jnp.float64, rngs=nnx.Rngs(0)
    )
    layer.load_state_dict({f"{name}_l0": array for name, array in cell.state_dict().items()})
    x = jnp.asarray(randn(5, 2, 3))

    def loop(cell: Any, carry: Any, x: jax.Array) -> Any:
        outputs = []
        for step in x:
            carry, h = cell(carry, step)
            outputs.append(h)
        return jnp.stack(outputs), carry

    def whole(layer: Any, carry: Any, x: jax.Array) -> Any:
        output, final = layer(x, jax.tree.map(lambda part: part[None], carry))
        return output, jax.tree.map(lambda part: part[0], final)

    def results(module: Any, run: Any) -> dict[str, np.ndarray]:
        def value(module: Any, carry: Any, x: jax.Array) -> jax.Array:
            return scalar(run(module, carry, x))

        call = (module, carries(cell), x)
        weights, *others = nnx.grad(value, argnums=(0, 1, 2))(*call)
        found = arrays((nnx.jit(run)(*call), others))
        gradients = {name.removesuffix("_l0"): param[...] for name, param in weights.items()}
        return found | {name: np.asarray(array) for name, array in gradients.items()}

    check_all_close(results(cell, loop), results(layer, whole), relative=1e-12)


@pytest.mark.parametrize("kind", CELL_KINDS)
def test_loading_is_all_or_nothing(kind: str) -> None:
    cell = rnn_jax.from_torch(torch_cell(kind))
    before, expected = cell.state_dict(), values(cell)
    doubled = {name: 2 * array for name, array in before.items()}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"weight_hh": doubled["weight_hh"]}, "missing weight_ih"),
        (doubled | {"weight_hr_l0": doubled["weight_hh"]}, "unexpected weight_hr_l0"),
        (doubled | {"weight_hh": np.ones((1, 4))}, r"weight_hh: expected shape .* got \(1, 4\)"),
        (doubled | {"weight_hh": before["weight_hh"].astype(int)}, "weight_hh: expected real num"),
    ]
    for tensors, message in wrong:
        with pytest.raises(InvalidInput, match=message):
            cell.load_state_dict(tensors)
    check = values(cell)
    assert all(np.array_equal(check[name], bits) for name, bits in expected.items())
    cell.load_state_dict(doubled)
    assert np.array_equal(cell.state_dict()["weight_hh"], doubled["weight_hh"])


@pytest.mark.parametrize("cell", CELLS)
def test_a_flax_cell_becomes_a_cell_that_computes_the_same(cell: str) -> None:
    flax, x = flax_cell(cell), jnp.asarray(randn(2, 3))
    for convert in (rnn_jax.from_flax, rnn_torch.from_flax):
        with pytest.raises(InvalidInput, match=r"bias_ih, bias_hh: .* single bias .*one_bias"):
            convert(flax)
    ours: Any = rnn_jax.from_flax(flax, one_bias=True)
    theirs = rnn_torch.from_flax(flax, one_bias=True)
    back: Any = rnn_jax.to_flax(ours, one_bias=True)
    carry = carries(ours)
    swapped = carry[::-1] if isinstance(carry, tuple) else carry  # Flax carries (c, h)
    _, expected = flax(swapped, x)
    check_close(np.asarray(ours(carry, x)[1]), expected, relative=1e-12, what="rnn_jax")
    check_close(np.asarray(back(swapped, x)[1]), expected, relative=1e-12, what="to_flax")
    h = theirs(torch.tensor(np.asarray(x)), in_torch(carry))
    h = h[0] if isinstance(h, tuple) else h
    check_close(h.detach().numpy(), np.asarray(expected), relative=1e-12, what="rnn_torch")
    again = rnn_jax.from_flax(back, one_bias=True).state_dict()
    for name, array in ours.state_dict().items():
        assert np.array_equal(again[name], array), name


def test_what_flax_cannot_hold_of_a_cell() -> None:
    lstm = rnn_jax.from_torch(torch_cell("LSTMCell"))
    with pytest.raises(InvalidInput, match="bias_hh: Flax's cells have a single bias"):
        rnn_jax.to_flax(lstm)
    gru = rnn_jax.from_torch(torch_cell("GRUCell"))
    with pytest.raises(InvalidInput, match=r"bias_hh: flax.nnx.GRUCell has no b_hn"):
        rnn_jax.to_flax(gru, one_bias=True)
    projected = rnn_jax.from_torch(torch_cell("LSTMCell projected"))
    with pytest.raises(InvalidInput, match="weight_hr: Flax's cells have no projection"):
        rnn_jax.to_flax(projected, one_bias=True)


def test_what_computes_in_a_method_of_its_own_and_what_is_no_cell() -> None:
    class Scaled(nn.GRUCell):
        def forward(self, *arguments: Any) -> Any:  # pyright: ignore
            return super().forward(*arguments) * 5

    with pytest.raises(TypeError, match=r"expected GRUCell or a subclass .*Scaled with a forward"):
        rnn_jax.from_torch(Scaled(3, 4))
    with pytest.raises(TypeError, match=r"a cell of these, or one of rnn_torch, got .*Linear"):
        rnn_jax.from_torch(nn.Linear(3, 4))
    theirs = nn.GRUCell(3, 4)
    theirs.bias = 1  # pyright: ignore  (torch takes any truth value)
    assert rnn_jax.from_torch(theirs).layer_config == LayerConfig("gru", 3, 4)


def test_modes_and_dtypes() -> None:
    theirs = torch_cell("GRUCell").eval()
    twin = rnn_jax.from_torch(theirs)
    assert (twin.dtype, twin.param_dtype) == (None, jnp.float64)
    half = rnn_jax.GRUCell(3, 4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert rnn_jax.from_flax(half).dtype == jnp.bfloat16
    with pytest.raises(InvalidInput, match=r"dtype: expected a layer that computes in float32"):
        rnn_torch.from_flax(half)
    with jax.enable_x64(False), pytest.raises(InvalidInput, match=r"weight_ih: .*float64.*x64"):
        rnn_jax.from_torch(theirs)
