"""Sequences in chunks: steps with as many sequences each, that the processor's cache holds.

Features come first: with C steps and B sequences, the states are (C, H, B), the gates (C, S·H, B).
So each gate is one contiguous block, and W_hh h needs no transposition. `bptt_cells.py` has the
arithmetic, and says what the S slots are.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

MOST = 2**18
"""Most elements of a state over all steps of a chunk. Measured: 2^17 to 2^19 are as good."""


class Part(NamedTuple):
    """A chunk's share of the input."""

    rows: slice
    steps: int
    batch: int


def parts(batch_sizes: Sequence[int], hidden: int, reverse: bool) -> list[Part]:
    """Returns the chunks of a packed sequence, in the order in which they are walked."""
    found, row = [], 0
    for batch, run in groupby(batch_sizes):
        length = len(list(run))
        count = -(-length // max(1, MOST // (batch * hidden)))
        most = -(-length // count)
        for first in range(0, length, most):
            steps = min(most, length - first)
            found.append(Part(slice(row, row + steps * batch), steps, batch))
            row += steps * batch
    return found[::-1] if reverse else found


class Chunk(NamedTuple):
    """The tensors that a forward pass leaves. In reverse, steps are walked from the last to the
    first."""

    reverse: bool
    size: int
    """P"""
    gates: Tensor
    z: Tensor
    """(C + 1, P, B), the states h in the order of time: before the first step and after each; in
    reverse, after each step and before the last. Of an RNN or LSTM (C + 1, P + 1 + I, B): below the
    state before a step there are 1 and x."""
    c: Tensor | None
    """(C + 1, H, B) of an LSTM."""
    t: Tensor | None
    """(C, H, B), tanh(c') of an LSTM."""

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        return self[2:]

    @property
    def h(self) -> Tensor:
        return self.z[:, : self.size]

    def states(self, end: bool) -> list[Tensor]:
        """Returns the states at the end of the walk, or at its beginning: (P, B), of an LSTM also
        (H, B)."""
        step = -1 if end != self.reverse else 0
        return [part[step] for part in (self.h, self.c) if part is not None]

    def before(self, states: Tensor) -> Tensor:
        return states[1:] if self.reverse else states[:-1]

    def after(self, states: Tensor) -> Tensor:
        return states[:-1] if self.reverse else states[1:]

    def walk(self, tensor: Tensor) -> Sequence[Tensor]:
        return walk(tensor, self.reverse)


def walk(tensor: Tensor, reverse: bool) -> Sequence[Tensor]:
    """Returns views of the steps in the order in which they are walked."""
    return tensor.unbind()[::-1] if reverse else tensor.unbind()


def hand_over(
    parts: Sequence[Tensor],
    before: int,
    batch: int,
    entering: Sequence[Tensor],
    leaving: Sequence[Tensor],
) -> list[Tensor]:
    """Hands states (…, B) over from a chunk of `before` sequences to one of `batch`. Those that
    begin come from `entering`, those that end go to `leaving`. Gradients go the other way round."""
    common = min(before, batch)
    moved = []
    for part, start, end in zip(parts, entering, leaving, strict=True):
        if common < before:
            end[:, common:before] = part[:, common:before]
        part = part[:, :common]
        moved.append(part if common == batch else torch.cat([part, start[:, common:batch]], 1))
    return moved
