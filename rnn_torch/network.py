"""The network of every task: embedding or one-hot → recurrent layers → linear head."""

import torch
from torch import nn
from torch.nn import functional as F

from rnn_torch import layers, native
from rnn_torch.cells import State
from shared.config import NetworkConfig
from shared.tasks.task import Signature
from shared.weights import state_shapes


class Network(nn.Module):
    """y = V h + b_y over the recurrent layers' outputs h, at every step or at the last one."""

    def __init__(
        self,
        network: NetworkConfig,
        signature: Signature,
        implementation: str,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ):
        super().__init__()
        self.network = network
        self.signature = signature
        features = signature.input_size
        if network.embedding_size is not None:
            features = network.embedding_size
            self.embedding = nn.Embedding(
                signature.input_size, features, device=device, dtype=dtype
            )
        if implementation == "native":
            self.rnn = native.make(network, features, device, dtype)
        else:
            kind = {"rnn": layers.RNN, "lstm": layers.LSTM, "gru": layers.GRU}[network.cell]
            nonlinearity = {"nonlinearity": network.nonlinearity} if network.cell == "rnn" else {}
            self.rnn = kind(
                features,
                network.hidden_size,
                network.num_layers,
                bidirectional=network.bidirectional,
                batch_first=True,
                device=device,
                dtype=dtype,
                **nonlinearity,
            )
        width = network.hidden_size * (2 if network.bidirectional else 1)
        self.head = nn.Linear(width, signature.output_size, device=device, dtype=dtype)

    def zero_state(self, batch_size: int) -> State:
        """(h,) or (h, c), each (L·D, B, H)."""
        shapes = state_shapes(self.network, batch_size)
        return tuple(self.head.weight.new_zeros(shape) for shape in shapes)

    def forward(
        self, inputs: torch.Tensor, state: State, masks: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        """Outputs (B, T, O), or (B, O) of the last step, and the final state.

        Args:
            inputs: (B, T, I) features or (B, T) token numbers.
            state: as `zero_state` gives.
            masks: (L-1, B, T, D·H) dropout between layers, or None; native layers draw their own.
        """
        if self.network.embedding_size is not None:
            x = self.embedding(inputs)
        elif self.signature.tokens:
            x = F.one_hot(inputs, self.signature.input_size).to(self.head.weight.dtype)
        else:
            x = inputs
        if isinstance(self.rnn, nn.RNNBase):
            x, state = native.call(self.rnn, x, state)
        else:
            x, state = self.rnn(x, state, masks=masks)
        return self.head(x if self.signature.per_step else x[:, -1]), state
