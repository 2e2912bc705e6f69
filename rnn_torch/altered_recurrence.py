"""A call of torch's recurrent layers, taken apart and computed step by step, in several ways."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LAYERS = {torch.lstm: 4, torch.gru: 3, torch.rnn_tanh: 1, torch.rnn_relu: 1}
"""Functions that nn.LSTM, nn.GRU and nn.RNN call, with their number of gates."""


class Call(NamedTuple):
    """The arguments of torch.lstm, gru, rnn_tanh or rnn_relu."""

    function: Callable[..., Any]
    inputs: Tensor
    """(T, B, I), what stands in the padding included."""
    inside: Tensor | None
    """(T, B), bool: False in the padding; None if inputs are not packed."""
    sizes: Tensor | None
    """Batch sizes of a packed sequence."""
    states: tuple[Tensor, ...]
    """(h,) or (h, c), each (L·D, B, H)."""
    weights: Sequence[Tensor]
    biases: bool
    layers: int
    dropout: float
    training: bool
    directions: int
    batch_first: bool

    @property
    def lengths(self) -> Tensor:
        """(B,)"""
        steps, batch = self.inputs.shape[:2]
        full = torch.full((batch,), steps, device=self.inputs.device)
        return full if self.inside is None else self.inside.sum(0)


class Paddings:
    """What stands in the padding of packed sequences, which a packed sequence itself drops."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Tensor, Tensor]] = {}

    def remember(self, data: Tensor, padded: Tensor) -> None:
        """Keeps (T, B, …) for the data of a packed sequence."""
        self._known[id(data)] = (data, padded)  # the data, too, so that no other gets its id

    def padded(self, data: Tensor, sizes: Tensor) -> Tensor:
        """Returns (T, B, …) of the data of a packed sequence: zeros where nobody knows more."""
        if id(data) in self._known:
            return self._known[id(data)][1]
        inside = within(sizes.to(data.device))
        empty = data.new_zeros((*inside.shape, *data.shape[1:]))
        return empty.masked_scatter(_over(inside, empty), data)

    def known(self, data: Tensor) -> bool:
        return id(data) in self._known

    def pack(self, function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        """Does what torch's _pack_padded_sequence does, and remembers what it drops."""
        inputs, _, batch_first = args
        data, sizes = function(*args, **kwargs)
        times = inputs.transpose(0, 1) if batch_first else inputs
        self.remember(data, times[: len(sizes)])
        return data, sizes

    def pad(self, function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        """Does what torch's _pad_packed_sequence does, with what is known of the padding."""
        data, sizes, batch_first, value, total = args
        if not self.known(data):
            return function(*args, **kwargs)
        padded = self.padded(data, sizes)
        if value:
            empty = ~padded.any(-1, keepdim=True) & ~within(sizes.to(data.device))[..., None]
            padded = padded.masked_fill(empty, value)
        if total > len(padded):
            rest = padded.new_full((total - len(padded), *padded.shape[1:]), value)
            padded = torch.cat([padded, rest])
        return padded.transpose(0, 1) if batch_first else padded, within(sizes).sum(0)


def within(sizes: Tensor) -> Tensor:
    """Returns (T, B): whether a step is within its sequence, from the batch sizes of each step."""
    return torch.arange(int(sizes[0]), device=sizes.device) < sizes[:, None]


def read(function: Callable[..., Any], args: tuple, known: Paddings) -> Call:
    packed = torch.is_tensor(args[1]) and isinstance(args[3], (list, tuple))
    data, sizes, hx, weights, biases, layers, dropout, training, both = (
        args[:9] if packed else (args[0], None, *args[1:8])
    )
    batch_first = not packed and args[8]
    inside = None if sizes is None else within(sizes.to(data.device))
    if sizes is not None:
        inputs = known.padded(data, sizes)
    else:
        inputs = data.transpose(0, 1) if batch_first else data
    states = (hx,) if torch.is_tensor(hx) else tuple(hx)
    return Call(
        function, inputs, inside, sizes, states, weights, biases, layers, dropout, training,
        2 if both else 1, batch_first,
    )  # fmt: skip


def arguments(call: Call, args: tuple) -> tuple:
    """Returns the arguments of the function with the states of `call`."""
    place = 1 if call.sizes is None else 2
    hx = call.states if isinstance(args[place], (tuple, list)) else call.states[0]
    return (*args[:place], hx, *args[place + 1 :])


def written(call: Call, outputs: Tensor, states: Sequence[Tensor], known: Paddings) -> tuple:
    """Returns what the function returns, from outputs of (T, B, D·H), padding included."""
    if call.inside is not None:
        data = outputs[call.inside]
        known.remember(data, outputs)
        return (data, *states)
    return (outputs.transpose(0, 1) if call.batch_first else outputs, *states)


def outputs_of(call: Call, result: Sequence[Tensor], known: Paddings) -> Tensor:
    """Returns (T, B, D·H) of a result of the function."""
    if call.sizes is not None:
        return known.padded(result[0], call.sizes)
    return result[0].transpose(0, 1) if call.batch_first else result[0]


# Step by step ---------------------------------------------------------------------------------


def computed(
    call: Call,
    *,
    reset_first: bool = False,
    runs_on: bool = False,
    reverse_from_end: bool = False,
    states_at_end: bool = False,
) -> tuple[Tensor, list[Tensor]]:
    """Returns outputs of (T, B, D·H) and final states of (L·D, B, H); as torch does by default.

    Dropout between layers draws as torch does, in number, shape and order.

    Args:
        reset_first: a GRU's reset gate acts on h before W_hn.
        runs_on: outputs go on in the padding; otherwise those of the last layer are zero there.
        reverse_from_end: the reverse direction begins with the padding.
        states_at_end: final states are those after all T steps, padding included.
    """
    steps, inside = len(call.inputs), call.inside
    lengths = call.lengths
    turns = torch.arange(steps, device=lengths.device)[:, None].expand(steps, len(lengths))
    ends = torch.full_like(lengths, steps)
    each = len(call.weights) // (call.layers * call.directions)
    inputs, finals = call.inputs, []
    for layer in range(call.layers):
        sides = []
        for direction in range(call.directions):
            at = layer * call.directions + direction
            weights = call.weights[at * each : (at + 1) * each]
            last = ends if states_at_end else lengths
            times = turns
            if direction and reverse_from_end:
                times, last = steps - 1 - turns, ends
            elif direction:  # the padding comes after the sequence, reversed as well
                times = (lengths - 1 - turns) % steps
            states = [state[at] for state in call.states]
            outputs, final = _swept(call, weights, inputs, states, times, last, reset_first)
            sides.append(outputs)
            finals.append(final)
        outputs = torch.cat(sides, dim=-1)
        if call.dropout and call.training and layer < call.layers - 1:
            outputs = _dropped(outputs, call.dropout, inside)
        inputs = outputs
    if inside is not None and not runs_on:
        inputs = torch.where(inside[..., None], inputs, 0.0)
    return inputs, [torch.stack(parts) for parts in zip(*finals, strict=True)]


def _swept(
    call: Call,
    weights: Sequence[Tensor],
    inputs: Tensor,
    states: list[Tensor],
    times: Tensor,
    last: Tensor,
    reset_first: bool,
) -> tuple[Tensor, list[Tensor]]:
    """Runs one direction of one layer.

    Args:
        times: (T, B), the step that is read at each turn.
        last: (B,), the number of turns after which the final state is taken.
    """
    batch = torch.arange(inputs.shape[1], device=inputs.device)
    final, outputs = states, []
    for turn, now in enumerate(times):
        states = _step(call, weights, inputs[now, batch], states, reset_first)
        outputs.append(states[0])
        taken = (last > turn)[:, None]
        final = [torch.where(taken, new, old) for new, old in zip(states, final, strict=True)]
    turned = torch.stack(outputs)
    back = torch.argsort(times, dim=0)  # the turn at which each step was read
    return turned[back, batch], final


def _step(
    call: Call, weights: Sequence[Tensor], x: Tensor, states: list[Tensor], reset_first: bool
) -> list[Tensor]:
    w_ih, w_hh, *more = weights
    b_ih, b_hh = (more[0], more[1]) if call.biases else (None, None)
    h = states[0]
    given = F.linear(x, w_ih, b_ih)
    if call.function is torch.gru:
        if reset_first:
            return [reset_before(given, h, w_hh, b_hh)]
        parts, own = given.chunk(3, -1), F.linear(h, w_hh, b_hh).chunk(3, -1)
        r, z = torch.sigmoid(parts[0] + own[0]), torch.sigmoid(parts[1] + own[1])
        n = torch.tanh(parts[2] + r * own[2])
        return [(1 - z) * n + z * h]
    total = given + F.linear(h, w_hh, b_hh)
    if call.function is not torch.lstm:
        return [torch.relu(total) if call.function is torch.rnn_relu else torch.tanh(total)]
    i, f, g, o = total.chunk(4, -1)
    c = torch.sigmoid(f) * states[1] + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    projected = len(weights) > (4 if call.biases else 2)
    return [F.linear(h, weights[-1]) if projected else h, c]


def reset_before(given: Tensor, h: Tensor, w_hh: Tensor, b_hh: Tensor | None) -> Tensor:
    """Returns the next state of a GRU whose reset gate acts on h before W_hn, as first published
    (Cho et al. 2014, arXiv:1406.1078).

    Args:
        given: W_ih x + b_ih, (B, 3·H).
    """
    w_rz, w_n = w_hh.split([2 * h.shape[-1], h.shape[-1]])
    b_rz, b_n = (None, None) if b_hh is None else b_hh.split([2 * h.shape[-1], h.shape[-1]])
    x_rz, x_n = given.split([2 * h.shape[-1], h.shape[-1]], dim=-1)
    r, z = torch.sigmoid(x_rz + F.linear(h, w_rz, b_rz)).chunk(2, -1)
    n = torch.tanh(x_n + F.linear(r * h, w_n, b_n))
    return (1 - z) * n + z * h


def _dropped(outputs: Tensor, rate: float, inside: Tensor | None) -> Tensor:
    """Drops as torch does: of a packed sequence, only what is within the sequences."""
    if inside is None:
        return F.dropout(outputs, rate, True)
    return outputs.masked_scatter(
        _over(inside, outputs), F.dropout(outputs[inside], rate, training=True)
    )


def _over(inside: Tensor, like: Tensor) -> Tensor:
    return inside.view(*inside.shape, *[1] * (like.dim() - 2)).expand_as(like)
