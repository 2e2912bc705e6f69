"""Flax's cells with something else within than Flax puts there: read as they compute, or refused by
name."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rnn_jax
import rnn_torch
from shared.errors import InvalidInput, NotCarriedOver
from tests.support.compare_arrays import check_close
from tests.support.exchange_cases import flax_cell, randn

RNGS = nnx.Rngs(0)


def options(**others: Any) -> dict[str, Any]:
    return {"param_dtype": jnp.float64, "rngs": nnx.Rngs(1)} | others


def in_place(change: Callable[[Any], Any], name: str = "dense_h", cell: str = "GRUCell") -> Any:
    made = flax_cell(cell)
    setattr(made, name, change(getattr(made, name)))
    return made


class Doubled(nnx.Linear):
    def __call__(self, inputs: Any, out_sharding: Any = None) -> Any:
        return 2 * super().__call__(inputs)


def doubled_product(*arguments: Any, **others: Any) -> jax.Array:
    return 2 * jax.lax.dot_general(*arguments, **others)


def doubled_dtypes(tensors: Any, **others: Any) -> Any:
    return tuple(None if tensor is None else 2 * tensor for tensor in tensors)


def changed(**attributes: Any) -> Callable[[Any], Any]:
    def change(linear: Any) -> Any:
        for name, value in attributes.items():
            setattr(linear, name, value)
        return linear

    return change


NOT_PLAIN: dict[str, tuple[Callable[[], Any], str]] = {
    "weight norm": (
        lambda: in_place(lambda linear: nnx.WeightNorm(linear, rngs=RNGS)),
        "weight_hh: GRUCell.dense_h: expected an nnx.Linear, got .*WeightNorm.* put an nnx.Linear",
    ),
    "spectral norm": (
        lambda: in_place(lambda linear: nnx.SpectralNorm(linear, rngs=RNGS), "dense_i"),
        "weight_ih: GRUCell.dense_i: expected an nnx.Linear, got .*SpectralNorm",
    ),
    "LoRA": (
        lambda: in_place(lambda linear: nnx.LoRALinear(4, 12, lora_rank=2, **options())),
        "weight_hh: GRUCell.dense_h: expected an nnx.Linear, got .*LoRALinear",
    ),
    "LoRA around it": (
        lambda: in_place(lambda linear: nnx.LoRA(4, 2, 12, base_module=linear, rngs=RNGS)),
        "weight_hh: GRUCell.dense_h: expected an nnx.Linear, got .*LoRA",
    ),
    "a subclass": (
        lambda: in_place(lambda linear: Doubled(4, 16, **options()), cell="OptimizedLSTMCell"),
        "weight_hh: OptimizedLSTMCell.dense_h: expected an nnx.Linear, got .*Doubled",
    ),
    "one gate": (
        lambda: in_place(lambda linear: Doubled(4, 4, **options()), "hg", "LSTMCell"),
        "weight_hh: LSTMCell.hg: expected an nnx.Linear, got .*Doubled",
    ),
    "another product": (
        lambda: in_place(changed(dot_general=doubled_product)),
        "weight_hh: GRUCell.dense_h: expected dot_general",
    ),
    "another promotion": (
        lambda: flax_cell_of(nnx.SimpleCell, promote_dtype=doubled_dtypes),
        "weight_ih: SimpleCell.dense_i: expected promote_dtype",
    ),
    "a product of another dtype": (
        lambda: in_place(changed(preferred_element_type=jnp.float32)),
        "weight_hh: GRUCell.dense_h: expected preferred_element_type None, got",
    ),
    "a dtype of its own": (
        lambda: in_place(changed(dtype=jnp.bfloat16), "dense_i"),
        "weight_ih: GRUCell.dense_i: expected dtype None, got .*bfloat16",
    ),
    "a bias for some gates": (
        lambda: in_place(changed(bias=nnx.data(None), use_bias=False), "hi", "LSTMCell"),
        "bias_hh: expected a bias for every gate or for none",
    ),
}


def flax_cell_of(kind: Any, **others: Any) -> Any:
    return kind(3, 4, dtype=jnp.float64, **options(**others))


@pytest.mark.parametrize("case", NOT_PLAIN)
def test_what_is_not_known_to_be_linear_is_refused_by_name(case: str) -> None:
    make, message = NOT_PLAIN[case]
    cell = make()
    before = nnx.to_flat_state(nnx.state(cell, nnx.Param))
    for convert in (rnn_jax.from_flax, rnn_torch.from_flax):
        with pytest.raises(InvalidInput, match=message):
            convert(cell, one_bias=True)
        layered = message.replace(":", "_l0:", 1)
        with pytest.raises(InvalidInput, match=layered):
            convert(nnx.RNN(cell), one_bias=True)
    for (path, param), (other, after) in zip(
        before, nnx.to_flat_state(nnx.state(cell, nnx.Param)), strict=True
    ):
        assert path == other
        assert np.array_equal(param[...], after[...])


BIASES: dict[str, tuple[str, str]] = {
    "SimpleCell tanh": ("dense_h", "dense_i"),
    "OptimizedLSTMCell": ("dense_i", "dense_h"),
    "GRUCell": ("dense_h", "dense_i"),
}
"""Where Flax has no bias, and where it has one."""


def with_bias(cell: str) -> Any:
    """With a second bias, as torch has: for a GRU this is b_hn, too."""
    made, (place, _) = flax_cell(cell), BIASES[cell]
    linear = getattr(made, place)
    values = np.random.default_rng(5).uniform(-0.6, 0.6, linear.out_features)
    linear.use_bias, linear.bias = True, nnx.Param(jnp.asarray(values))
    return made


def check_computes(cell: Any, ours: Any) -> None:
    x = jnp.asarray(randn(2, 3))
    h, c = jnp.asarray(randn(2, 4)), jnp.asarray(2 * randn(2, 4))
    lstm = isinstance(ours, rnn_jax.LSTMCell)
    expected = cell((c, h) if lstm else h, x)[1]
    check_close(np.asarray(ours((h, c) if lstm else h, x)[1]), expected, relative=1e-12, what="h")


@pytest.mark.parametrize("cell", BIASES)
def test_two_biases_are_read_as_two(cell: str) -> None:
    made = with_bias(cell)
    ours = rnn_jax.from_flax(made)  # nothing to divide, so without one_bias
    assert ours.state_dict()["bias_ih"].all()
    assert ours.state_dict()["bias_hh"].all()
    check_computes(made, ours)


@pytest.mark.parametrize("cell", BIASES)
def test_a_single_bias_in_the_other_place(cell: str) -> None:
    made, (_, usual) = with_bias(cell), BIASES[cell]
    linear = getattr(made, usual)
    linear.use_bias, linear.bias = False, nnx.data(None)
    with pytest.raises(InvalidInput, match=rf"single bias \({BIASES[cell][0]}.bias\)"):
        rnn_jax.from_flax(made)
    check_computes(made, rnn_jax.from_flax(made, one_bias=True))


@pytest.mark.parametrize("cell", BIASES)
def test_no_bias_at_all(cell: str) -> None:
    made, (_, usual) = flax_cell(cell), BIASES[cell]
    linear = getattr(made, usual)
    linear.use_bias, linear.bias = False, nnx.data(None)
    ours = rnn_jax.from_flax(made)
    assert list(ours.state_dict()) == ["weight_ih", "weight_hh"]
    check_computes(made, ours)


class Squared(nnx.Param):
    """A parameter that gives something else than it holds."""

    def get_value(self, **options: Any) -> Any:
        return super().get_value(**options) ** 2


def test_a_variable_that_computes_gives_what_it_computes_and_that_is_said() -> None:
    made = flax_cell("GRUCell", bias=False)
    made.dense_h.kernel = Squared(made.dense_h.kernel.get_value())
    with pytest.warns(NotCarriedOver, match="weight_hh: computed by get_value of its parameter"):
        ours = rnn_jax.from_flax(made)
    check_computes(made, ours)
    with warnings.catch_warnings(action="error"):
        rnn_jax.from_flax(flax_cell("GRUCell", bias=False))
