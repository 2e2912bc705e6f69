"""A cell over time: the one place where a recurrent layer walks through its sequence."""

from collections.abc import Callable

import jax

from rnn_jax.cells import State


def recur(
    cell: Callable[..., State],
    x: jax.Array,
    state: State,
    weight_ih: jax.Array,
    weight_hh: jax.Array,
    bias_ih: jax.Array,
    bias_hh: jax.Array,
    reverse: bool = False,
) -> tuple[jax.Array, State]:
    """Runs a cell through a sequence, time first.

    Args:
        cell: one of `rnn_jax.cells.CELLS`.
        x: (T, B, I) inputs.
        state: (h,) or (h, c) before the first step, each (B, H).
        weight_ih, weight_hh, bias_ih, bias_hh: (G·H, I), (G·H, H), (G·H,), (G·H,).
        reverse: walk from the last step to the first.

    Returns:
        Outputs (T, B, H), each at the step it belongs to, and the state after the last step walked.
    """
    # The inputs' share needs no state: one large product instead of T small ones.
    projected = x @ weight_ih.T + bias_ih

    def step(state: State, projected_t: jax.Array) -> tuple[State, jax.Array]:
        state = cell(projected_t, state, weight_hh, bias_hh)
        return state, state[0]

    state, outputs = jax.lax.scan(step, state, projected, reverse=reverse)
    return outputs, state
