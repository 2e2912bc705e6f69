"""Back-propagation through time by hand (Werbos 1990): what `recurrence.recur` computes, for speed.

    if supports("LSTM", x, state, weights):
        outputs, state = recur("LSTM", x, batch_sizes, state, weights)

Autograd would record every operation of every step. Here sequences are walked in chunks of steps
that the processor's cache holds. A step has few operations, on buffers that belong to the call;
`bptt_cells.py` has them. Work that does not depend on the step before is done for a chunk at once,
above all the products that give the gradients of inputs and weights.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnn_torch import private, recurrence
from rnn_torch.bptt_cells import CHUNKED, Backward, Chunked
from rnn_torch.cells import CELLS, State, Weights
from rnn_torch.chunks import Chunk, Part, hand_over, parts

BY_HAND = {mode: CELLS[mode] for mode in CHUNKED}
"""Cells whose backward passes are here; a cell that was put in place of one of them, or is new, has
none."""


class Call(NamedTuple):
    """The arguments of `recur` that are no tensors."""

    mode: str
    batch_sizes: Sequence[int]
    reverse: bool


def supports(mode: str, x: Tensor, state: State, weights: Weights) -> bool:
    """Tells whether `recur` takes these tensors here and now; otherwise `recurrence.recur` does.

    It takes float32 and float64 on the CPU, for the cells of `bptt_cells.py`, not for one put in
    their place, nor for an empty batch. It leaves alone all that looks into the operations:
    torch.func's transformations, forward-mode differentiation, autocast, torch.compile,
    torch.export, torch.jit.trace, dispatch modes, tensors of other classes.
    """
    if CELLS[mode] is not BY_HAND.get(mode):
        return False
    if torch.compiler.is_compiling():
        return False
    tensors = [x, *state, *(weight for weight in weights if weight is not None)]
    return _plain(tensors) and state[0].shape[0] > 0 and not torch.is_autocast_enabled("cpu")


def _plain(tensors: Sequence[Tensor]) -> bool:
    """Tells whether operations on the tensors' memory are all that is wanted."""
    return (
        all(type(tensor) in (Tensor, nn.Parameter) for tensor in tensors)
        and tensors[0].dtype in (torch.float32, torch.float64)
        and all(tensor.dtype == tensors[0].dtype for tensor in tensors)
        and all(tensor.device.type == "cpu" for tensor in tensors)
        and not private.looked_into(tensors)
    )


def recur(
    mode: str,
    x: Float[Tensor, "N I"],
    batch_sizes: Sequence[int],
    state: State,
    weights: Weights,
    reverse: bool = False,
) -> tuple[Float[Tensor, "N P"], State]:
    """Does the same as `recurrence.recur`, for tensors that `supports` accepts.

    Gradients of gradients (`create_graph=True`) go through `recurrence.recur`.

    Args:
        mode: a key of `rnn_torch.cells.CELLS`.
    """
    call = Call(mode, batch_sizes, reverse)
    tensors = (x, *state, *weights)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        output, *final = _Recurrence.apply(call, *tensors)  # pyright: ignore
        return output, tuple(final)
    with private.without_autograd():
        output, final, _ = _forward(call, x, state, weights, keep=False)
    return output, final


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        with private.without_autograd():
            output, final, chunks = _forward(call, *_grouped(tensors), keep=True)
        ctx.call, ctx.count = call, len(tensors)
        ctx.save_for_backward(*tensors, *(tensor for chunk in chunks for tensor in chunk.tensors))
        ctx.set_materialize_grads(False)
        return output, *final

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        call, count, wanted = ctx.call, ctx.count, ctx.needs_input_grad[1:]
        saved = ctx.saved_tensors  # once: activation checkpointing computes it anew at each look
        tensors, kept = saved[:count], iter(saved[count:])
        given = [tensor for tensor in upstream if tensor is not None]
        if not given:
            return (None,) * (count + 1)
        # What runs a backward pass within autocast still gets gradients of what was computed.
        with torch.autocast("cpu", enabled=False):
            if torch.is_grad_enabled() or not _plain(given):
                return None, *_by_autograd(call, tensors, wanted, upstream)
            size = tensors[1].shape[1]
            chunks = [Chunk(call.reverse, size, *four) for four in zip(*[kept] * 4, strict=True)]
            with private.without_autograd():
                return None, *_backward(call, *_grouped(tensors), chunks, upstream, wanted)


