"""RNN, LSTM and GRU: cells over time, stacked in layers and directions, as torch modules.

    layer = LSTM(10, 64, num_layers=2, bidirectional=True, batch_first=True)
    output, (h, c) = layer(x)

They take the place of torch.nn.RNN, LSTM and GRU: the same arguments, calls and results, the same
parameters under the same names, the same initial values from the same seed. They are plain modules.
What a layer computes is in `cells.py`, `recurrence.py` and `stack.py`; `bptt.py` computes the same
in less time.
"""

import torch

from rnn_torch.stack import Hidden, Inputs, Masks, Memory, Outputs, Recurrent
from shared.config.settings import Nonlinearity
from shared.protocol import LayerConfig
from shared.protocol.checks import check_no_projection


class RNN(Recurrent):
    """Elman network h' = f(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh), in place of torch.nn.RNN.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html

    Args:
        input_size: I, features of a step's input.
        hidden_size: H, features of the state.
        num_layers: L, layers, each reading the outputs of the one below.
        nonlinearity: f, "tanh" or "relu".
        bias: whether there are b_ih and b_hh.
        batch_first: input and output are (B, T, …) instead of (T, B, …); never the state.
        dropout: probability of dropping an output between two layers, in training mode.
        bidirectional: D is 2: each layer also walks from the last step to the first.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        TypeError, ValueError: an argument that torch.nn.RNN refuses.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        proj_size: None = None,
    ):
        check_no_projection("RNN", proj_size)
        config = LayerConfig(
            "rnn",
            input_size,
            hidden_size,
            num_layers,
            nonlinearity,
            bias,
            batch_first,
            dropout,
            bidirectional,
        )
        super().__init__(config, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(
        self, input: Inputs, hx: Hidden | None = None, *, masks: Masks | None = None
    ) -> tuple[Outputs, Hidden]:
        """Runs all layers over a batch of sequences, or over one.

        Args:
            input: (T, B, I); (B, T, I) with batch_first; (T, I) for one sequence without a batch;
                or a PackedSequence of sequences of several lengths.
            hx: h before the first step, (L·D, B, H), or (L·D, H) for one sequence; zeros if None.
            masks: (L-1, *output) factors for the outputs between layers, in place of the layer's
                own dropout: dropout as data, so that two frameworks can drop the same units.

        Returns:
            The last layer's outputs in the layout of the input, with D·H features, the forward
            direction's before the reverse one's; and h after each sequence's last step, in the
            form of `hx`.

        Raises:
            ValueError: an input of neither 2 nor 3 axes or not of the weights' dtype, or masks of
                another shape.
            RuntimeError: any other wrong shape, or a state of another dtype.
            TypeError: an input that is no tensor, or a state that is not a single tensor.
        """
        output, (h,) = self.run(input, hx, masks)
        return output, h


class LSTM(Recurrent):
    """Long short-term memory (`rnn_torch.cells.lstm`), in place of torch.nn.LSTM.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html

    The arguments are those of `RNN` without `nonlinearity`, and

    Args:
        proj_size: P, features to which h is projected (Sak et al. 2014); 0 for no projection.

    Raises:
        TypeError, ValueError: an argument that torch.nn.LSTM refuses.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ):
        config = LayerConfig(
            "lstm",
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
        )
        super().__init__(config, device, dtype)

    def forward(
        self,
        input: Inputs,
        hx: tuple[Hidden, Memory] | None = None,
        *,
        masks: Masks | None = None,
    ) -> tuple[Outputs, tuple[Hidden, Memory]]:
        """Runs as `RNN.forward`, with the state (h, c): h of P features, c of H."""
        output, (h, c) = self.run(input, hx, masks)
        return output, (h, c)


class GRU(Recurrent):
    """Gated recurrent unit (`rnn_torch.cells.gru`), in place of torch.nn.GRU.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html

    The arguments are those of `RNN` without `nonlinearity`.

    Raises:
        TypeError, ValueError: an argument that torch.nn.GRU refuses.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        proj_size: None = None,
    ):
        check_no_projection("GRU", proj_size)
        config = LayerConfig(
            "gru",
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
        )
        super().__init__(config, device, dtype)

    def forward(
        self, input: Inputs, hx: Hidden | None = None, *, masks: Masks | None = None
    ) -> tuple[Outputs, Hidden]:
        """Runs as `RNN.forward`."""
        output, (h,) = self.run(input, hx, masks)
        return output, h


Layer = RNN | LSTM | GRU


def make(
    config: LayerConfig,
    *,
    device: torch.device | str | int | None = None,
    dtype: torch.dtype | None = None,
) -> Layer:
    """Makes the layer with these arguments."""
    kind = {"rnn": RNN, "lstm": LSTM, "gru": GRU}[config.cell]
    return kind(**config.arguments(), device=device, dtype=dtype)
