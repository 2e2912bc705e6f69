"""What RNN, LSTM and GRU have in common: layers and directions around one recurrence.

A call checks its input, brings it into one form, packed rows, time first, the state a tuple, walks
through the layers, and gives the result back in the form of the input.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from rnn_torch.cells import CELLS, State, Weights
from rnn_torch.recurrence import recur
from shared.layer import (
    LayerConfig,
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
    """What the three layers have in common."""

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
        names = list(self.config.shapes())
        endings = [ending for layer in self.config.suffixes() for ending in layer]
        groups = [[name for name in names if name.endswith(ending)] for ending in endings]
        return [[getattr(self, name) for name in group] for group in groups]

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As in torch, but all or nothing: torch loads what fits before it raises."""
        kept = {name: (p, p.detach().clone()) for name, p in self.named_parameters()}
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except Exception:
            for name, (parameter, values) in kept.items():
                parameter.data.copy_(values)
                self._parameters[name] = parameter
            raise

    def extra_repr(self) -> str:
        """As torch's, with the nonlinearity, which torch does not show."""
        arguments, defaults = self.config.arguments(), LayerConfig("rnn", 1, 2)
        sizes = [str(arguments.pop("input_size")), str(arguments.pop("hidden_size"))]
        arguments = {"proj_size": arguments.pop("proj_size", 0)} | arguments
        others = [f"{k}={v!r}" for k, v in arguments.items() if v != getattr(defaults, k)]
        return ", ".join(sizes + others)

    def _run(
        self,
        input: Inputs,
        hx: Tensor | tuple[Tensor, Tensor] | None,
        masks: Tensor | None,
    ) -> tuple[Outputs, Stacked]:
        """A call; the final state is a tuple as in `cells.py`."""
        config = self.config
        if isinstance(input, PackedSequence):
            data, batch_sizes, sorted_indices, unsorted_indices = input
            check_input(config, data.shape, packed=True)
            x = _autocast(data)
            sizes = batch_sizes.tolist()
            if sum(sizes) != len(x):
                raise RuntimeError(
                    f"{config.name}: expected {sum(sizes)} packed rows, the sum of batch_sizes, "
                    f"got {len(x)}: was a length beyond the input's last step?"
                )
            state = self._initial(config, x, hx, sizes[0])
            state = _permute(state, sorted_indices)
            x, state = self._stack(config, x, sizes, state, masks)
            output = PackedSequence(x, batch_sizes, sorted_indices, unsorted_indices)
            return output, _permute(state, unsorted_indices)

        check_kind(config, "input", input, torch.is_tensor(input), "a tensor or a PackedSequence")
        check_input(config, input.shape)
        batched = input.dim() == 3
        swapped = batched and config.batch_first
        x = _autocast(input)
        x = x.transpose(0, 1) if swapped else x if batched else x.unsqueeze(1)
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
        state: Stacked,
        masks: Tensor | None,
    ) -> tuple[Tensor, Stacked]:
        """All layers and directions over packed rows (N, I), the state (L·D, B, …)."""
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
    ) -> Stacked:
        """The initial state as a tuple: zeros, or `hx` if it fits the layer and its input."""
        dtype = _autocast(cast(Tensor, self.weight_ih_l0)).dtype
        if x.dtype != dtype:
            raise ValueError(
                f"{config.name}: expected input of {dtype}, as its weights, got {x.dtype}"
            )
        if hx is None:
            return tuple(x.new_zeros(shape) for shape in config.state_shapes(batch))
        state = tuple(map(_autocast, check_state(config, hx, batch)))
        for part in state:
            if part.dtype != dtype:
                raise RuntimeError(
                    f"{config.name}: expected an initial state of {dtype}, got {part.dtype}"
                )
        return state

    def _weights(self, ending: str) -> Weights:
        found: list[Any] = [getattr(self, name + ending, None) for name in Weights._fields]
        tensors: list[Any] = [None if tensor is None else _autocast(tensor) for tensor in found]
        return Weights(*tensors)

    @property
    def _width(self) -> int:
        """Features of the output."""
        return self.config.directions * self.config.output_size


def _autocast(tensor: Tensor) -> Tensor:
    """What torch.autocast does to the arguments of torch.nn's layers: all get its dtype."""
    kind = tensor.device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return tensor
    return tensor if tensor.dtype == torch.float64 else tensor.to(torch.get_autocast_dtype(kind))


def _permute(state: Stacked, indices: Tensor | None) -> Stacked:
    return state if indices is None else tuple(part.index_select(1, indices) for part in state)
