"""A cell over time with its own backward pass: what `recurrence.recur` computes, in less time.

Autodiff of the plain scan saves every intermediate of a step, adds to the weights' gradients at
every step, and evaluates gates again wherever XLA fuses them into a reader. Here

- features come first, a state is (H, B): each gate is one contiguous block, whose rows are as long
  as the batch, so that also narrow layers fill the processor's vectors;
- a step takes one product of (W_hh, W_ih, b) and the column (h, x, 1), where the cell allows;
- a step saves its local derivatives, so that going back through it is a few multiplications;
- weight gradients are one product for every `CHUNK` steps, of operands that are still in cache.

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
from rnn_jax.cells import State, Weights

CHUNK = 10
"""Steps whose gradients of the weights are one product."""

Saved = tuple[Array, ...]
"""What a step leaves for the way back; of all steps, stacked."""


class Derivatives(NamedTuple):
    """What a step back through a cell gives."""

    recurrent: Float[Array, "GH B"]
    """Gradient of W_hh h + b_hh."""
    input: Float[Array, "H B"] | None = None
    """Gradient of the last H rows of W_ih x + b_ih, if it is another."""
    h: Array | None = None
    """Gradient of the h before, without what passes through W_hh h; None for zero."""
    others: tuple[Array, ...] = ()
    """Gradient of the rest of the state before."""


class Cell(NamedTuple):
    """A cell as the two functions of a step, forth and back. All arrays are (features, B)."""

    forward: Callable[..., tuple[State, Saved]]
    """(state, W_ih x + b_ih + W_hh h + b_hh) → the next state, and what to save; the two summands
    one by one unless `joint`."""
    backward: Callable[[State, Array, Saved], Derivatives]
    """(gradient of the next state, its h, what was saved) → derivatives."""
    joint: bool = True
    """Whether W_ih x + b_ih and W_hh h + b_hh are only read as their sum."""


def _tanh_forward(state: State, gates: Array) -> tuple[State, Saved]:
    return (jnp.tanh(gates),), ()


def _tanh_backward(gradient: State, h: Array, saved: Saved) -> Derivatives:
    return Derivatives(gradient[0] * (1 - h * h))


def _relu_forward(state: State, gates: Array) -> tuple[State, Saved]:
    return (jax.nn.relu(gates),), ()


def _relu_backward(gradient: State, h: Array, saved: Saved) -> Derivatives:
    return Derivatives(jnp.where(h > 0, gradient[0], 0))


def _lstm_forward(state: State, gates: Array) -> tuple[State, Saved]:
    c = state[1]
    i, f, g, o = jnp.split(gates, 4)
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    moved = f * c + i * g
    tanh_c = jnp.tanh(moved)
    h = o * tanh_c
    local = [g * (i - i * i), c * (f - f * f), i * (1 - g * g), tanh_c * (o - o * o)]
    return (h, moved), (jnp.stack(local), o - h * tanh_c, f)


def _lstm_backward(gradient: State, h: Array, saved: Saved) -> Derivatives:
    local, through_tanh, f = saved
    dh, dc = gradient
    dc += dh * through_tanh
    # Not the four joined: XLA computes what it joins element by element.
    of_o = jnp.arange(4)[:, None, None] == 3
    return Derivatives(_flat(local * jnp.where(of_o, dh, dc)), others=(dc * f,))


def _gru_forward(state: State, x: Array, h: Array) -> tuple[State, Saved]:
    (before,) = state
    size = before.shape[0]
    r, z = jnp.split(jax.nn.sigmoid(x[: 2 * size] + h[: 2 * size]), 2)
    h_n = h[2 * size :]
    n = jnp.tanh(x[2 * size :] + r * h_n)
    moved = n + z * (before - n)
    local_n = (1 - z) * (1 - n * n)
    local = [local_n * h_n * (r - r * r), (before - n) * (z - z * z), local_n * r]
    return (moved,), (jnp.stack(local), local_n, z)


def _gru_backward(gradient: State, h: Array, saved: Saved) -> Derivatives:
    local, local_n, z = saved
    (dh,) = gradient
    return Derivatives(_flat(local * dh), dh * local_n, dh * z)


def _flat(gates: Float[Array, "G H B"]) -> Float[Array, "GH B"]:
    count, size, batch = gates.shape
    return gates.reshape(count * size, batch)


CELLS: dict[Any, Cell] = {
    cells.rnn_tanh: Cell(_tanh_forward, _tanh_backward),
    cells.rnn_relu: Cell(_relu_forward, _relu_backward),
    cells.lstm: Cell(_lstm_forward, _lstm_backward),
    cells.gru: Cell(_gru_forward, _gru_backward, joint=False),
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
    first = tuple(part.T for part in state)
    found: Any = _recur(cell, reverse, jnp.swapaxes(x, 1, 2), lengths, first, weights)
    outputs, final = found
    return jnp.swapaxes(outputs, 1, 2), tuple(part.T for part in final)


def _varying_as(x: Array, weight: Array) -> Array:
    """A device's own weight, where devices share x."""
    axes = tuple(jax.typeof(x).mat.varying - jax.typeof(weight).mat.varying)
    return jax.lax.pcast(weight, axes, to="varying") if axes else weight


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recur(
    cell: Any, reverse: bool, x: Array, lengths: Array | None, state: State, weights: Weights
) -> tuple[Array, State]:
    """Of x (T, I, B) and a state (H, B): outputs (T, H, B) and the final state (H, B)."""
    return _walk(CELLS[cell], reverse, x, lengths, state, weights)[:2]


