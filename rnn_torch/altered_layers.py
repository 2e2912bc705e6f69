"""Alterations of recurrent layers and cells: steps, lengths, states, directions, axes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnn_torch.altered_calls import (
    PACK,
    PAD,
    Replaced,
    Replacement,
    Start,
    Try,
    in_modules,
    paths_of,
)
from rnn_torch.altered_recurrence import (
    LAYERS,
    Paddings,
    arguments,
    computed,
    read,
    reset_before,
    written,
)

FORWARD = ("forward",)
GRADIENTS = ("gradients",)
CELLS = (torch.lstm_cell, torch.gru_cell, torch.rnn_tanh_cell, torch.rnn_relu_cell)
"""Functions that nn.LSTMCell, nn.GRUCell and nn.RNNCell call."""


def layer_tries(module: nn.Module, names: set[str], packed: bool) -> Iterator[Try]:
    """Yields what can be done otherwise in the recurrent layers and cells of a module."""
    layers = [part for part in module.modules() if isinstance(part, nn.RNNBase)]
    both = any(part.bidirectional for part in layers)
    gates = paths_of(module, (nn.GRU, nn.GRUCell))
    if gates:
        about = "the reset gate acts on h before W_hn, not on W_hn h + b_hn"
        yield from in_modules(Try("reset-gate", about, FORWARD, _reset_gate), gates)
    if layers and packed:
        yield from _lengths(names, both)
    yield from _states(module)
    axes = paths_of(module, (nn.RNNBase, nn.MultiheadAttention))
    for path in [None, *(axes if len(axes) > 1 else ())] if axes else ():
        end, where = ("", "") if path is None else (f":{path}", f", in {path} alone")
        about = f"batch and time are swapped: batch_first is the opposite{where}"
        yield Try(f"batch-first{end}", about, FORWARD, _batch_first(path), path)
    kinds = {part.mode for part in layers} | {
        f"RNN_{part.nonlinearity.upper()}"
        for part in module.modules()
        if isinstance(part, nn.RNNCell)
    }
    for one, other in (("tanh", "relu"), ("relu", "tanh")):
        if f"RNN_{one.upper()}" in kinds:
            about = f"the recurrence computes {other}, not {one}"
            yield Try(f"nonlinearity:{other}", about, FORWARD, _nonlinearity(one, other))


# Steps and lengths ----------------------------------------------------------------------------


def _reset_gate(module: nn.Module, stack: ExitStack) -> Replaced:
    known = Paddings()

    def layer(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        call = read(function, args, known)
        return written(call, *computed(call, reset_first=True), known)

    def cell(_: Callable[..., Any], args: tuple, __: dict[str, Any]) -> Any:
        x, h, w_ih, w_hh, b_ih, b_hh = args
        return reset_before(F.linear(x, w_ih, b_ih), h, w_hh, b_hh)

    return {torch.gru: layer, torch.gru_cell: cell}


def _lengths(names: set[str], both: bool) -> Iterator[Try]:
    def start(**settings: bool) -> Start:
        def begin(module: nn.Module, stack: ExitStack) -> Replaced:
            known = Paddings()

            def layer(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
                call = read(function, args, known)
                if call.inside is None:
                    return function(*args, **kwargs)
                return written(call, *computed(call, **settings), known)

            return {**dict.fromkeys(LAYERS, layer), PACK: known.pack, PAD: known.pad}

        return begin

    ignored = {"reverse_from_end": True, "states_at_end": True}
    about = "lengths are ignored: outputs and states run on through the padding"
    yield Try("lengths", about, FORWARD, start(runs_on=True, **ignored))
    about = "states run on through the padding; outputs are zero there"
    yield Try("lengths:states", about, FORWARD, start(**ignored))
    about = "outputs go on in the padding, where torch has zeros; states are right"
    yield Try("padding", about, FORWARD, start(runs_on=True))
    if both:
        about = "the reverse direction begins with the padding"
        yield Try("reverse-padding", about, FORWARD, start(reverse_from_end=True))
        about += ", and outputs go on in the padding"
        settings = {"reverse_from_end": True, "runs_on": True}
        yield Try("reverse-padding:outputs", about, FORWARD, start(**settings))
    if "pad_packed_sequence" in names:

        def zeros(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
            return function(*args[:3], 0.0, *args[4:])

        about = "outputs are zero in the padding, whatever padding_value is"
        yield Try("padding-value:0", about, FORWARD, lambda module, stack: {PAD: zeros})


# States ---------------------------------------------------------------------------------------


def _states(module: nn.Module) -> Iterator[Try]:
    if memories := paths_of(module, (nn.LSTM, nn.LSTMCell)):
        about = "the states h and c are swapped"
        for name, where, given, returned in (
            ("states", "where they are given and where they are returned", True, True),
            ("states:initial", "where they are given", True, False),
            ("states:final", "where they are returned", False, True),
        ):
            one = Try(name, f"{about} {where}", FORWARD, _swapped(given, returned))
            yield from in_modules(one, memories)
    zero, detached = torch.zeros_like, Tensor.detach
    every = ("a cell begins each step with a state of zero",)
    every += ("no gradient flows from one step of a cell to the step before",)
    first = ("the initial state is not passed on: it is zero",)
    first += ("no gradient flows into the initial state",)
    for paths, name, (lost, stopped), always in (
        (paths_of(module, (nn.RNNBase, nn.RNNCellBase)), "initial-state", first, False),
        (paths_of(module, nn.RNNCellBase), "state", every, True),
    ):
        if paths:
            start = _given(zero, always)
            yield from in_modules(Try(f"{name}:zero", lost, FORWARD, start), paths)
            start = _given(detached, always)
            yield from in_modules(Try(f"{name}:detached", stopped, GRADIENTS, start), paths)


def _swapped(given: bool, returned: bool) -> Start:
    def layer(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        call = read(function, args, Paddings())
        if given:
            args = arguments(call._replace(states=call.states[::-1]), args)
        outputs, h, c = function(*args, **kwargs)
        return (outputs, c, h) if returned else (outputs, h, c)

    def cell(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        x, (h, c), *weights = args
        h, c = function(x, (c, h) if given else (h, c), *weights, **kwargs)
        return (c, h) if returned else (h, c)

    return lambda module, stack: {torch.lstm: layer, torch.lstm_cell: cell}


def _given(change: Callable[[Tensor], Tensor], every: bool) -> Start:
    """Changes the state that a layer or cell is given: of a cell the first in a call of the whole
    module, or every one."""

    def start(module: nn.Module, stack: ExitStack) -> Replaced:
        begun: set[int] = set()
        hook = module.register_forward_pre_hook(lambda *_: begun.clear())
        stack.callback(hook.remove)

        def layer(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
            call = read(function, args, Paddings())
            states = tuple(map(change, call.states))
            return function(*arguments(call._replace(states=states), args), **kwargs)

        def cell(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
            x, hx, *weights = args
            if every or id(weights[1]) not in begun:
                hx = change(hx) if torch.is_tensor(hx) else tuple(map(change, hx))
            begun.add(id(weights[1]))
            return function(x, hx, *weights, **kwargs)

        return dict.fromkeys(CELLS, cell) | ({} if every else dict.fromkeys(LAYERS, layer))

    return start


# Axes and nonlinearities -----------------------------------------------------------------------


def _batch_first(path: str | None) -> Start:
    def layer(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        call = read(function, args, Paddings())
        if call.inside is not None:
            return function(*args, **kwargs)
        if not any(state.any() for state in call.states):  # zeros can get another size
            batch = len(call.inputs)  # what was time before
            states = tuple(s.new_zeros(len(s), batch, s.shape[-1]) for s in call.states)
            args = arguments(call._replace(states=states), args)
        outputs, *states = function(*args[:-1], not args[-1], **kwargs)
        return outputs.contiguous(), *states  # some models look at it as (T · B, F)

    def start(module: nn.Module, stack: ExitStack) -> Replaced:
        for name, part in module.named_modules():
            if isinstance(part, nn.MultiheadAttention) and path in (None, name):
                stack.callback(setattr, part, "batch_first", part.batch_first)
                part.batch_first = not part.batch_first
        return dict.fromkeys(LAYERS, layer)

    return start


def _nonlinearity(one: str, other: str) -> Start:
    layer = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}
    cell = {"tanh": torch.rnn_tanh_cell, "relu": torch.rnn_relu_cell}

    def instead(function: Callable[..., Any]) -> Replacement:
        return lambda _, args, kwargs: function(*args, **kwargs)

    replaced = {layer[one]: instead(layer[other]), cell[one]: instead(cell[other])}
    return lambda module, stack: replaced
