"""A cell over time with its own backward pass: what `recurrence.recur` computes, in less time.

Autodiff of the plain scan saves every intermediate of a step, adds to the weights' gradients at
every step, and evaluates gates again wherever XLA fuses them into a reader. Here

- features come first: each gate is one contiguous block, and a state a vector of N = H · B numbers,
  since XLA makes scalar code of loops over rows of 32 or fewer;
- a step takes one product of (W_hh, W_ih) and the column (h, x), where the cell allows;
- a step saves its local derivatives, so that going back through it is a few multiplications;
- weight gradients are one product for every `CHUNK` steps, of operands that are still in cache.

Reverse mode can be differentiated again, in both modes. JAX refuses forward mode alone (jvp,
jacfwd) for functions with their own backward pass: a layer's `autodiff=True` takes the plain scan.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from rnn_jax.bptt_cells import CELLS, Cell, Gradients, Vectors
from rnn_jax.cells import State, Weights

CHUNK = 10
"""Steps whose gradients of the weights are one product."""


def supports(cell: Any, dtype: Any) -> bool:
    """Tells whether `recur` has a backward pass for this cell. It has one for the cells of
    `rnn_jax.cells` without projection, in float32 and float64, but not for arrays on an explicit
    mesh."""
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
    """Does the same as `recurrence.recur`, for cells that `supports` accepts."""
    # Over devices, weights are the same on each and their gradients are not yet summed.
    weights = jax.tree.map(functools.partial(_varying_as, x), weights)
    first = tuple(part.T for part in state)
    found: Any = _recur(cell, reverse, jnp.swapaxes(x, 1, 2), lengths, first, weights)
    outputs, final = found
    return jnp.swapaxes(outputs, 1, 2), tuple(part.T for part in final)


def _varying_as(x: Array, weight: Array) -> Array:
    """Returns a device's own weight, where devices share x."""
    axes = tuple(jax.typeof(x).mat.varying - jax.typeof(weight).mat.varying)
    return jax.lax.pcast(weight, axes, to="varying") if axes else weight


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recur(
    cell: Any, reverse: bool, x: Array, lengths: Array | None, state: State, weights: Weights
) -> tuple[Array, State]:
    """Takes x (T, I, B) and a state (H, B); returns outputs (T, H, B) and the final state (H,
    B)."""
    return _walk(CELLS[cell], reverse, x, lengths, state, weights)[:2]


def _walk(
    cell: Cell, reverse: bool, x: Array, lengths: Array | None, state: State, weights: Weights
) -> tuple[Array, State, Array]:
    """Returns outputs (T, H, B), the final state, and what each step saved (T, S, N)."""
    w_ih, w_hh, b_ih, b_hh, _ = weights
    (size, batch), steps = state[0].shape, x.shape[0]
    within = None if lengths is None else _within(x, lengths)
    w = jnp.concatenate([w_hh, w_ih], axis=1) if len(cell.blocks) == 1 else None
    b_ih, b_hh = (0 if b is None else _spread(b, batch, size) for b in (b_ih, b_hh))

    def products(h: Array, x: Array) -> list[Array]:
        # Not W_ih x of all steps at once, which would leave the cache.
        h = h.reshape(size, batch)
        if w is not None:
            return [_by_gate(w @ jnp.concatenate([h, x]), size) + (b_ih + b_hh)]
        return [_by_gate(w_ih @ x, size) + b_ih, _by_gate(w_hh @ h, size) + b_hh]

    def step(carry: tuple[Vectors, Array, Any], now: tuple[Array, Array | None]) -> Any:
        state, saved, t = carry
        x_t, within = now
        moved, parts = cell.forward(state, *products(state[0], x_t))
        for place, part in enumerate(parts):
            saved = _write(saved, part[None, None], t, place)
        h = moved[0]
        if within is not None:
            within = jnp.tile(within, size)
            h = jnp.where(within, h, 0)
            moved = tuple(jnp.where(within, m, s) for m, s in zip(moved, state, strict=True))
        return (moved, saved, t + (-1 if reverse else 1)), h

    # One array for all: XLA would fill one for each that the scan stacks, and copy most of them.
    saved = _varying_as(x, jnp.zeros((steps, sum(cell.saved), size * batch), x.dtype))
    carry = tuple(map(_flat, state)), saved, steps - 1 if reverse else 0
    (final, saved, _), outputs = jax.lax.scan(step, carry, (x, within), reverse=reverse)
    final = tuple(part.reshape(size, batch) for part in final)
    return outputs.reshape(steps, size, batch), final, saved


