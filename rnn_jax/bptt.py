"""A cell over time with its own backward pass: what `recurrence.recur` computes, in less time.

Autodiff of the plain scan saves every intermediate of a step, adds to the weights' gradients at
every step, and evaluates gates again wherever XLA fuses them into a reader. Here

- a step saves its local derivatives, so that going back through it is a few multiplications;
- weight gradients are one product for every `CHUNK` steps, of operands that are still in cache.

In a product that is summed over rows, inputs stand on the left and gates on the right: XLA's CPU
products of the other order take up to eight times as long.

Reverse mode can be differentiated again, in both modes. Forward mode alone (jvp, jacfwd) JAX
refuses for functions with their own backward pass: a layer's `autodiff=True` takes the plain scan.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from rnn_jax import cells
from rnn_jax.cells import State, Weights, linear

CHUNK = 10
"""Steps whose gradients of the weights are one product."""

Saved = tuple[Array, ...]
"""What a step leaves for the way back; of all steps, stacked."""


class Derivatives(NamedTuple):
    """What a step back through a cell gives."""

    recurrent: Float[Array, "B GH"]
    """Gradient of h W_hhᵀ + b_hh."""
    input: tuple[Float[Array, "B _"], ...] = ()
    """Gradient of x W_ihᵀ + b_ih as blocks of columns, if it is another."""
    h: Array | None = None
    """Gradient of the h before, without what passes through h W_hhᵀ; None for zero."""
    others: tuple[Array, ...] = ()
    """Gradient of the rest of the state before."""


class Cell(NamedTuple):
    """A cell as the two functions of a step, forth and back."""

    forward: Callable[[Array, Array, State], tuple[State, Saved]]
    """(x W_ihᵀ + b_ih, h W_hhᵀ + b_hh, state) → the next state, and what to save."""
    backward: Callable[[State, Array, Saved], Derivatives]
    """(gradient of the next state, its h, what was saved) → derivatives."""
    alike: bool = True
    """Whether x W_ihᵀ + b_ih and h W_hhᵀ + b_hh have the same gradient."""


_side_by_side = functools.partial(jnp.concatenate, axis=-1)


def _tanh_forward(x: Array, h: Array, state: State) -> tuple[State, Saved]:
    return (jnp.tanh(x + h),), ()


def _tanh_backward(gradient: State, h: Array, saved: Saved) -> Derivatives:
    gates = gradient[0] * (1 - h * h)
    return Derivatives(gates)


def _relu_forward(x: Array, h: Array, state: State) -> tuple[State, Saved]:
    return (jax.nn.relu(x + h),), ()


def _relu_backward(gradient: State, h: Array, saved: Saved) -> Derivatives:
    gates = jnp.where(h > 0, gradient[0], 0)
    return Derivatives(gates)


def _lstm_forward(x: Array, h: Array, state: State) -> tuple[State, Saved]:
    c = state[1]
    i, f, g, o = jnp.split(x + h, 4, axis=-1)
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    moved = f * c + i * g
    tanh_c = jnp.tanh(moved)
    h = o * tanh_c
    local = [g * (i - i * i), c * (f - f * f), i * (1 - g * g), tanh_c * (o - o * o)]
    return (h, moved), (_side_by_side(local), o - h * tanh_c, f)


def _lstm_backward(gradient: State, h: Array, saved: Saved) -> Derivatives:
    local, through_tanh, f = saved
    dh, dc = gradient
    dc += dh * through_tanh
    gates = local * _side_by_side([dc, dc, dc, dh])
    return Derivatives(gates, others=(dc * f,))


def _gru_forward(x: Array, h: Array, state: State) -> tuple[State, Saved]:
    (before,) = state
    size = before.shape[-1]
    r, z = jnp.split(jax.nn.sigmoid(x[:, : 2 * size] + h[:, : 2 * size]), 2, axis=-1)
    h_n = h[:, 2 * size :]
    n = jnp.tanh(x[:, 2 * size :] + r * h_n)
    moved = n + z * (before - n)
    local_n = (1 - z) * (1 - n * n)
    local = _side_by_side([local_n * h_n * (r - r * r), (before - n) * (z - z * z), local_n * r])
    return (moved,), (local, local_n, z)


def _gru_backward(gradient: State, h: Array, saved: Saved) -> Derivatives:
    local, local_n, z = saved
    (dh,) = gradient
    gates = local * _side_by_side([dh, dh, dh])
    return Derivatives(gates, (gates[:, : 2 * dh.shape[-1]], dh * local_n), dh * z)


CELLS: dict[Any, Cell] = {
    cells.rnn_tanh: Cell(_tanh_forward, _tanh_backward),
    cells.rnn_relu: Cell(_relu_forward, _relu_backward),
    cells.lstm: Cell(_lstm_forward, _lstm_backward),
    cells.gru: Cell(_gru_forward, _gru_backward, alike=False),
}


def supports(cell: Any, dtype: Any) -> bool:
    """Whether there is an own backward pass: for the cells of `rnn_jax.cells` without projection,
    in float32 and float64, but not for arrays on an explicit mesh."""
    return cell in CELLS and dtype in (jnp.float32, jnp.float64) and not _explicit()


def _explicit() -> bool:
    kinds = jax.sharding.get_abstract_mesh().axis_types
    return any(kind == jax.sharding.AxisType.Explicit for kind in kinds)


@functools.partial(jax.jit, static_argnames=("cell", "reverse"))
def recur(
    cell: Callable[[Array, State, Weights], State],
    x: Float[Array, "T B I"],
    lengths: Int[Array, " B"] | None,
    state: State,
    weights: Weights,
    reverse: bool = False,
) -> tuple[Float[Array, "T B P"], State]:
    """As `recurrence.recur`, for what `supports` says yes to."""
    # Over devices, weights are the same on each and their gradients are not yet summed.
    weights = jax.tree.map(functools.partial(_varying_as, x), weights)
    return _recur(cell, reverse, x, lengths, state, weights)


def _varying_as(x: Array, weight: Array) -> Array:
    """A device's own weight, where devices share x."""
    axes = tuple(jax.typeof(x).mat.varying - jax.typeof(weight).mat.varying)
    return jax.lax.pcast(weight, axes, to="varying") if axes else weight


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recur(
    cell: Any, reverse: bool, x: Array, lengths: Array | None, state: State, weights: Weights
) -> tuple[Array, State]:
    return _walk(CELLS[cell], reverse, x, lengths, state, weights)[:2]


