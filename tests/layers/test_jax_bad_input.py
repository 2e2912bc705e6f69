"""Wrong input to the layers and cells of rnn_jax: what was expected and what came."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import rnn_jax
from tests.support.jax_cases import NAMES, initial, make, randn

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
    "known lengths under jit": (
        lambda layer, hx: jax.jit(lambda x: layer(x, lengths=[9, 5])[0])(randn(5, 2, 3)),
        ValueError,
        "from 1 to 5.* got 9 for sequence 0",
    ),
    "complex state": (
        lambda layer, hx: layer(randn(5, 2, 3), jax.tree.map(lambda h: 1j * h, hx(4, 2, 4))),
        ValueError,
        "initial state of real numbers, got complex128",
    ),
    "state of integers": (
        lambda layer, hx: layer(randn(5, 2, 3), jax.tree.map(lambda h: h.astype(int), hx(4, 2, 4))),
        ValueError,
        "initial state of real numbers, got int64",
    ),
    "masks in a list": (
        lambda layer, hx: layer(randn(5, 2, 3), masks=[1.0]),
        TypeError,
        "masks to be an array of JAX or NumPy, got list",
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


@pytest.mark.parametrize("length", [2**32 + 2, 2**63 + 2])
def test_a_length_that_would_wrap(length: int) -> None:
    """Where JAX has 32 bits, 2³² + 2 would become 2."""
    with jax.enable_x64(False):
        layer = make("GRU", 3, 4, param_dtype=jnp.float32)
        with pytest.raises(ValueError, match=f"from 1 to 5.* got {length} for sequence 0"):
            layer(jnp.ones((5, 2, 3)), lengths=np.asarray([length, 5], np.uint64))


@pytest.mark.usefixtures("unchecked")
def test_a_state_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match=r"LSTM: expected h_0 to be an array .* got list"):
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
    with pytest.raises(RuntimeError, match=r"LSTMCell: expected a carry h of shape \(5, 2\), got"):
        lstm((c, h), jnp.ones((5, 3)))  # the order of Flax's own cells
    with pytest.raises(RuntimeError, match=r"GRUCell: expected a carry h of shape \(5, 4\), got"):
        gru(h, jnp.ones((5, 3)))
    with pytest.raises(TypeError, match=r"LSTMCell: expected a pair \(h, c\) as carry, got one"):
        lstm(h, jnp.ones((5, 3)))
    with pytest.raises(
        TypeError, match=r"GRUCell: expected one array h as carry, got 2 in a tuple"
    ):
        gru((h, c), jnp.ones((5, 3)))
    with pytest.raises(RuntimeError, match=r"a carry h of shape \(5, 4\), got \(1, 4\)"):
        gru(c[:1], jnp.ones((5, 3)))  # batches are not broadcast
    with pytest.raises(RuntimeError, match=r"a carry c of shape \(5, 4\), got \(7, 5, 4\)"):
        lstm((h, jnp.ones((7, 5, 4))), jnp.ones((5, 3)))
    for carry in ([h, c], None, 1.0):
        with pytest.raises(TypeError, match=r"expected a pair \(h, c\) as carry, got (list|N|f)"):
            lstm(carry, jnp.ones((5, 3)))
    with pytest.raises(TypeError, match=r"inputs to be an array of real numbers, got Tensor"):
        gru(c, torch.ones(5, 3))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"a carry h to be an array of real numbers, got int"):
        gru(jnp.ones((5, 4), int), jnp.ones((5, 3)))