def _walk(
    cell: Cell, reverse: bool, x: Array, lengths: Array | None, state: State, weights: Weights
) -> tuple[Array, State, Saved]:
    """Outputs, final state, and what each step saved."""
    w_ih, w_hh, b_ih, b_hh, _ = weights
    within = None if lengths is None else _within(x, lengths)
    if cell.joint:
        bias = [] if b_ih is None or b_hh is None else [(b_ih + b_hh)[:, None]]
        w = jnp.concatenate([w_hh, w_ih, *bias], axis=1)
        x = _with_ones(x) if bias else x

    def products(h: Array, x: Array) -> list[Array]:
        # Not W_ih x of all steps at once, which would leave the cache.
        if cell.joint:
            return [w @ jnp.concatenate([h, x])]
        return [_linear(w_ih, x, b_ih), _linear(w_hh, h, b_hh)]

    def step(state: State, now: tuple[Array, Array | None]) -> tuple[State, tuple[Array, Saved]]:
        x_t, within = now
        moved, saved = cell.forward(state, *products(state[0], x_t))
        if within is None:
            return moved, (moved[0], saved)
        kept = tuple(jnp.where(within, m, s) for m, s in zip(moved, state, strict=True))
        return kept, (jnp.where(within, moved[0], 0), saved)

    state, (outputs, saved) = jax.lax.scan(step, state, (x, within), reverse=reverse)
    return outputs, state, saved


def _within(x: Array, lengths: Array) -> Array:
    """(T, 1, B): whether a step is one of its sequence."""
    return (jnp.arange(x.shape[0], dtype=lengths.dtype)[:, None] < lengths[None])[:, None]


def _with_ones(x: Float[Array, "T F B"]) -> Float[Array, "T F1 B"]:
    """A bias is the weight of an input that is always 1."""
    return jnp.concatenate([x, jnp.ones_like(x[:, :1])], axis=1)


