"""Recurrent networks in JAX and Flax, functional, with PyTorch's weights and semantics."""

from rnn_jax.exchange import from_flax, from_torch, to_flax
from rnn_jax.layers import GRU, LSTM, RNN
from rnn_jax.nnx_cells import GRUCell, LSTMCell, RNNCell

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "from_flax",
    "from_torch",
    "to_flax",
]
