"""One step of each recurrent cell as a pure function, in PyTorch's notation.

A cell reads `projected`, the input's share of the gates (computed for all steps at once, because it
does not depend on the state), and the state of the step before:

    projected = x_t W_ihᵀ + b_ih                     (B, G·H)
    state = cell(projected, state, weight_hh, bias_hh)

The state is a tuple: (h,) or (h, c), each (B, H); h is also the step's output.
"""

import jax
import jax.numpy as jnp

State = tuple[jax.Array, ...]


def rnn_tanh(projected: jax.Array, state: State, weight_hh: jax.Array, bias_hh: jax.Array) -> State:
    """Elman cell (Elman 1990): h' = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh)."""
    (h,) = state
    return (jnp.tanh(projected + h @ weight_hh.T + bias_hh),)


def rnn_relu(projected: jax.Array, state: State, weight_hh: jax.Array, bias_hh: jax.Array) -> State:
    """Elman cell with ReLU: h' = max(0, x W_ihᵀ + b_ih + h W_hhᵀ + b_hh)."""
    (h,) = state
    return (jax.nn.relu(projected + h @ weight_hh.T + bias_hh),)


def lstm(projected: jax.Array, state: State, weight_hh: jax.Array, bias_hh: jax.Array) -> State:
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    i, f, g, o = the four row blocks of x W_ihᵀ + b_ih + h W_hhᵀ + b_hh
    c' = σ(f) ⊙ c + σ(i) ⊙ tanh(g)
    h' = σ(o) ⊙ tanh(c')
    """
    h, c = state
    i, f, g, o = jnp.split(projected + h @ weight_hh.T + bias_hh, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return h, c


def gru(projected: jax.Array, state: State, weight_hh: jax.Array, bias_hh: jax.Array) -> State:
    """Gated recurrent unit (Cho et al. 2014), the reset gate after the product as in torch.nn.GRU.

    r = σ(x_r + h_r)    z = σ(x_z + h_z)    with x_· = x W_i·ᵀ + b_i·  and  h_· = h W_h·ᵀ + b_h·
    n = tanh(x_n + r ⊙ h_n)
    h' = (1 - z) ⊙ n + z ⊙ h
    """
    (h,) = state
    x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)
    h_r, h_z, h_n = jnp.split(h @ weight_hh.T + bias_hh, 3, axis=-1)
    r = jax.nn.sigmoid(x_r + h_r)
    z = jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * h_n)
    return ((1 - z) * n + z * h,)


CELLS = {"rnn_tanh": rnn_tanh, "rnn_relu": rnn_relu, "lstm": lstm, "gru": gru}
