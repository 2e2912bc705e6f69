"""PyTorch's own layers, whose call `rnn_torch.layers` has too: torch.nn.RNN, LSTM and GRU.

Their parameters are the canonical weights as they are. Only dropout differs: torch draws its own
masks, so a run with dropout is not comparable step by step. `gaps` says so; every run records it.
"""

import torch
from torch import nn

from shared.config.settings import NetworkConfig
from shared.protocol import LayerConfig


def make(config: LayerConfig, *, device: torch.device, dtype: torch.dtype) -> nn.RNNBase:
    """Makes the layer of torch.nn, which holds the canonical weights as they are."""
    kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[config.cell]
    return kind(**config.arguments(), device=device, dtype=dtype)


def gaps(network: NetworkConfig) -> list[str]:
    """Lists why a run with torch's layers cannot be compared step by step."""
    if network.dropout:
        return ["torch.nn draws its own dropout masks: they differ from those of other runs"]
    return []
