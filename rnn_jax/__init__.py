"""Recurrent networks in JAX and Flax, functional, with PyTorch's weights and semantics."""

from rnn_jax.layers import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN"]