def _walk(
    cell: Cell, reverse: bool, x: Array, lengths: Array | None, state: State, weights: Weights
) -> tuple[Array, State, Saved]:
    """Outputs, final state, and what each step saved."""
    w_ih, w_hh, b_ih, b_hh, _ = weights

    def step(state: State, now: tuple[Array, Array | None]) -> tuple[State, tuple[Array, Saved]]:
        x_t, within = now  # projected here: as one product for all steps x would leave the cache
        moved, saved = cell.forward(linear(x_t, w_ih, b_ih), linear(state[0], w_hh, b_hh), state)
        if within is None:
            return moved, (moved[0], saved)
        kept = tuple(jnp.where(within, m, s) for m, s in zip(moved, state, strict=True))
        return kept, (jnp.where(within, moved[0], 0), saved)

    within = None if lengths is None else _within(x, lengths)
    state, (outputs, saved) = jax.lax.scan(step, state, (x, within), reverse=reverse)
    return outputs, state, saved


def _within(x: Array, lengths: Array) -> Array:
    """(T, B, 1): whether a step is one of its sequence."""
    return (jnp.arange(x.shape[0], dtype=lengths.dtype)[:, None] < lengths[None])[:, :, None]


def _forward(
    cell: Any, reverse: bool, x: Array, lengths: Array | None, state: State, weights: Weights
) -> tuple[tuple[Array, State], Any]:
    outputs, final, saved = _walk(CELLS[cell], reverse, x, lengths, state, weights)
    return (outputs, final), (x, lengths, state, weights, outputs, saved)


