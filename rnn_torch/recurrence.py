"""A cell over time: the one place where a recurrent layer walks through its sequence."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from rnn_torch.cells import State


def recur(
    cell: Callable[..., State],
    x: torch.Tensor,
    state: State,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: torch.Tensor,
    bias_hh: torch.Tensor,
    reverse: bool = False,
) -> tuple[torch.Tensor, State]:
    """Runs a cell through a sequence, time first.

    Args:
        cell: one of `rnn_torch.cells.CELLS`.
        x: (T, B, I) inputs.
        state: (h,) or (h, c) before the first step, each (B, H).
        weight_ih, weight_hh, bias_ih, bias_hh: (G·H, I), (G·H, H), (G·H,), (G·H,).
        reverse: walk from the last step to the first.

    Returns:
        Outputs (T, B, H), each at the step it belongs to, and the state after the last step walked.
    """
    # The inputs' share needs no state: one large product instead of T small ones.
    projected = F.linear(x, weight_ih, bias_ih).unbind(0)

    outputs = []
    for projected_t in reversed(projected) if reverse else projected:
        state = cell(projected_t, state, weight_hh, bias_hh)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if reverse else outputs), state