def _by_autograd(
    call: Call,
    tensors: Sequence[Tensor | None],
    wanted: Sequence[bool],
    upstream: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Returns gradients through the plain recurrence, which can be differentiated again."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Of aliases: where one tensor was computed from another, each gets its own share alone.
        tensors = [None if tensor is None else tensor.view_as(tensor) for tensor in tensors]
        x, state, weights = _grouped(tensors)
        arguments = x, call.batch_sizes, state, weights, call.reverse
        output, final = recurrence.recur(CELLS[call.mode], *arguments)
    pairs = zip((output, *final), upstream, strict=True)
    outputs, given = zip(*((o, d) for o, d in pairs if d is not None), strict=True)
    inputs: list[Any] = [t for t, want in zip(tensors, wanted, strict=True) if want]
    found = iter(torch.autograd.grad(outputs, inputs, given, create_graph=again, allow_unused=True))
    return [next(found) if want else None for want in wanted]


def _grouped(tensors: Sequence[Any]) -> tuple[Tensor, State, Weights]:
    count = len(Weights._fields)
    return tensors[0], tuple(tensors[1:-count]), Weights(*tensors[-count:])


def _ordered(rows: Tensor, order: Sequence[int]) -> Tensor:
    """Returns rows (G·H, …) with the blocks of their gates in another order."""
    blocks = rows.chunk(len(order))
    return torch.cat([blocks[gate] for gate in order])


def _restored(rows: Tensor, order: Sequence[int]) -> Tensor:
    """Returns rows in torch's order, in memory of their own."""
    return _ordered(rows, [order.index(gate) for gate in range(len(order))])


def _with_ones(x: Tensor) -> Tensor:
    """Puts ones before x, (N, 1 + I): a bias is the weight of an input that is 1."""
    return torch.cat([x.new_ones(x.shape[0], 1), x], 1)


def _forward(
    call: Call, x: Tensor, state: State, weights: Weights, keep: bool
) -> tuple[Tensor, State, list[Chunk]]:
    """Returns outputs, final state, and, if `keep`, the walked chunks for the backward pass."""
    cell, hidden, size = CHUNKED[call.mode], state[-1].shape[1], state[0].shape[1]
    w_ih, w_hh = _ordered(weights.weight_ih, cell.ih), _ordered(weights.weight_hh, cell.hh)
    projected = w_ih.shape[0]
    bias = x.new_zeros(cell.slots * hidden, 1)
    if weights.bias_ih is not None:
        bias[:projected, 0] += _ordered(weights.bias_ih, cell.ih)
    if weights.bias_hh is not None:
        bias[-w_hh.shape[0] :, 0] += _ordered(weights.bias_hh, cell.hh)
    w_x = torch.cat([bias[:projected], w_ih], 1)
    w = torch.cat([w_hh, w_x], 1) if cell.joint else w_hh
    with_ones = _with_ones(x)
    initial = [part.t() for part in state]
    final = [part.new_empty(part.shape) for part in initial]
    output = x.new_empty(x.shape[0], size)
    chunk, chunks = None, []
    last, before = initial, 0
    for rows, steps, batch in parts(call.batch_sizes, hidden, call.reverse):
        last = hand_over(last, before, batch, initial, final)
        if keep or chunk is None or chunk.h.shape != (steps + 1, size, batch):
            chunk = cell.chunk(x, steps, size, hidden, batch, call.reverse)
            chunks += [chunk] if keep else []
        for one, begin in zip(last, chunk.states(end=False), strict=True):
            begin.copy_(one)
        x_t = with_ones[rows].unflatten(0, (steps, batch)).transpose(1, 2)
        if cell.joint:
            chunk.before(chunk.z)[:, size:] = x_t
        else:
            torch.bmm(w_x.expand(steps, -1, -1), x_t, out=chunk.gates[:, :projected])
            chunk.gates[:, projected:] = bias[projected:]
        cell.forward(chunk, w, weights.weight_hr)
        output[rows].unflatten(0, (steps, batch)).copy_(chunk.after(chunk.h).transpose(1, 2))
        last, before = chunk.states(end=True), batch
    hand_over(last, before, 0, initial, final)
    return output, tuple(part.t().contiguous() for part in final), chunks


def _backward(
    call: Call,
    x: Tensor,
    state: State,
    weights: Weights,
    chunks: list[Chunk],
    upstream: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Returns gradients of x, of the state and of the weights, in this order."""
    cell, hidden, size = CHUNKED[call.mode], state[-1].shape[1], state[0].shape[1]
    w_ih, w_hh = _ordered(weights.weight_ih, cell.ih), _ordered(weights.weight_hh, cell.hh)
    w_hh_t, w_hr = w_hh.t().contiguous(), weights.weight_hr
    w_hr_t = None if w_hr is None else w_hr.t().contiguous()
    d_output, *d_last = upstream
    d_final = [
        (torch.zeros_like(part) if d is None else d).t()
        for d, part in zip(d_last, state, strict=True)
    ]
    d_initial = [torch.empty_like(part).t() for part in state]
    d_x = x.new_empty(x.shape[0], w_ih.shape[1]) if wanted[0] else None
    sums = _Sums(cell, x, size, weights)
    run: Backward | None = None
    carry, before = d_final, 0
    walked = zip(parts(call.batch_sizes, hidden, call.reverse), chunks, strict=True)
    for part, chunk in reversed(list(walked)):
        rows, steps, batch = part
        carry = hand_over(carry, before, batch, d_final, d_initial)
        if run is None or run.shape != (steps, batch):
            run = cell.backward(x, steps, size, hidden, batch, call.reverse)
        if d_output is None:
            run.dh.zero_()
        else:
            run.dh.copy_(d_output[rows].unflatten(0, (steps, batch)).transpose(1, 2))
        carry, before = run(chunk, carry, w_hh_t, w_hr_t), batch
        d = sums.add(part, chunk, run)
        if d_x is not None:
            torch.mm(d.t(), w_ih, out=d_x[rows])
    hand_over(carry, before, 0, d_final, d_initial)
    found = [d_x, *(part.t() for part in d_initial), *sums.weights()]
    return [grad if want else None for grad, want in zip(found, wanted, strict=True)]


class _Sums:
    """Gradients of the weights, to which each chunk adds one product.

    Where (h, 1, x) is the input of all gates, its weights have one sum. Otherwise (h, 1) has one
    and (1, x) another.
    """

    def __init__(self, cell: Chunked, x: Tensor, size: int, weights: Weights):
        self.cell, self.x, self.size = cell, x, size
        rows_ih, rows_hh = weights.weight_ih.shape[0], weights.weight_hh.shape[0]
        self.ih, self.hh = slice(rows_ih), slice(-rows_hh, None)
        self.width = size + 1 + x.shape[1]
        self.d_hh = x.new_zeros(rows_hh, self.width if cell.joint else size + 1)
        self.d_ih = self.d_hh[:, size:] if cell.joint else x.new_zeros(rows_ih, 1 + x.shape[1])
        self.d_hr = None if weights.weight_hr is None else torch.zeros_like(weights.weight_hr)
        self.z = x  # until the first chunk

    def add(self, part: Part, chunk: Chunk, run: Backward) -> Tensor:
        """Adds a chunk's share; returns the gradients of W_ih x, (G·H, C·B)."""
        rows, size, d = part.rows, self.size, run.d.flatten(1)
        if self.z.shape != (self.width, *run.shape):
            self.z = self.x.new_empty(self.width, *run.shape)
        z = self.z
        z[: chunk.z.shape[1]] = chunk.before(chunk.z).transpose(0, 1)
        if self.cell.joint:
            self.d_hh.addmm_(d, z.flatten(1).t())
        else:
            z[size].fill_(1)
            z[size + 1 :].flatten(1)[:] = self.x[rows].t()
            z_t = z.flatten(1).t()
            self.d_hh.addmm_(d[self.hh], z_t[:, : size + 1])
            self.d_ih.addmm_(d[self.ih], z_t[:, size:])
        if self.d_hr is not None and run.y is not None:
            dh, y = run.dh.transpose(0, 1).flatten(1), run.y.transpose(0, 1).flatten(1)
            self.d_hr.addmm_(dh, y.t())
        return d[self.ih]

    def weights(self) -> Weights:
        """Returns the sums in torch's layout."""
        ih, hh, size = self.cell.ih, self.cell.hh, self.size
        return Weights(
            _restored(self.d_ih[:, 1:], ih),
            _restored(self.d_hh[:, :size], hh),
            _restored(self.d_ih[:, 0], ih),
            _restored(self.d_hh[:, size], hh),
            self.d_hr,
        )