def _backward(cell: Any, reverse: bool, residuals: Any, gradients: tuple[Array, State]) -> Any:
    """From the gradients of outputs and final state to those of x, state and weights."""
    x, lengths, state, weights, outputs, saved = residuals
    d_outputs, d_state = gradients
    within = None if lengths is None else _within(x, lengths)
    first = state[0][None]
    before = jnp.concatenate([outputs[1:], first] if reverse else [first, outputs[:-1]])
    if within is not None and reverse:  # a sequence begins at its own end
        starts = jnp.concatenate([within[1:], jnp.zeros_like(within[:1])])
        before = jnp.where(starts, before, first)
    if weights.bias_ih is not None:  # the weight of an input that is always 1
        x, before = (_side_by_side([part, jnp.ones_like(part[..., :1])]) for part in (x, before))
    inputs = (_side_by_side([x, before]),) if CELLS[cell].alike else (x, before)
    shapes = [(part.shape[-1], weights.weight_hh.shape[0]) for part in inputs]
    d_weights = tuple(_varying_as(x, jnp.zeros(shape, x.dtype)) for shape in shapes)

    chunk = functools.partial(_chunk_back, CELLS[cell], reverse, weights)
    xs = (inputs, (d_outputs, outputs, saved, within))
    (d_state, d_weights), d_x = _in_chunks(chunk, (d_state, d_weights), xs, reverse=not reverse)
    if len(d_weights) == 1:
        d_weights = jnp.split(d_weights[0], [x.shape[-1]])
    d_ih, d_hh = (part.T for part in d_weights)
    if weights.bias_ih is None:
        return d_x, None, d_state, Weights(d_ih, d_hh)
    return d_x, None, d_state, Weights(d_ih[:, :-1], d_hh[:, :-1], d_ih[:, -1], d_hh[:, -1])


def _chunk_back(
    cell: Cell,
    reverse: bool,
    weights: Weights,
    carry: tuple[State, tuple[Array, ...]],
    now: tuple[tuple[Array, ...], Any],
) -> tuple[tuple[State, tuple[Array, ...]], Array]:
    """Back through some steps: the gradients of state and weights, and that of x."""

    def step(d_state: State, now: Any) -> tuple[State, tuple[Array, tuple[Array, ...]]]:
        d_output, h, saved, within = now
        if within is not None:
            d_output = jnp.where(within, d_output, 0)
        back = cell.backward((d_state[0] + d_output, *d_state[1:]), h, saved)
        if within is not None:
            kept = [jnp.where(within, part, 0) for part in (back.recurrent, *back.input)]
            back = back._replace(recurrent=kept[0], input=tuple(kept[1:]))
        through = back.recurrent @ weights.weight_hh
        d_before = (through if back.h is None else through + back.h, *back.others)
        if within is not None:
            pairs = zip(d_before, d_state, strict=True)
            d_before = tuple(jnp.where(within, moved, still) for moved, still in pairs)
        return d_before, (back.recurrent, back.input)

    d_state, d_weights = carry
    inputs, steps = now
    d_state, gates = jax.lax.scan(step, d_state, steps, reverse=not reverse)
    flat = functools.partial(jax.tree.map, lambda part: part.reshape(-1, part.shape[-1]))
    recurrent, blocks = flat(gates)
    of_inputs = [(recurrent,)] if cell.alike else [blocks, (recurrent,)]
    d_weights = tuple(
        d_weight + _side_by_side([_over_rows(part, block) for block in gradients])
        for d_weight, part, gradients in zip(d_weights, flat(inputs), of_inputs, strict=True)
    )
    blocks = of_inputs[0]
    ends = list(itertools.accumulate(block.shape[-1] for block in blocks))
    parts = zip(blocks, jnp.split(weights.weight_ih, ends[:-1]), strict=True)
    d_x = functools.reduce(jnp.add, [block @ weight for block, weight in parts])
    return (d_state, d_weights), d_x.reshape(*inputs[0].shape[:2], d_x.shape[-1])


def _over_rows(a: Float[Array, "N K"], b: Float[Array, "N M"]) -> Float[Array, "K M"]:
    """aᵀ b"""
    return jax.lax.dot_general(a, b, (((0,), (0,)), ((), ())))


def _in_chunks(chunk: Any, carry: Any, xs: Any, reverse: bool) -> tuple[Any, Array]:
    """Scans over chunks of steps; the first one takes what is left over."""
    steps = jax.tree.leaves(xs)[0].shape[0]
    if not isinstance(steps, int) or steps <= CHUNK:  # a symbol, when a program is exported
        return chunk(carry, xs)
    head = steps % CHUNK
    first = jax.tree.map(lambda part: part[:head], xs)
    shape = steps // CHUNK, CHUNK  # not -1, of which there is no telling for an empty batch
    body = jax.tree.map(lambda part: part[head:].reshape(*shape, *part.shape[1:]), xs)
    ys: list[Array] = []
    if head and not reverse:
        carry, y = chunk(carry, first)
        ys.append(y)
    carry, y = jax.lax.scan(chunk, carry, body, reverse=reverse)
    ys.append(y.reshape(steps - head, *y.shape[2:]))
    if head and reverse:
        carry, y = chunk(carry, first)
        ys.insert(0, y)
    return carry, ys[0] if len(ys) == 1 else jnp.concatenate(ys)


_recur.defvjp(_forward, _backward)
