"""A cell over time in its plain form, for autograd; `bptt.py` computes the same in less time."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from rnn_torch.cells import State, Weights


def recur(
    cell: Callable[[Tensor, State, Weights], State],
    x: Float[Tensor, "N I"],
    batch_sizes: Sequence[int],
    state: State,
    weights: Weights,
    reverse: bool = False,
) -> tuple[Float[Tensor, "N P"], State]:
    """Runs a cell through sequences that are packed as in torch.nn.utils.rnn.PackedSequence.

    Step t has a row for each sequence that is longer than t, the longest sequence first, and the
    rows of all steps follow one another. Sequences of one length are a special case: B rows at
    every step, a (T, B, I) tensor with its first two axes made one.

    Args:
        cell: one of `rnn_torch.cells.CELLS`.
        x: inputs of all N = Σ batch_sizes rows.
        batch_sizes: rows of each step, never growing.
        state: (h,) or (h, c) before each sequence's first step, each (B, H).
        reverse: walk from the last step to the first; every sequence begins at its own end.

    Returns:
        Outputs, each at the step it belongs to, and the state (B, H) after each sequence's last
        step walked.
    """
    # Sizes are read as x.shape[0], not len(x), which torch.export would take for constants.
    # The inputs' share needs no state: one large product instead of T small ones.
    projected = F.linear(x, weights.weight_ih, weights.bias_ih).split(list(batch_sizes))

    outputs = []
    if reverse:
        initial, state = state, tuple(part[: batch_sizes[-1]] for part in state)
        for projected_t in reversed(projected):
            rows, before = projected_t.shape[0], state[0].shape[0]
            if rows > before:  # sequences that end here begin
                pairs = zip(state, initial, strict=True)
                state = tuple(torch.cat([part, start[before:rows]]) for part, start in pairs)
            state = cell(projected_t, state, weights)
            outputs.append(state[0])
        return torch.cat(outputs[::-1]), state

    ended = []
    for projected_t in projected:
        rows = projected_t.shape[0]
        if rows < state[0].shape[0]:  # sequences that ended before this step keep their state
            ended.append(tuple(part[rows:] for part in state))
            state = tuple(part[:rows] for part in state)
        state = cell(projected_t, state, weights)
        outputs.append(state[0])
    if ended:
        state = tuple(torch.cat(parts) for parts in zip(state, *ended[::-1], strict=True))
    return torch.cat(outputs), state
