"""RNN, LSTM and GRU: cells over time, stacked in layers and directions, as torch modules.

    layer = LSTM(10, 64, num_layers=2, bidirectional=True, batch_first=True)
    output, (h, c) = layer(x)

Parameters have the names, shapes and gate order of torch.nn.LSTM (`shared/weights.py`), and the
call returns what it returns.
"""

import math

import torch
from torch import nn

from rnn_torch.cells import CELLS, State
from rnn_torch.recurrence import recur
from shared.weights import STATES, recurrent_shapes, suffixes


class Recurrent(nn.Module):
    """What the three layers have in common."""

    def __init__(
        self,
        kind: str,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.kind = kind
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.batch_first = batch_first
        shapes = recurrent_shapes(kind, input_size, hidden_size, num_layers, bidirectional)
        bound = 1 / math.sqrt(hidden_size)
        for name, shape in shapes.items():
            values = torch.empty(shape, device=device, dtype=dtype).uniform_(-bound, bound)
            self.register_parameter(name, nn.Parameter(values))

    def forward(
        self, x: torch.Tensor, state: State | None = None, *, masks: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        """Runs all layers over a batch of sequences.

        Args:
            x: (T, B, I) inputs; (B, T, I) with batch_first.
            state: (h,) or (h, c) before the first step, each (L·D, B, H); None for zeros.
            masks: (L-1, B, T, D·H) factors for the outputs between layers: dropout as data, so that
                two frameworks can drop the same units. None keeps everything.

        Returns:
            Outputs of the last layer (T, B, D·H), or (B, T, D·H) with batch_first, and the final
            state in the form of `state`.
        """
        if self.batch_first:
            x = x.transpose(0, 1)
        if state is None:
            shape = (
                self.num_layers * (2 if self.bidirectional else 1),
                x.shape[1],
                self.hidden_size,
            )
            state = (x.new_zeros(shape),) * len(STATES[self.kind])
        finals = []
        for layer, endings in enumerate(suffixes(self.num_layers, self.bidirectional)):
            if layer > 0 and masks is not None:
                x = x * masks[layer - 1].transpose(0, 1)
            directions = []
            for ending in endings:
                before = tuple(part[len(finals)] for part in state)
                outputs, final = self._direction(x, before, ending)
                directions.append(outputs)
                finals.append(final)
            x = torch.cat(directions, dim=-1)
        state = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
        return (x.transpose(0, 1) if self.batch_first else x), state

    def _direction(self, x: torch.Tensor, state: State, ending: str) -> tuple[torch.Tensor, State]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = (getattr(self, name + ending) for name in names)
        return recur(CELLS[self.cell], x, state, *weights, reverse=ending.endswith("_reverse"))


class RNN(Recurrent):
    """Elman network, h' = f(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh), f = tanh or relu; see torch.nn.RNN"""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        **options,
    ):
        super().__init__(
            "rnn", f"rnn_{nonlinearity}", input_size, hidden_size, num_layers, **options
        )


class LSTM(Recurrent):
    """Long short-term memory; state (h, c); see `rnn_torch.cells.lstm` and torch.nn.LSTM."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options):
        super().__init__("lstm", "lstm", input_size, hidden_size, num_layers, **options)


class GRU(Recurrent):
    """Gated recurrent unit; see `rnn_torch.cells.gru` and torch.nn.GRU."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options):
        super().__init__("gru", "gru", input_size, hidden_size, num_layers, **options)
