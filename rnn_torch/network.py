"""The network of every task: embedding or one-hot → recurrent layers → linear head; beside them a
linear highway, where one is wanted."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnn_torch import layers, native
from rnn_torch.stack import Stacked
from shared.config.settings import NetworkConfig
from shared.protocol import trace
from shared.protocol.dataset import Signature
from shared.protocol.weights import layer_config, state_shapes


class Network(nn.Module):
    """y = V h + b_y over the recurrent layers' outputs h at every step, or over the states in which
    each direction of the last layer ends."""

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
        if network.tied:
            self.head.register_parameter("weight", None)
        if network.highway:
            # W x over the features of a sequence's last steps, an autoregression (Lai et al. 2018).
            size = network.highway * signature.input_size
            self.highway = nn.Linear(
                size, signature.output_size, bias=False, device=device, dtype=dtype
            )

    def zero_state(self, batch_size: int) -> Stacked:
        """Returns (h,) or (h, c), each (L·D, B, H)."""
        shapes = state_shapes(self.network, batch_size)
        return tuple(self.head.bias.new_zeros(shape) for shape in shapes)

    def forward(
        self,
        inputs: Float[Tensor, "B T I"] | Integer[Tensor, "B T"],
        state: Stacked,
        lengths: Integer[Tensor, " B"] | None = None,
        masks: Float[Tensor, "L1 B T DH"] | None = None,
        seen: dict[str, Tensor] | None = None,
    ) -> tuple[Float[Tensor, "B *T O"], Stacked]:
        """Returns outputs (B, T, O), or (B, O) of each whole sequence, and the final state.

        Args:
            inputs: (B, T, I) features or (B, T) token numbers.
            state: as `zero_state` gives.
            lengths: (B,) steps of each sequence, or None if all have T.
            masks: (L-1, B, T, D·H) dropout between layers, or None; native layers draw their own.
            seen: gets the tensors computed on the way, by the names of `shared/protocol/trace.py`.
                Of native layers it gets only the last one's outputs: torch keeps the others to
                itself.
        """
        if self.network.embedding_size is not None:
            x = self.embedding(inputs)
        elif self.signature.tokens:
            x = F.one_hot(inputs, self.signature.input_size).to(self.head.bias.dtype)
        else:
            x = inputs
        layers: list[Tensor] | None = None if seen is None else []
        outputs, final = self._recurrent(x, state, lengths, masks, layers)
        if not self.signature.per_step:  # of each direction that of its last step
            directions = 2 if self.network.bidirectional else 1
            outputs = torch.cat([*final[0][-directions:]], dim=-1)
        weight = self.embedding.weight if self.network.tied else self.head.weight
        logits = F.linear(outputs, weight, self.head.bias)
        if self.network.highway:
            logits = logits + self.highway(inputs[:, -self.network.highway :].flatten(1))
        if seen is not None:
            seen |= trace.forward(x, layers or [outputs], final, logits)
        return logits, final

    def _recurrent(
        self,
        x: Tensor,
        state: Stacked,
        lengths: Tensor | None,
        masks: Tensor | None,
        layers: list[Any] | None,
    ) -> tuple[Tensor, Stacked]:
        """Returns the recurrent layers' outputs, padded with zeros, and the final state as a
        tuple."""
        sequences: Any = x
        if lengths is not None:  # torch wants them on the CPU
            pack = partial(
                pack_padded_sequence, lengths=lengths.cpu(), batch_first=True, enforce_sorted=False
            )
            sequences = pack(x)
            masks = None if masks is None else torch.stack([pack(mask).data for mask in masks])
        lstm = self.network.cell == "lstm"
        hx: Any = state if lstm else state[0]
        outputs: Any
        final: Any
        if isinstance(self.rnn, nn.RNNBase):
            outputs, final = self.rnn(sequences, hx)
            final = final if lstm else (final,)
            if layers is not None:
                layers.append(outputs)
        else:
            outputs, final = self.rnn.run(sequences, hx, masks, layers)
        if lengths is None:
            return outputs, final
        unpack = partial(pad_packed_sequence, batch_first=True, total_length=x.shape[1])
        if layers is not None:
            layers[:] = [unpack(packed)[0] for packed in layers]
        return unpack(outputs)[0], final
