"""One step of each recurrent cell as a pure function, in PyTorch's notation.

A cell reads `projected`, the input's share of the gates (computed for all steps at once, because it
does not depend on the state), and the state of the step before:

    projected = x_t W_ihᵀ + b_ih                     (B, G·H)
    state = cell(projected, state, weights)

The state is a tuple: (h,) or (h, c), each (B, H); h is also the step's output. A layer without bias
has no b_ih and b_hh; the equations then go without them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

State = tuple[Float[Array, "*B _"], ...]


class Weights(NamedTuple):
    """The tensors of one layer and direction, as `shared/protocol/layer.py` describes them."""

    weight_ih: Float[Array, "GH I"]
    weight_hh: Float[Array, "GH P"]
    bias_ih: Float[Array, " GH"] | None = None
    bias_hh: Float[Array, " GH"] | None = None
    weight_hr: Float[Array, "P H"] | None = None


def linear(
    x: Float[Array, "*N I"], weight: Float[Array, "O I"], bias: Float[Array, " O"] | None = None
) -> Float[Array, "*N O"]:
    """x Wᵀ + b"""
    product = x @ weight.T
    return product if bias is None else product + jnp.broadcast_to(bias, product.shape)


def rnn_tanh(projected: Float[Array, "*B H"], state: State, weights: Weights) -> State:
    """Elman cell (Elman 1990): h' = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh)."""
    (h,) = state
    return (jnp.tanh(projected + linear(h, weights.weight_hh, weights.bias_hh)),)


def rnn_relu(projected: Float[Array, "*B H"], state: State, weights: Weights) -> State:
    """Elman cell with ReLU: h' = max(0, x W_ihᵀ + b_ih + h W_hhᵀ + b_hh)."""
    (h,) = state
    return (jax.nn.relu(projected + linear(h, weights.weight_hh, weights.bias_hh)),)


def lstm(projected: Float[Array, "*B GH"], state: State, weights: Weights) -> State:
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    i, f, g, o = the four row blocks of x W_ihᵀ + b_ih + h W_hhᵀ + b_hh
    c' = σ(f) ⊙ c + σ(i) ⊙ tanh(g)
    h' = σ(o) ⊙ tanh(c'),  projected to P features by W_hr if there is one (Sak et al. 2014)
    """
    h, c = state
    gates = projected + linear(h, weights.weight_hh, weights.bias_hh)
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    if weights.weight_hr is not None:
        h = linear(h, weights.weight_hr)
    return h, c


def gru(projected: Float[Array, "*B GH"], state: State, weights: Weights) -> State:
    """Gated recurrent unit (Cho et al. 2014), the reset gate after the product as in torch.nn.GRU.

    r = σ(x_r + h_r)    z = σ(x_z + h_z)    with x_· = x W_i·ᵀ + b_i·  and  h_· = h W_h·ᵀ + b_h·
    n = tanh(x_n + r ⊙ h_n)
    h' = (1 - z) ⊙ n + z ⊙ h
    """
    (h,) = state
    x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)
    h_r, h_z, h_n = jnp.split(linear(h, weights.weight_hh, weights.bias_hh), 3, axis=-1)
    r = jax.nn.sigmoid(x_r + h_r)
    z = jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * h_n)
    return ((1 - z) * n + z * h,)


CELLS = {"RNN_TANH": rnn_tanh, "RNN_RELU": rnn_relu, "LSTM": lstm, "GRU": gru}
