"""RNNCell, LSTMCell and GRUCell: a single step as a torch module.

    cell = LSTMCell(10, 64)
    h, c = cell(x, (h, c))

They take the place of torch.nn.RNNCell, LSTMCell and GRUCell: the same arguments, calls and
results, the same parameters under the same names, the same initial values from the same seed. What
a cell computes is in `cells.py`.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rnn_torch.cells import CELLS, State, Weights
from rnn_torch.loading import load
from rnn_torch.stack import autocast
from shared.config.settings import Nonlinearity
from shared.protocol import LayerConfig
from shared.protocol.checks import named
from shared.protocol.layer import STATES

Inputs = Float[Tensor, "*B I"]
Hidden = Float[Tensor, "*B P"]
Memory = Float[Tensor, "*B H"]


class Recurrence(nn.Module):
    """The common part of the three cells."""

    def __init__(
        self,
        config: LayerConfig,
        device: torch.device | str | int | None,
        dtype: torch.dtype | None,
    ):
        super().__init__()
        self.mode = config.mode
        self.input_size = config.input_size
        self.hidden_size = config.hidden_size
        self.bias = config.bias
        self.proj_size = config.proj_size
        for name, shape in config.cell_shapes().items():
            self.register_parameter(
                name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            )
        if not config.bias:
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)
        self.reset_parameters()

    @property
    def layer_config(self) -> LayerConfig:
        """The cell's arguments, as those of a layer."""
        cell, _, nonlinearity = self.mode.lower().partition("_")
        return LayerConfig(
            cell,  # pyright: ignore[reportArgumentType]
            self.input_size,
            self.hidden_size,
            nonlinearity=nonlinearity or "tanh",  # pyright: ignore[reportArgumentType]
            bias=self.bias,
            proj_size=self.proj_size,
        )

    def reset_parameters(self) -> None:
        """Draws every parameter from the uniform distribution on ±1/√H, in the order of names."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Loads as in torch, but all or nothing: torch loads what fits before it raises.

        Raises:
            RuntimeError: as torch: a tensor is missing, unexpected or of another shape.
            InvalidInput: two tensors differ that are one parameter here.
        """
        return load(self, state_dict, partial(super().load_state_dict, state_dict, strict, assign))

    def extra_repr(self) -> str:
        """Returns the same as torch's."""
        config = self.layer_config
        parts = [str(config.input_size), str(config.hidden_size)]
        parts += [] if config.bias else ["bias=False"]
        parts += [] if config.nonlinearity == "tanh" else [f"nonlinearity={config.nonlinearity}"]
        parts += [f"proj_size={config.proj_size}"] if config.proj_size else []
        return ", ".join(parts)

    def step(self, input: Any, hx: Any) -> State:
        """Takes one step; the state is a tuple as in `cells.py`."""
        config = self.layer_config
        found: list[Any] = [getattr(self, name, None) for name in Weights._fields]
        weights = Weights(*found)
        state = _state(config, input, hx, weights)
        batched = input.dim() == 2
        if not batched:
            input, state = input.unsqueeze(0), tuple(part.unsqueeze(0) for part in state)
        projected = F.linear(input, weights.weight_ih, weights.bias_ih)
        state = CELLS[self.mode](projected, state, weights)
        return state if batched else tuple(part.squeeze(0) for part in state)


class RNNCell(Recurrence):
    """Elman cell (`rnn_torch.cells.rnn_tanh`), in place of torch.nn.RNNCell.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCell.html

    Args:
        input_size: I, features of the input.
        hidden_size: H, features of the state.
        bias: whether there are b_ih and b_hh.
        nonlinearity: "tanh" or "relu".
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        TypeError, ValueError: an argument that `rnn_torch.RNN` refuses.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Nonlinearity = "tanh",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ):
        config = LayerConfig("rnn", input_size, hidden_size, nonlinearity=nonlinearity, bias=bias)
        super().__init__(config, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Inputs, hx: Hidden | None = None) -> Hidden:
        """Takes one step.

        Args:
            input: (B, I), or (I,) for one without a batch.
            hx: h before the step, (B, H) or (H,); zeros if None.

        Returns:
            h after the step.

        Raises:
            ValueError: an input or a state of neither 1 nor 2 axes.
            RuntimeError: any other wrong shape, or another dtype than that of the weights.
            TypeError: an input that is no tensor, or a state that is not a single tensor.
        """
        (h,) = self.step(input, hx)
        return h


class LSTMCell(Recurrence):
    """LSTM cell (`rnn_torch.cells.lstm`), in place of torch.nn.LSTMCell.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html

    The arguments are those of `RNNCell` without `nonlinearity`, and

    Args:
        proj_size: P, features to which h is projected, as in `rnn_torch.LSTM`; torch.nn's cell has
            none.

    Raises:
        TypeError, ValueError: an argument that `rnn_torch.LSTM` refuses.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        proj_size: int = 0,
    ):
        config = LayerConfig("lstm", input_size, hidden_size, bias=bias, proj_size=proj_size)
        super().__init__(config, device, dtype)

    def forward(
        self, input: Inputs, hx: tuple[Hidden, Memory] | None = None
    ) -> tuple[Hidden, Memory]:
        """Takes one step as `RNNCell.forward`, with the state (h, c): h of P features, c of H."""
        h, c = self.step(input, hx)
        return h, c


