"""Recurrent networks in PyTorch, handcrafted, with the weights and semantics of torch.nn."""

from rnn_torch.exchange import from_flax
from rnn_torch.layers import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "from_flax"]
