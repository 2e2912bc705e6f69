"""Alterations of what is taken of a recurrent layer: last outputs and states, directions."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from rnn_torch.altered_calls import PAD, Replaced, Start, Try, in_modules
from rnn_torch.altered_recurrence import LAYERS, Call, Paddings, outputs_of, read, written

FORWARD = ("forward",)
States = list[Tensor]
Change = Callable[[Call, Tensor, States], tuple[Tensor, States]]
"""(call, outputs (T, B, D·H), states) → those that are returned in their place."""


def output_tries(module: nn.Module, packed: bool) -> Iterator[Try]:
    """Yields what else can be taken of the recurrent layers of a module.

    Args:
        packed: sequences may have several lengths.
    """
    layers = {path: part for path, part in module.named_modules() if isinstance(part, nn.RNNBase)}
    both = [path for path, part in layers.items() if part.bidirectional]
    several = [path for path, part in layers.items() if part.num_layers > 1 or path in both]
    all_packed = list(layers) if packed else []
    last, state = "the last output stands for the last state", "the last state stands for the last"
    halves = "the halves of the two directions are swapped in"
    for paths, name, about, change in (
        (both, "last-output", f"{last}, that of each sequence", _last_output),
        (all_packed, "last-output:padded", f"{last}, that after all steps", _last_output_of_all),
        (all_packed or both, "last-state", f"{state} output, that after all steps", _last_state),
        (both if packed else [], "last-state:lengths", f"{state} output of each sequence",
         _last_states),
        (all_packed, "last-step", "the last output of a sequence stands for that after all steps",
         _last_step),
        (several, "states:order", "final states of layers and directions are in reverse order",
         lambda call, outputs, states: (outputs, [one.flip(0) for one in states])),
        (both, "halves", f"{halves} outputs and final states", _halves),
        (both, "halves:outputs", f"{halves} outputs",
         lambda call, outputs, states: (_halves(call, outputs, states)[0], states)),
        (both, "halves:states", f"{halves} final states",
         lambda call, outputs, states: (outputs, _halves(call, outputs, states)[1])),
    ):  # fmt: skip
        if paths:
            yield from in_modules(Try(name, about, FORWARD, _returned(change)), paths)


def _returned(change: Change) -> Start:
    def start(module: nn.Module, stack: ExitStack) -> Replaced:
        known = Paddings()

        def layer(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
            result = function(*args, **kwargs)
            call = read(function, args, known)
            outputs, states = change(call, outputs_of(call, result, known), [*result[1:]])
            return written(call, outputs, states, known)

        return {**dict.fromkeys(LAYERS, layer), PAD: known.pad}

    return start


def _last_output(call: Call, outputs: Tensor, states: States) -> tuple[Tensor, States]:
    return outputs, [_top(call, _at_ends(call, outputs), states[0]), *states[1:]]


def _last_output_of_all(call: Call, outputs: Tensor, states: States) -> tuple[Tensor, States]:
    return outputs, [_top(call, outputs[-1], states[0]), *states[1:]]


def _last_state(call: Call, outputs: Tensor, states: States) -> tuple[Tensor, States]:
    return torch.cat([outputs[:-1], _joined(call, states[0])[None]]), states


def _last_states(call: Call, outputs: Tensor, states: States) -> tuple[Tensor, States]:
    turns = torch.arange(len(outputs), device=outputs.device)[:, None]
    last = (turns == call.lengths - 1)[..., None]
    return torch.where(last, _joined(call, states[0]), outputs), states


def _last_step(call: Call, outputs: Tensor, states: States) -> tuple[Tensor, States]:
    return torch.cat([outputs[:-1], _at_ends(call, outputs)[None]]), states


def _halves(call: Call, outputs: Tensor, states: States) -> tuple[Tensor, States]:
    swapped = [one.unflatten(0, (-1, call.directions)).flip(1).flatten(0, 1) for one in states]
    return torch.cat(outputs.chunk(call.directions, -1)[::-1], dim=-1), swapped


def _at_ends(call: Call, outputs: Tensor) -> Tensor:
    """Returns the last output of each sequence, (B, D·H)."""
    return outputs[call.lengths - 1, torch.arange(outputs.shape[1], device=outputs.device)]


def _top(call: Call, output: Tensor, state: Tensor) -> Tensor:
    """Puts an output (B, D·H) into the rows of the last layer of a state (L·D, B, H)."""
    return torch.cat([state[: -call.directions], torch.stack(output.chunk(call.directions, -1))])


def _joined(call: Call, state: Tensor) -> Tensor:
    """Returns the last layer's states of all directions side by side, (B, D·H)."""
    return torch.cat([*state[-call.directions :]], dim=-1)
