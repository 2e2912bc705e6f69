"""The common part of RNN, LSTM and GRU: layers and directions around one recurrence.

A call checks its input and brings it into one form: packed rows, time first, with the state as a
tuple. It walks through the layers, and gives the result back in the form of the input.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from rnn_torch import bptt, private, recurrence
from rnn_torch.cells import CELLS, State, Weights
from rnn_torch.loading import load
from shared.protocol import LayerConfig
from shared.protocol.checks import (
    check_input,
    check_kind,
    check_masks,
    check_state,
    warn_of_idle_dropout,
)

Inputs = Float[Tensor, "*TB I"] | PackedSequence
Outputs = Float[Tensor, "*TB DP"] | PackedSequence
Hidden = Float[Tensor, "LD *B P"]
Memory = Float[Tensor, "LD *B H"]
Stacked = tuple[Float[Tensor, "LD *B _"], ...]
Masks = Float[Tensor, "L1 *TB DP"]


class Recurrent(nn.Module):
    """The common part of the three layers."""

    def __init__(
        self,
        config: LayerConfig,
        device: torch.device | str | int | None,
        dtype: torch.dtype | None,
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
    def layer_config(self) -> LayerConfig:
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
        names = list(self.layer_config.shapes())
        endings = [ending for layer in self.layer_config.suffixes() for ending in layer]
        groups = [[name for name in names if name.endswith(ending)] for ending in endings]
        return [[getattr(self, name) for name in group] for group in groups]

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
        """Returns the same as torch's, with the nonlinearity, which torch does not show."""
        arguments, defaults = self.layer_config.arguments(), LayerConfig("rnn", 1, 2)
        sizes = [str(arguments.pop("input_size")), str(arguments.pop("hidden_size"))]
        arguments = {"proj_size": arguments.pop("proj_size", 0)} | arguments
        others = [f"{k}={v!r}" for k, v in arguments.items() if v != getattr(defaults, k)]
        return ", ".join(sizes + others)

    def run(
        self,
        input: Inputs,
        hx: Any = None,
        masks: Tensor | None = None,
        layers: list[Any] | None = None,
    ) -> tuple[Outputs, Stacked]:
        """Makes a call; the final state is a tuple as in `cells.py`, and `layers` gets each layer's
        outputs."""
        config = self.layer_config
        if isinstance(input, PackedSequence):
            data, batch_sizes, sorted_indices, unsorted_indices = input
            x = self._input(config, data)
            check_input(config, x.shape, packed=True)
            sizes = _sizes(config, x, batch_sizes)
            state = self._initial(config, x, hx, sizes[0])
            state = _permute(state, sorted_indices)
            masks = self._masks(config, x, masks)
            x, state = self._stack(config, x, sizes, state, masks, layers)
            indices = (batch_sizes, sorted_indices, unsorted_indices)
            if layers is not None:
                layers[:] = [PackedSequence(rows, *indices) for rows in layers]
            return PackedSequence(x, *indices), _permute(state, unsorted_indices)

        check_kind(config, "input", input, torch.is_tensor(input), "a tensor or a PackedSequence")
        x = self._input(config, input)
        check_input(config, x.shape)
        batched = x.dim() == 3
        swapped = batched and config.batch_first
        masks = self._masks(config, x, masks)
        x = x.transpose(0, 1) if swapped else x if batched else x.unsqueeze(1)
        steps, batch = x.shape[:2]
        state = self._initial(config, x, hx, batch if batched else None)
        if not batched:
            state = tuple(part.unsqueeze(1) for part in state)
        if masks is not None:
            masks = masks.transpose(1, 2) if swapped else masks
            masks = masks.reshape(config.num_layers - 1, steps * batch, self._width)
        x, state = self._stack(config, x.flatten(0, 1), [batch] * steps, state, masks, layers)

        def formed(rows: Tensor) -> Tensor:
            x = rows.unflatten(0, (steps, batch))
            return x.squeeze(1) if not batched else x.transpose(0, 1) if swapped else x

        if layers is not None:
            layers[:] = [formed(rows) for rows in layers]
        if not batched:
            state = tuple(part.squeeze(1) for part in state)
        return formed(x), state

    def _stack(
        self,
        config: LayerConfig,
        x: Tensor,
        batch_sizes: list[int],
        state: Stacked,
        masks: Tensor | None,
        layers: list[Any] | None,
    ) -> tuple[Tensor, Stacked]:
        """Runs all layers and directions over packed rows (N, I), with the state (L·D, B, …)."""
        finals: list[State] = []
        for layer, endings in enumerate(config.suffixes()):
            if layer > 0:
                x = (
                    F.dropout(x, self.dropout, self.training)
                    if masks is None
                    else x * masks[layer - 1]
                )
            directions = []
            for ending in endings:
                before = tuple(part[len(finals)] for part in state)
                weights, reverse = self._weights(ending), ending.endswith("_reverse")
                arguments = x, batch_sizes, before, weights, reverse
                if bptt.supports(self.mode, x, before, weights):
                    output, final = bptt.recur(self.mode, *arguments)
                else:
                    output, final = recurrence.recur(CELLS[self.mode], *arguments)
                directions.append(output)
                finals.append(final)
            x = torch.cat(directions, dim=-1)
            if layers is not None:
                layers.append(x)
        return x, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))

    def _input(self, config: LayerConfig, input: Tensor) -> Tensor:
        """Returns the input in the dtype of the computation, which is that of the weights."""
        x, dtype = autocast(input), autocast(cast(Tensor, self.weight_ih_l0)).dtype
        if x.dtype != dtype:
            raise ValueError(
                f"{config.name}: expected input of {dtype}, as its weights, got {x.dtype}"
            )
        return x

    def _initial(
        self,
        config: LayerConfig,
        x: Tensor,
        hx: Tensor | tuple[Tensor, Tensor] | None,
        batch: int | None,
    ) -> Stacked:
        """Returns the initial state as a tuple: zeros, or `hx` if it fits the layer and its
        input."""
        if hx is None:
            return tuple(x.new_zeros(shape) for shape in config.state_shapes(batch))
        parts = check_state(config, hx, batch, torch.is_tensor)
        state = tuple(map(autocast, parts))
        for part in state:
            if part.dtype != x.dtype:
                raise RuntimeError(
                    f"{config.name}: expected an initial state of {x.dtype}, got {part.dtype}"
                )
        return state

    def _masks(self, config: LayerConfig, x: Tensor, masks: Any) -> Tensor | None:
        """Returns masks for an input (…, I), in its dtype."""
        if masks is None:
            return None
        check_kind(config, "masks", masks, torch.is_tensor(masks), "a tensor")
        check_masks(config, masks.shape, (*x.shape[:-1], self._width))
        return masks.to(x.dtype)

    def _weights(self, ending: str) -> Weights:
        found: list[Any] = [getattr(self, name + ending, None) for name in Weights._fields]
        tensors: list[Any] = [None if tensor is None else autocast(tensor) for tensor in found]
        return Weights(*tensors)

    @property
    def _width(self) -> int:
        """Features of the output."""
        return self.layer_config.directions * self.layer_config.output_size


def _sizes(config: LayerConfig, x: Tensor, batch_sizes: Tensor) -> list[int]:
    """Returns the rows of each step of packed input."""
    if private.is_tracing():
        raise RuntimeError(
            f"{config.name}: expected padded input under torch.jit.trace, got a PackedSequence, "
            "whose lengths a trace would keep"
        )
    sizes = batch_sizes.tolist()
    if sizes != sorted(sizes, reverse=True):
        raise RuntimeError(f"{config.name}: expected batch_sizes that never grow, got {sizes}")
    if sum(sizes) != x.shape[0]:
        raise RuntimeError(
            f"{config.name}: expected {sum(sizes)} packed rows, the sum of batch_sizes, "
            f"got {x.shape[0]}: was a length beyond the input's last step?"
        )
    return sizes


def autocast(tensor: Tensor) -> Tensor:
    """Does what torch.autocast does to the arguments of torch.nn's layers: all floats get its
    dtype."""
    kind = tensor.device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return tensor
    if not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(kind))


def _permute(state: Stacked, indices: Tensor | None) -> Stacked:
    return state if indices is None else tuple(part.index_select(1, indices) for part in state)