def _linear(weight: Array, x: Array, bias: Array | None) -> Array:
    """W x + b"""
    product = weight @ x
    return product if bias is None else product + bias[:, None]


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
    h = jnp.concatenate([outputs[1:], first] if reverse else [first, outputs[:-1]])
    if within is not None and reverse:  # a sequence begins at its own end
        starts = jnp.concatenate([within[1:], jnp.zeros_like(within[:1])])
        h = jnp.where(starts, h, first)
    joint, biased = CELLS[cell].joint, weights.bias_ih is not None
    inputs = (jnp.concatenate([h, x], axis=1),) if joint else (h, x)
    inputs = tuple(map(_with_ones, inputs)) if biased else inputs
    shapes = [(weights.weight_hh.shape[0], part.shape[1]) for part in inputs]
    d_weights = tuple(_varying_as(x, jnp.zeros(shape, x.dtype)) for shape in shapes)
    # Turned once: XLA's products that turn W at every step take up to twice as long.
    w_hh_t = jax.lax.optimization_barrier(weights.weight_hh.T)

    chunk = functools.partial(_chunk_back, CELLS[cell], reverse, weights.weight_ih, w_hh_t)
    xs = (inputs, (d_outputs, outputs, saved, within))
    (d_state, d_weights), d_x = _in_chunks(chunk, (d_state, d_weights), xs, reverse=not reverse)
    size = h.shape[1]
    if joint:
        (d_w,) = d_weights
        d_weights = d_w, d_w[:, size:]
    d_hh, d_ih = d_weights
    found = Weights(d_ih[:, : x.shape[1]], d_hh[:, :size])
    if biased:
        found = found._replace(bias_ih=d_ih[:, -1], bias_hh=d_hh[:, -1])
    return d_x, None, d_state, found


def _chunk_back(
    cell: Cell,
    reverse: bool,
    w_ih: Array,
    w_hh_t: Array,
    carry: tuple[State, tuple[Array, ...]],
    now: tuple[tuple[Array, ...], Any],
) -> tuple[tuple[State, tuple[Array, ...]], Array]:
    """Back through some steps: the gradients of state and weights, and that of x."""

    def step(d_state: State, now: Any) -> tuple[State, list[Array]]:
        d_output, h, saved, within = now
        if within is not None:
            d_output = jnp.where(within, d_output, 0)
        back = cell.backward((d_state[0] + d_output, *d_state[1:]), h, saved)
        gates = [part for part in (back.recurrent, back.input) if part is not None]
        if within is not None:
            gates = [jnp.where(within, part, 0) for part in gates]
        through = w_hh_t @ gates[0]
        d_before = (through if back.h is None else through + back.h, *back.others)
        if within is not None:
            pairs = zip(d_before, d_state, strict=True)
            d_before = tuple(jnp.where(within, moved, still) for moved, still in pairs)
        return d_before, gates

    d_state, d_weights = carry
    inputs, steps = now
    d_state, gates = jax.lax.scan(step, d_state, steps, reverse=not reverse)
    recurrent, *rest = map(_joined, gates)
    of_x = [recurrent[: -rest[0].shape[0]], *rest] if rest else [recurrent]
    blocks = [[recurrent]] if cell.joint else [[recurrent], of_x]
    d_weights = tuple(
        d_weight + jnp.concatenate([_over_columns(block, _joined(part)) for block in rows])
        for d_weight, part, rows in zip(d_weights, inputs, blocks, strict=True)
    )
    ends = list(itertools.accumulate(block.shape[0] for block in of_x))
    parts = zip(jnp.split(w_ih, ends[:-1]), of_x, strict=True)
    d_x = functools.reduce(jnp.add, [rows.T @ block for rows, block in parts])
    count, _, batch = inputs[0].shape
    return (d_state, d_weights), jnp.swapaxes(d_x.reshape(w_ih.shape[1], count, batch), 0, 1)


def _joined(columns: Float[Array, "C F B"]) -> Float[Array, "F CB"]:
    """The columns of all steps side by side."""
    count, size, batch = columns.shape
    return jnp.swapaxes(columns, 0, 1).reshape(size, count * batch)


def _over_columns(a: Float[Array, "M N"], b: Float[Array, "K N"]) -> Float[Array, "M K"]:
    """a bᵀ"""
    return jax.lax.dot_general(a, b, (((1,), (1,)), ((), ())))


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
