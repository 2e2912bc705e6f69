"""A chunk of steps of each cell, forth and back: the arithmetic of `bptt.py`.

The S blocks of a chunk's gates, called slots, stand in an order that lets one operation take
several of them:

    RNN   h'             LSTM   o, i, f, g             GRU   n, r, z, m = W_hn h + b_hn

For the RNN and the LSTM all slots are one product, of (W_hh, b, W_ih) and the column (h, 1, x) of a
step. For the GRU W_ih x + b_ih has the first slots, W_hh h + b_hh the last: a forward pass finds in
the gates what does not depend on the state. It leaves the gates themselves.

A backward pass first computes, for the whole chunk, the factors of the gates' gradients that depend
on no other gradient; a step then only multiplies by them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from rnn_torch.chunks import Chunk, walk

Carry = Sequence[Tensor]
"""Gradients of the state before a chunk, or after it: (P, B) and for an LSTM (H, B)."""


@runtime_checkable
class Backward(Protocol):
    """The backward pass of chunks of one shape, with the buffers that they share."""

    shape: tuple[int, int]
    dh: Tensor
    """(C, P, B): the outputs' gradients, changed in place to those of h'."""
    d: Tensor
    """(S·H, C, B): gets the gradients of the gates before their nonlinearities."""
    y: Tensor | None
    """(C, H, B): gets what W_hr projects, of an LSTM."""

    def __call__(self, chunk: Chunk, carry: Carry, w_hh: Tensor, w_hr: Tensor | None) -> Carry: ...


# Elman ----------------------------------------------------------------------------------------


def rnn_tanh_forward(chunk: Chunk, w: Tensor, w_hr: Tensor | None) -> None:
    for z, h in zip(chunk.walk(chunk.z), chunk.walk(chunk.gates), strict=False):
        torch.mm(w, z, out=h).tanh_()


def rnn_relu_forward(chunk: Chunk, w: Tensor, w_hr: Tensor | None) -> None:
    for z, h in zip(chunk.walk(chunk.z), chunk.walk(chunk.gates), strict=False):
        torch.mm(w, z, out=h).relu_()


class RnnBackward:
    """da = dh' ⊙ f'(a)    dh = W_hhᵀ da

    Args:
        slope: f'(a) of h' = f(a), (C, H, B) both, written into its second argument.
    """

    y: Tensor | None = None

    def __init__(
        self,
        slope: Callable[[Tensor, Tensor], object],
        like: Tensor,
        steps: int,
        size: int,
        hidden: int,
        batch: int,
        reverse: bool,
    ):
        self.slope = slope
        self.shape = steps, batch
        self.dh = like.new_empty(steps, hidden, batch)
        self.d = like.new_empty(hidden, steps, batch)
        self.factor = like.new_empty(steps, hidden, batch)
        parts = self.dh, self.factor, self.d.transpose(0, 1)
        self.steps = list(zip(*(walk(part, not reverse) for part in parts), strict=True))

    def __call__(self, chunk: Chunk, carry: Carry, w_hh: Tensor, w_hr: Tensor | None) -> Carry:
        self.slope(chunk.after(chunk.h), self.factor)
        d_later = None
        for dh, factor, d in self.steps:
            dh.add_(carry[0]) if d_later is None else dh.addmm_(w_hh, d_later)
            torch.mul(dh, factor, out=d)
            d_later = d
        return (torch.mm(w_hh, self.steps[-1][-1]),)


def _tanh_slope(h: Tensor, out: Tensor) -> None:
    torch.mul(h, h, out=out)
    out.neg_().add_(1)


def _relu_slope(h: Tensor, out: Tensor) -> None:
    torch.sign(h, out=out)


# LSTM -----------------------------------------------------------------------------------------


def lstm_forward(chunk: Chunk, w: Tensor, w_hr: Tensor | None) -> None:
    gates, c, t = chunk.gates, chunk.c, chunk.t
    assert c is not None
    assert t is not None
    hidden = c.shape[1]
    slots = gates.unflatten(1, (4, hidden)).unbind(1)
    y = torch.empty_like(c[0])
    c = chunk.walk(c)
    parts = chunk.z, gates, gates[:, : 3 * hidden], *slots, t, chunk.after(chunk.h)
    walk = zip(*map(chunk.walk, parts), c, c[1:], strict=False)
    for z, a, oif, o, i, f, g, t, h1, c0, c1 in walk:
        torch.mm(w, z, out=a)
        oif.sigmoid_()
        g.tanh_()
        torch.mul(f, c0, out=c1)
        torch.tanh(c1.addcmul_(i, g), out=t)
        torch.mul(o, t, out=h1 if w_hr is None else y)
        if w_hr is not None:
            torch.mm(w_hr, y, out=h1)


class LstmBackward:
    """With y = o ⊙ tanh(c'), which is h' or is projected to it, and dc of the step after

    do = dy ⊙ y (1-o)    dc' = dc + dy ⊙ (o - y tanh(c'))
    di = dc' ⊙ i g (1-i)    df = dc' ⊙ c f (1-f)    dg = dc' ⊙ i (1-g²)    dc = dc' ⊙ f
    """

    def __init__(self, like: Tensor, steps: int, size: int, hidden: int, batch: int, reverse: bool):
        self.shape = steps, batch
        self.dh = like.new_empty(steps, size, batch)
        all_d = like.new_empty(5, hidden, steps, batch)  # o, i, f, g, c
        self.d = all_d[:4].flatten(0, 1)
        self.factor = like.new_empty(steps, 5, hidden, batch)
        self.c_factor = like.new_empty(steps, hidden, batch)
        self.y = like.new_empty(steps, hidden, batch) if size < hidden else None
        self.dc = like.new_empty(hidden, batch)
        by_step = all_d.movedim(2, 0)
        parts = (self.dh, self.c_factor, self.factor[:, 0], self.factor[:, 1:])
        parts += (by_step[:, 0], by_step[:, 1:], by_step[:, 4], self.d.transpose(0, 1))
        self.steps = list(zip(*(walk(part, not reverse) for part in parts), strict=True))

    def __call__(self, chunk: Chunk, carry: Carry, w_hh: Tensor, w_hr: Tensor | None) -> Carry:
        assert chunk.c is not None
        assert chunk.t is not None
        c0, t, k = chunk.before(chunk.c), chunk.t, self.c_factor
        o, i, f, g = chunk.gates.unflatten(1, (4, -1)).unbind(1)
        f_o, f_i, f_f, f_g, f_c = self.factor.unbind(1)
        y = chunk.after(chunk.h)
        if w_hr is not None:
            assert self.y is not None
            y = torch.mul(o, t, out=self.y)
        torch.addcmul(y, y, o, value=-1, out=f_o)
        torch.addcmul(o, y, t, value=-1, out=k)
        torch.mul(i, g, out=f_c)
        torch.addcmul(f_c, f_c, i, value=-1, out=f_i)
        torch.addcmul(i, f_c, g, value=-1, out=f_g)
        torch.mul(f, c0, out=f_f)
        f_f.addcmul_(f_f, f, value=-1)
        f_c.copy_(f)

        dc, dc_later, d_later = self.dc, carry[1], None
        for dh, k, factor_o, factors, d_o, ds, d_c, d in self.steps:
            dh.add_(carry[0]) if d_later is None else dh.addmm_(w_hh, d_later)
            dy = dh if w_hr is None else torch.mm(w_hr, dh)
            torch.addcmul(dc_later, dy, k, out=dc)
            torch.mul(dy, factor_o, out=d_o)
            torch.mul(dc, factors, out=ds)
            dc_later, d_later = d_c, d
        return torch.mm(w_hh, self.steps[-1][-1]), dc_later.clone()


# GRU ------------------------------------------------------------------------------------------


def gru_forward(chunk: Chunk, w_hh: Tensor, w_hr: Tensor | None) -> None:
    gates, hidden = chunk.gates, chunk.h.shape[1]
    n, r, z, m = gates.unflatten(1, (4, hidden)).unbind(1)
    h = chunk.walk(chunk.h)
    tensors = gates[:, hidden:], gates[:, hidden : 3 * hidden], n, r, z, m
    parts = [chunk.walk(part) for part in tensors]
    for rzm, rz, n, r, z, m, h0, h1 in zip(*parts, h, h[1:], strict=False):
        rzm.addmm_(w_hh, h0)
        rz.sigmoid_()
        n.addcmul_(r, m).tanh_()
        torch.lerp(n, h0, z, out=h1)


class GruBackward:
    """dn = dh' ⊙ (1-z) (1-n²)    dm = dn ⊙ r    dr = dm ⊙ m (1-r)    dz = dh' ⊙ (h-n) z (1-z)
    dh = dh' ⊙ z + W_hhᵀ (dr, dz, dm)
    """

    y: Tensor | None = None

    def __init__(self, like: Tensor, steps: int, size: int, hidden: int, batch: int, reverse: bool):
        self.shape = steps, batch
        self.dh = like.new_empty(steps, hidden, batch)
        self.d = like.new_empty(4 * hidden, steps, batch)
        self.factor = like.new_empty(steps, 4, hidden, batch)
        self.difference = like.new_empty(steps, hidden, batch)
        by_step = self.d.unflatten(0, (4, hidden)).movedim(2, 0)
        self.reverse = reverse
        parts = self.dh, self.factor, by_step, self.d[hidden:].transpose(0, 1)
        self.steps = [walk(part, not reverse) for part in parts]

    def __call__(self, chunk: Chunk, carry: Carry, w_hh: Tensor, w_hr: Tensor | None) -> Carry:
        n, r, z, m = chunk.gates.unflatten(1, (4, -1)).unbind(1)
        f_n, f_r, f_z, f_m = self.factor.unbind(1)
        torch.neg(z, out=f_z).add_(1)
        torch.mul(f_z, n, out=f_n)
        torch.addcmul(f_z, f_n, n, value=-1, out=f_n)
        torch.mul(f_n, r, out=f_m)
        torch.mul(f_m, m, out=f_r)
        f_r.addcmul_(f_r, r, value=-1)
        torch.sub(chunk.before(chunk.h), n, out=self.difference)
        f_z.mul_(z).mul_(self.difference)

        steps = *self.steps, walk(z, not self.reverse)
        d_later: Tensor | None = None
        z_later = dh_later = self.difference  # until the first step
        for dh, factors, ds, d, z_t in zip(*steps, strict=True):
            if d_later is None:
                dh.add_(carry[0])
            else:
                dh.addcmul_(dh_later, z_later).addmm_(w_hh, d_later)
            torch.mul(dh, factors, out=ds)
            d_later, dh_later, z_later = d, dh, z_t
        assert d_later is not None
        return (torch.mul(dh_later, z_later).addmm_(w_hh, d_later),)


# All of them ----------------------------------------------------------------------------------


class Chunked(NamedTuple):
    """A cell in chunks. `ih` are the gates of W_ih x and `hh` those of W_hh h, by their numbers in
    torch's order, as they stand in the slots."""

    slots: int
    ih: Sequence[int]
    hh: Sequence[int]
    forward: Callable[[Chunk, Tensor, Tensor | None], None]
    backward: Callable[[Tensor, int, int, int, int, bool], Backward]
    memory: bool = False
    """True if c belongs to the state."""

    @property
    def joint(self) -> bool:
        """True if (h, 1, x) is the input of all gates."""
        return self.ih == self.hh

    def chunk(
        self, x: Tensor, steps: int, size: int, hidden: int, batch: int, reverse: bool
    ) -> Chunk:
        """Returns a chunk to be filled."""
        z = x.new_empty(steps + 1, size + (1 + x.shape[1]) * self.joint, batch)
        if self.slots == 1:  # the gate is the state
            gates = (z[:-1] if reverse else z[1:])[:, :size]
        else:
            gates = x.new_empty(steps, self.slots * hidden, batch)
        c = x.new_empty(steps + 1, hidden, batch) if self.memory else None
        t = x.new_empty(steps, hidden, batch) if self.memory else None
        return Chunk(reverse, size, gates, z, c, t)


CHUNKED = {
    "RNN_TANH": Chunked(1, [0], [0], rnn_tanh_forward, partial(RnnBackward, _tanh_slope)),
    "RNN_RELU": Chunked(1, [0], [0], rnn_relu_forward, partial(RnnBackward, _relu_slope)),
    "LSTM": Chunked(4, [3, 0, 1, 2], [3, 0, 1, 2], lstm_forward, LstmBackward, True),
    "GRU": Chunked(4, [2, 0, 1], [0, 1, 2], gru_forward, GruBackward),
}
