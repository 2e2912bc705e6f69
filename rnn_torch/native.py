"""PyTorch's own layers behind the call of `rnn_torch.layers`: torch.nn.RNN, LSTM and GRU.

Their parameters are the canonical weights as they are. Only dropout differs: torch draws its own
masks, so a run with dropout is not comparable step by step. `gaps` says so; every run records it.
"""

import torch
from torch import nn

from rnn_torch.cells import State
from shared.config import NetworkConfig


def make(
    network: NetworkConfig, input_size: int, device: torch.device, dtype: torch.dtype
) -> nn.RNNBase:
    """The layer of torch.nn with the canonical names, shapes and gate order."""
    options = {
        "num_layers": network.num_layers,
        "bidirectional": network.bidirectional,
        "dropout": network.dropout,
        "batch_first": True,
        "device": device,
        "dtype": dtype,
    }
    if network.cell == "rnn":
        options["nonlinearity"] = network.nonlinearity
    kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[network.cell]
    return kind(input_size, network.hidden_size, **options)


def call(layer: nn.RNNBase, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
    """As `rnn_torch.layers.Recurrent.forward` with batch_first: the state is always a tuple."""
    if isinstance(layer, nn.LSTM):
        return layer(x, state)
    outputs, h = layer(x, state[0])
    return outputs, (h,)


def gaps(network: NetworkConfig) -> list[str]:
    """What keeps a run with torch's layers from being comparable step by step."""
    if network.dropout:
        return ["torch.nn draws its own dropout masks: they differ from those of other runs"]
    return []
