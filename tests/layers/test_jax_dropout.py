"""Dropout between the layers of rnn_jax: by keys, by masks, and when it drops."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.support.jax_cases import NAMES, STACKED, check_same, make, randn, scalar


def test_every_gap_drops_other_units() -> None:
    """Of units that two gaps halve a quarter survives, whatever gives the keys; a bare key too."""
    size = 400
    layer = make("RNN", size, size, 3, "relu", bias=False, dropout=0.5)
    for k in range(3):  # every layer passes its input on as it is
        getattr(layer, f"weight_ih_l{k}")[...] = jnp.eye(size)
        getattr(layer, f"weight_hh_l{k}")[...] = jnp.zeros((size, size))
    for rngs in (None, nnx.Rngs(3), nnx.Rngs(3).dropout, jax.random.key(3)):
        output, _ = layer(jnp.ones((1, 5, size)), rngs=rngs)
        assert 0.21 < (np.asarray(output) > 0).mean() < 0.29, rngs
    key = jax.random.key(5)
    x = jnp.ones((1, 5, size))
    check_same(layer(x, rngs=key)[0], layer(x, rngs=key)[0])


def test_the_rate_of_dropout_is_in_one_place() -> None:
    layer, x = make("RNN", 3, 400, 2, dropout=0.5), randn(5, 2, 3)
    layer.drop.rate = 0.0
    assert layer.dropout == layer.layer_config.dropout == 0.0
    check_same(layer(x), layer(x, deterministic=True))
    with pytest.raises(AttributeError, match="dropout"):
        layer.dropout = 0.9
    assert make("GRU", 3, 4).dropout == 0.0


def test_masks_in_the_padding_do_not_matter() -> None:
    layer, x, lengths = make("GRU", 3, 4, num_layers=2), randn(5, 2, 3), jnp.asarray([2, 5])
    within = (jnp.arange(5)[:, None] < lengths)[None, ..., None]
    masks = jnp.where(within, 2.0, jnp.nan) * jnp.ones((1, 5, 2, 4))

    def loss(layer: Any, masks: jax.Array) -> jax.Array:
        return scalar(layer(x, lengths=lengths, masks=masks))

    derive = nnx.jit(nnx.grad(loss))
    check_same(derive(layer, masks), derive(layer, jnp.full((1, 5, 2, 4), 2.0)))


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