class GRUCell(Recurrence):
    """GRU cell (`rnn_torch.cells.gru`), in place of torch.nn.GRUCell.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.GRUCell.html

    The arguments are those of `RNNCell` without `nonlinearity`.

    Raises:
        TypeError, ValueError: an argument that `rnn_torch.GRU` refuses.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ):
        config = LayerConfig("gru", input_size, hidden_size, bias=bias)
        super().__init__(config, device, dtype)

    def forward(self, input: Inputs, hx: Hidden | None = None) -> Hidden:
        """Takes one step as `RNNCell.forward`."""
        (h,) = self.step(input, hx)
        return h


Cell = RNNCell | LSTMCell | GRUCell


def make_cell(
    config: LayerConfig,
    *,
    device: torch.device | str | int | None = None,
    dtype: torch.dtype | None = None,
) -> Cell:
    """Makes the cell with these arguments."""
    kind = {"rnn": RNNCell, "lstm": LSTMCell, "gru": GRUCell}[config.cell]
    return kind(**config.cell_arguments(), device=device, dtype=dtype)


def _state(config: LayerConfig, input: Any, hx: Any, weights: Weights) -> State:
    """Returns the state as a tuple, zeros for None, after checks of input and state."""
    name, names = f"{config.name}Cell", STATES[config.cell]
    if not torch.is_tensor(input):
        raise TypeError(f"{name}: expected input to be a tensor, got {named(input)}")
    if input.dim() not in (1, 2):
        raise ValueError(
            f"{name}: expected input of shape (batch, input_size) or (input_size,), "
            f"got {tuple(input.shape)}"
        )
    batch = tuple(input.shape[:-1])
    # Without the first axis, that of layers and directions.
    shapes = [(*batch, shape[-1]) for shape in config.state_shapes(None)]
    parts = [input.new_zeros(shape) for shape in shapes] if hx is None else _parts(config, hx)
    expected = [("input", input, (*batch, config.input_size))]
    expected += list(zip([f"a state {state}" for state in names], parts, shapes, strict=True))
    dtype = autocast(weights.weight_ih).dtype
    for what, tensor, shape in expected:
        if tuple(tensor.shape) != shape:
            raise RuntimeError(
                f"{name}: expected {what} of shape {shape}, got {tuple(tensor.shape)}"
            )
        if autocast(tensor).dtype != dtype:
            raise RuntimeError(f"{name}: expected {what} of {dtype}, got {tensor.dtype}")
    return tuple(parts)


def _parts(config: LayerConfig, hx: Any) -> Sequence[Tensor]:
    """Returns h, or h and c, each with 1 or 2 axes."""
    name, pair = f"{config.name}Cell", config.cell == "lstm"
    parts = hx if isinstance(hx, (tuple, list)) else [hx]
    if isinstance(hx, (tuple, list)) != pair or not all(map(torch.is_tensor, parts)):
        wanted = "a pair (h, c) of tensors" if pair else "one tensor h"
        got = "one tensor" if torch.is_tensor(hx) else named(hx)
        raise TypeError(f"{name}: expected {wanted} as state, got {got}")
    if pair and len(parts) != 2:
        raise RuntimeError(f"{name}: expected a pair (h, c) as state, got {len(parts)} tensors")
    for state, part in zip(STATES[config.cell], parts, strict=True):
        if part.dim() not in (1, 2):
            raise ValueError(
                f"{name}: expected a state {state} of shape (batch, features) or (features,), "
                f"got {tuple(part.shape)}"
            )
    return parts
