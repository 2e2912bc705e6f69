"""A cell over time in its plain form, for autodiff; `bptt.py` computes the same in less time."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from rnn_jax.cells import State, Weights, linear


# Compiled once for its shapes: outside of jit, a scan over a new function would be compiled anew at
# each call. Not inline=True: the gradient would then be compiled anew all the same.
@partial(jax.jit, static_argnames=("cell", "reverse"))
def recur(
    cell: Callable[[Array, State, Weights], State],
    x: Float[Array, "T B I"],
    lengths: Int[Array, " B"] | None,
    state: State,
    weights: Weights,
    reverse: bool = False,
) -> tuple[Float[Array, "T B P"], State]:
    """Runs a cell through sequences, time first, padded to one length.

    Beyond its length a sequence stands still: its state stays as it is and its outputs are zero.
    So a reverse walk begins at each sequence's own end, and the final state is that at it.

    Args:
        cell: one of `rnn_jax.cells.CELLS`.
        x: inputs.
        lengths: steps of each sequence; None if all have T.
        state: (h,) or (h, c) before each sequence's first step, each (B, H).
        reverse: walk from the last step to the first.

    Returns:
        Outputs, each at the step it belongs to, and the state (B, H) after each sequence's last
        step walked.
    """
    # The inputs' share needs no state: one large product instead of T small ones.
    projected = linear(x, weights.weight_ih, weights.bias_ih)
    if lengths is None:

        def step(state: State, projected_t: Array) -> tuple[State, Array]:
            state = cell(projected_t, state, weights)
            return state, state[0]

        state, outputs = jax.lax.scan(step, state, projected, reverse=reverse)
        return outputs, state

    def step_within(state: State, now: tuple[Array, Array]) -> tuple[State, Array]:
        projected_t, within = now
        moved = cell(projected_t, state, weights)
        state = tuple(jnp.where(within, m, s) for m, s in zip(moved, state, strict=True))
        return state, jnp.where(within, moved[0], 0)

    within = (jnp.arange(x.shape[0], dtype=lengths.dtype)[:, None] < lengths[None])[:, :, None]
    state, outputs = jax.lax.scan(step_within, state, (projected, within), reverse=reverse)
    return outputs, state
