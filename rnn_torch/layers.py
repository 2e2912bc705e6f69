"""RNN, LSTM and GRU: cells over time, stacked in layers and directions, as torch modules.

    layer = LSTM(10, 64, num_layers=2, bidirectional=True, batch_first=True)
    output, (h, c) = layer(x)

They take the place of torch.nn.RNN, LSTM and GRU: the same arguments, calls and results, the same
parameters under the same names, the same initial values from the same seed. They are plain modules:
what a layer computes is in `cells.py` and `recurrence.py`, to be read and changed.
"""

import math
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from rnn_torch.cells import CELLS, State, Weights
from rnn_torch.recurrence import recur
from shared.layer import (
    LayerConfig,
    Nonlinearity,
    check_input,
    check_masks,
    check_state,
    warn_of_idle_dropout,
)

Inputs = Float[Tensor, "*TB I"] | PackedSequence
Outputs = Float[Tensor, "*TB DP"] | PackedSequence
Hidden = Float[Tensor, "LD *B P"]
Memory = Float[Tensor, "LD *B H"]
Masks = Float[Tensor, "L1 *TB DP"]


class Recurrent(nn.Module):
    """What the three layers have in common."""

    def __init__(
        self, config: LayerConfig, device: torch.device | str | int | None, dtype: torch.dtype | None
    ):
        super().__init__()
        warn_of_idle_dropout(config, stacklevel=3)
        self.mode = config.mode
        self.input_size = config.input_size
        self.hidden_size = config.hidden_size
        self.num_layers = config.num_layers
        self.bias = config.bias
        self.batch_first = config.batch_first
        self.dropout = float(config.dropout)
        self.bidirectional = config.bidirectional
        self.proj_size = config.proj_size
        for name, shape in config.shapes().items():
            self.register_parameter(
                name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            )
        self.reset_parameters()

    @property
    def config(self) -> LayerConfig:
        """The layer's arguments as they are now: as in torch, `layer.dropout = 0.0` is allowed."""
        cell, _, nonlinearity = self.mode.lower().partition("_")
        return LayerConfig(
            cell,  # pyright: ignore[reportArgumentType]
            self.input_size,
            self.hidden_size,
            self.num_layers,
            nonlinearity or "tanh",  # pyright: ignore[reportArgumentType]
            self.bias,
            self.batch_first,
            self.dropout,
            self.bidirectional,
            self.proj_size,
        )

    def reset_parameters(self) -> None:
        """Draws every parameter from the uniform distribution on ±1/√H, in the order of names."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: for callers of torch.nn.LSTM, which lays its weights out for cuDNN."""

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer and direction, as torch.nn.LSTM lists them."""
        endings = [ending for layer in self.config.suffixes() for ending in layer]
        weights = [self._weights(ending) for ending in endings]
        return [[cast(nn.Parameter, w) for w in group if w is not None] for group in weights]

    def extra_repr(self) -> str:
        arguments, defaults = self.config.arguments(), LayerConfig("rnn", 1, 2)
        sizes = [str(arguments.pop("input_size")), str(arguments.pop("hidden_size"))]
        others = [f"{k}={v!r}" for k, v in arguments.items() if v != getattr(defaults, k)]
        return ", ".join(sizes + others)

    def _run(
        self,
        input: Inputs,
        hx: Tensor | tuple[Tensor, Tensor] | None,
        masks: Tensor | None,
    ) -> tuple[Outputs, State]:
        """A call; the final state is a tuple as in `cells.py`."""
        config = self.config
        if isinstance(input, PackedSequence):
            x, batch_sizes, sorted_indices, unsorted_indices = input
            check_input(config, x.shape, packed=True)
            sizes = batch_sizes.tolist()
            if sum(sizes) != len(x):
                raise RuntimeError(
                    f"{config.name}: expected {sum(sizes)} packed rows, the sum of the batch sizes, "
                    f"got {len(x)}: was a length beyond the input's last step?"
                )
            state = self._initial(config, x, hx, sizes[0])
            state = _permute(state, sorted_indices)
            x, state = self._stack(config, x, sizes, state, masks)
            output = PackedSequence(x, batch_sizes, sorted_indices, unsorted_indices)
            return output, _permute(state, unsorted_indices)

        check_input(config, input.shape)
        batched = input.dim() == 3
        swapped = batched and config.batch_first
        x = input.transpose(0, 1) if swapped else input if batched else input.unsqueeze(1)
        steps, batch = x.shape[:2]
        state = self._initial(config, x, hx, batch if batched else None)
        if not batched:
            state = tuple(part.unsqueeze(1) for part in state)
        if masks is not None:
            check_masks(config, masks.shape, (*input.shape[:-1], self._width))
            masks = masks.transpose(1, 2) if swapped else masks
            masks = masks.reshape(-1, steps * batch, self._width)
        x, state = self._stack(config, x.flatten(0, 1), [batch] * steps, state, masks)
        x = x.unflatten(0, (steps, batch))
        if not batched:
            return x.squeeze(1), tuple(part.squeeze(1) for part in state)
        return (x.transpose(0, 1) if swapped else x), state

    def _stack(
        self,
        config: LayerConfig,
        x: Tensor,
        batch_sizes: list[int],
        state: State,
        masks: Tensor | None,
    ) -> tuple[Tensor, State]:
        """All layers and directions over packed rows (N, I), the state (L·D, B, …)."""
        finals: list[State] = []
        for layer, endings in enumerate(config.suffixes()):
            if layer > 0:
                x = F.dropout(x, self.dropout, self.training) if masks is None else x * masks[layer - 1]
            directions = []
            for ending in endings:
                before = tuple(part[len(finals)] for part in state)
                weights, reverse = self._weights(ending), ending.endswith("_reverse")
                output, final = recur(CELLS[self.mode], x, batch_sizes, before, weights, reverse)
                directions.append(output)
                finals.append(final)
            x = torch.cat(directions, dim=-1)
        return x, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))

    def _initial(
        self,
        config: LayerConfig,
        x: Tensor,
        hx: Tensor | tuple[Tensor, Tensor] | None,
        batch: int | None,
    ) -> State:
        """The initial state as a tuple: zeros, or `hx` if it fits the layer and its input."""
        dtype = self.weight_ih_l0.dtype
        autocast = torch.is_autocast_enabled(x.device.type)
        if x.dtype != dtype and not autocast:
            raise ValueError(f"{config.name}: expected input of {dtype}, as its weights, got {x.dtype}")
        if hx is None:
            return tuple(x.new_zeros(shape) for shape in config.state_shapes(batch))
        state = check_state(config, hx, batch)
        for part in state:
            if part.dtype != x.dtype and not autocast:
                raise RuntimeError(
                    f"{config.name}: expected an initial state of {x.dtype}, got {part.dtype}"
                )
        return state

    def _weights(self, ending: str) -> Weights:
        return Weights(*(getattr(self, name + ending, None) for name in Weights._fields))

    @property
    def _width(self) -> int:
        """Features of the output."""
        return self.config.directions * self.config.output_size

    def _load_from_state_dict(
        self,
        state_dict,
        prefix,
        local_metadata,
        strict,
        missing_keys,
        unexpected_keys,
        error_msgs,
    ):
        """Loads all tensors or none. torch loads those that fit before it reports the others."""
        reports = (missing_keys, unexpected_keys, error_msgs)
        kept = {name: (p, p.detach().clone()) for name, p in self._parameters.items() if p is not None}
        reported = sum(map(len, reports))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *reports)
        if sum(map(len, reports)) > reported:
            for name, (parameter, values) in kept.items():
                parameter.data.copy_(values)
                self._parameters[name] = parameter


def _permute(state: State, indices: Tensor | None) -> State:
    return state if indices is None else tuple(part.index_select(1, indices) for part in state)


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
        device, dtype: of the parameters.

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
    ):
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
        """
        output, (h,) = self._run(input, hx, masks)
        return output, h


class LSTM(Recurrent):
    """Long short-term memory (`rnn_torch.cells.lstm`), in place of torch.nn.LSTM.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device,
            dtype: as for `RNN`.
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
        """As `RNN.forward`, with the state (h, c): h of P features, c of H."""
        output, (h, c) = self._run(input, hx, masks)
        return output, (h, c)


class GRU(Recurrent):
    """Gated recurrent unit (`rnn_torch.cells.gru`), in place of torch.nn.GRU.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device,
            dtype: as for `RNN`.

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
    ):
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
        """As `RNN.forward`."""
        output, (h,) = self._run(input, hx, masks)
        return output, h


def make(
    config: LayerConfig,
    *,
    device: torch.device | str | int | None = None,
    dtype: torch.dtype | None = None,
) -> RNN | LSTM | GRU:
    """The layer with these arguments."""
    kind = {"rnn": RNN, "lstm": LSTM, "gru": GRU}[config.cell]
    return kind(**config.arguments(), device=device, dtype=dtype)