def _flat(state: Float[Array, "H B"]) -> Float[Array, " N"]:
    size, batch = state.shape
    return state.reshape(size * batch)


def _by_gate(gates: Float[Array, "GH B"], size: int) -> Float[Array, "G N"]:
    rows, batch = gates.shape
    return gates.reshape(rows // size, size * batch)


def _spread(bias: Float[Array, " GH"], batch: int, size: int) -> Float[Array, "G N"]:
    # Not as a product's column of ones: it is the sum that makes XLA go through gates as (G, N).
    return _by_gate(jnp.broadcast_to(bias[:, None], (bias.shape[0], batch)), size)


def _write(into: Array, part: Array, t: Any, place: int) -> Array:
    start = t, place, 0
    return jax.lax.dynamic_update_slice(into, part, start, allow_negative_indices=False)


def _within(x: Array, lengths: Int[Array, " B"]) -> Bool[Array, "T B"]:
    """Tells for each step whether it is one of its sequence."""
    return jnp.arange(x.shape[0], dtype=lengths.dtype)[:, None] < lengths[None]


def _forward(
    cell: Any, reverse: bool, x: Array, lengths: Array | None, state: State, weights: Weights
) -> tuple[tuple[Array, State], Any]:
    outputs, final, saved = _walk(CELLS[cell], reverse, x, lengths, state, weights)
    return (outputs, final), (x, lengths, state, weights, outputs, saved)


def _backward(cell: Any, reverse: bool, residuals: Any, gradients: tuple[Array, State]) -> Any:
    """Turns the gradients of outputs and final state into those of x, state and weights."""
    x, lengths, state, weights, outputs, saved = residuals
    d_outputs, d_state = gradients
    cell = CELLS[cell]
    within = None if lengths is None else _within(x, lengths)
    first = state[0][None]
    h = jnp.concatenate([outputs[1:], first] if reverse else [first, outputs[:-1]])
    if within is not None and reverse:  # a sequence begins at its own end
        starts = jnp.concatenate([within[1:], jnp.zeros_like(within[:1])])
        h = jnp.where(starts[:, None], h, first)
    steps, features, batch = x.shape
    size, bias = h.shape[1], int(weights.bias_ih is not None)
    if within is None and not cell.direct:  # the final h is the last output
        d_outputs = d_outputs.at[0 if reverse else -1].add(d_state[0])
        d_state = (None, *d_state[1:])
    d_state = jax.tree.map(_flat, d_state)

    def zeros(*shape: int) -> Array:
        return _varying_as(x, jnp.zeros(shape, x.dtype))

    after = zeros(sum(block.gates for block in cell.blocks if block.h), size * batch)
    most = min(steps, CHUNK) if isinstance(steps, int) else steps
    room = zeros(most, sum(block.gates for block in cell.blocks), size * batch)
    d_weights = [
        zeros(features * block.x + bias + size * block.h, block.gates * size)
        for block in cell.blocks
    ]
    # Turned once: XLA's products that turn W at every step take up to twice as long.
    w_hh_t = jax.lax.optimization_barrier(weights.weight_hh.T)
    chunk = functools.partial(_chunk_back, cell, reverse, bias, weights.weight_ih, w_hh_t)
    flat = (part.reshape(steps, size * batch) for part in (d_outputs, outputs))
    carry = (after, d_state), room, d_weights
    xs = h, x, (*flat, saved, within)
    ((after, d_state), _, d_weights), d_x = _in_chunks(chunk, carry, xs, reverse=not reverse)

    d_h, *others = jax.tree.map(lambda part: part.reshape(size, batch), d_state)
    through = w_hh_t @ after.reshape(w_hh_t.shape[1], batch)
    d_state = (through if d_h is None else through + d_h, *others)
    pairs = list(zip(cell.blocks, d_weights, strict=True))
    d_ih = jnp.concatenate([part[: features + bias] for block, part in pairs if block.x], 1).T
    d_hh = jnp.concatenate([part[features * block.x :] for block, part in pairs if block.h], 1).T
    d_w = Weights(d_ih[:, :features], d_hh[:, bias:])
    if bias:
        d_w = d_w._replace(bias_ih=d_ih[:, features], bias_hh=d_hh[:, 0])
    return jnp.swapaxes(d_x, 1, 2), None, d_state, d_w


def _chunk_back(
    cell: Cell,
    reverse: bool,
    bias: int,
    w_ih: Array,
    w_hh_t: Array,
    carry: tuple[tuple[Array, Gradients], Array, list[Array]],
    now: tuple[Array, Array, Any],
) -> tuple[Any, Float[Array, "C B I"]]:
    """Goes back through some steps. It carries gradients: of the gates of the step after, of the
    state, room for those of all gates, and those of the weights. It also returns the gradient of
    x."""
    carried, room, d_weights = carry
    h, x, (d_outputs, outputs, saved, within) = now
    count, size, batch = h.shape
    features = x.shape[1]

    def step(carry: tuple[Any, Array, Any], now: Any) -> tuple[tuple[Any, Array, Any], None]:
        (after, d_state), room, t = carry
        d_output, h, saved, within = now
        # Multiplied here, not when the gates were found: XLA would compute them again for the
        # product, in its shape, whose rows are as short as the batch.
        d_h = _flat(w_hh_t @ after.reshape(w_hh_t.shape[1], batch))
        if d_state[0] is not None:
            d_h += d_state[0]
        if within is not None:
            within = jnp.tile(within, size)
            d_output = jnp.where(within, d_output, 0)
        gates, before = cell.backward((d_h + d_output, *d_state[1:]), h, *saved)
        if within is not None:
            gates = jnp.where(within[None], gates, 0)
            pairs = zip(before, (d_h, *d_state[1:]), strict=True)
            before = tuple(jnp.where(within, 0 if b is None else b, s) for b, s in pairs)
        room = _write(room, gates[None], t, 0)
        return ((gates[: after.shape[0]], before), room, t + (1 if reverse else -1)), None

    # In parts: XLA makes scalar code of what reads two parts of one slice.
    ends = itertools.accumulate(cell.saved[:-1])
    parts = jnp.split(saved, list(ends), axis=1) if cell.saved else []
    steps = d_outputs, outputs, parts, within
    start = carried, room, 0 if reverse else count - 1
    (carried, room, _), _ = jax.lax.scan(step, start, steps, reverse=not reverse)

    ones = [jnp.ones_like(x[:, :1])] * bias
    inputs = jnp.concatenate([jnp.swapaxes(part, 0, 1) for part in (x, *ones, h)])
    inputs = inputs.reshape(inputs.shape[0], count * batch)
    d_x: Any = 0
    found: list[Array] = []
    place = row = 0
    for block, d_weight in zip(cell.blocks, d_weights, strict=True):
        gates = _in_rows(room[:count, place : place + block.gates], (size, batch))
        place += block.gates
        read = inputs if block.x else inputs[features:]
        read = read if block.h else read[: features + bias]
        found.append(d_weight + read @ gates)
        if block.x:
            d_x += gates @ w_ih[row : row + block.gates * size]
            row += block.gates * size
    return (carried, room, found), d_x.reshape(count, batch, features)


def _in_rows(gates: Float[Array, "C G N"], shape: tuple[int, int]) -> Float[Array, "CB GH"]:
    """Puts the gates of all steps and sequences below each other."""
    (count, rows, _), (size, batch) = gates.shape, shape
    gates = gates.reshape(count, rows * size, batch)
    return jnp.swapaxes(gates, 1, 2).reshape(count * batch, rows * size)


def _in_chunks(chunk: Any, carry: Any, xs: Any, reverse: bool) -> tuple[Any, Array]:
    """Scans over chunks of steps; the first one takes the steps that are left over."""
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
