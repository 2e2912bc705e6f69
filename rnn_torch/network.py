"""The network of every task: embedding or one-hot → recurrent layers → linear head."""

from dataclasses import replace

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torch.nn import functional as F

from rnn_torch import layers, native
from rnn_torch.stack import Stacked
from shared.config import NetworkConfig
from shared.tasks.task import Signature
from shared.weights import layer_config, state_shapes


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
        layer = layer_config(network, signature.input_size)
        if network.embedding_size is not None:
            self.embedding = nn.Embedding(
                signature.input_size, network.embedding_size, device=device, dtype=dtype
            )
        if implementation == "native":
            self.rnn = native.make(layer, device=device, dtype=dtype)
        else:  # dropout comes with each call, as masks
            self.rnn = layers.make(replace(layer, dropout=0.0), device=device, dtype=dtype)
        width = network.hidden_size * (2 if network.bidirectional else 1)
        self.head = nn.Linear(width, signature.output_size, device=device, dtype=dtype)

    def zero_state(self, batch_size: int) -> Stacked:
        """(h,) or (h, c), each (L·D, B, H)."""
        shapes = state_shapes(self.network, batch_size)
        return tuple(self.head.weight.new_zeros(shape) for shape in shapes)

    def forward(
        self,
        inputs: Float[Tensor, "B T I"] | Integer[Tensor, "B T"],
        state: Stacked,
        masks: Float[Tensor, "L1 B T DH"] | None = None,
    ) -> tuple[Float[Tensor, "B *T O"], Stacked]:
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
        lstm = self.network.cell == "lstm"
        options = {} if isinstance(self.rnn, nn.RNNBase) else {"masks": masks}
        x, hx = self.rnn(x, state if lstm else state[0], **options)
        return self.head(x if self.signature.per_step else x[:, -1]), hx if lstm else (hx,)
