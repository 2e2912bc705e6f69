"""One step of each cell, forth and back: the arithmetic of `bptt.py`.

Features come first: a state is a vector of N = H · B numbers, and gates are (G, N). The equations
are those of `cells.py`; the way forth also saves what the way back multiplies by.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from rnn_jax import cells

Vectors = tuple[Float[Array, " N"], ...]
"""Type of a state, all of it flat."""
Gradients = tuple[Float[Array, " N"] | None, ...]
"""Type of a state's gradients; None for zero."""


class Block(NamedTuple):
    """Gates that read the same."""

    gates: int
    h: bool = True
    """True if they are made of W_hh h + b_hh."""
    x: bool = True
    """True if they are made of W_ih x + b_ih."""


class Cell(NamedTuple):
    """A cell as the two functions of a step, forth and back. States are vectors of N = H B numbers;
    gates are (G, N)."""

    forward: Callable[..., tuple[Vectors, list[Array]]]
    """Function: (state, W_ih x + b_ih + W_hh h + b_hh) → the next state, and the arrays to save.
    Where there are several blocks, the two summands come one by one."""
    backward: Callable[..., tuple[Array, Gradients]]
    """Function: (gradient of the next state, its h, what was saved) → gradient of the gates in the
    order of `blocks`, and gradient of the state before, without what passes through W_hh."""
    saved: tuple[int, ...] = ()
    """Numbers of arrays that a step saves, in groups that the way back reads as one."""
    blocks: tuple[Block, ...] = (Block(1),)
    """Blocks of gates, those of W_hh first."""
    direct: bool = False
    """True if h reaches the next h past W_hh also."""


def _tanh_forward(state: Vectors, gates: Array) -> tuple[Vectors, list[Array]]:
    return (jnp.tanh(gates[0]),), []


def _tanh_backward(gradient: Vectors, h: Array) -> tuple[Array, Gradients]:
    return (gradient[0] * (1 - h * h))[None], (None,)


def _relu_forward(state: Vectors, gates: Array) -> tuple[Vectors, list[Array]]:
    return (jax.nn.relu(gates[0]),), []


def _relu_backward(gradient: Vectors, h: Array) -> tuple[Array, Gradients]:
    return jnp.where(h > 0, gradient[0], 0)[None], (None,)


def _lstm_forward(state: Vectors, gates: Array) -> tuple[Vectors, list[Array]]:
    c = state[1]
    i, f, g, o = gates
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    moved = f * c + i * g
    tanh_c = jnp.tanh(moved)
    h = o * tanh_c
    local = [g * (i - i * i), c * (f - f * f), i * (1 - g * g), tanh_c * (o - o * o)]
    return (h, moved), [*local, o - h * tanh_c, f]


def _lstm_backward(
    gradient: Vectors, h: Array, local: Array, through_tanh: Array, f: Array
) -> tuple[Array, Gradients]:
    dh, dc = gradient
    dc += dh * through_tanh[0]
    # Not the four joined: XLA computes what it joins element by element.
    of_o = jnp.arange(4)[:, None] == 3
    return local * jnp.where(of_o, dh[None], dc[None]), (None, dc * f[0])


def _gru_forward(state: Vectors, x: Array, h: Array) -> tuple[Vectors, list[Array]]:
    (before,) = state
    r, z = jax.nn.sigmoid(x[:2] + h[:2])
    h_n = h[2]
    n = jnp.tanh(x[2] + r * h_n)
    moved = n + z * (before - n)
    local_n = (1 - z) * (1 - n * n)
    local = [local_n * h_n * (r - r * r), (before - n) * (z - z * z), local_n * r, local_n]
    return (moved,), [*local, z]


def _gru_backward(gradient: Vectors, h: Array, local: Array, z: Array) -> tuple[Array, Gradients]:
    (dh,) = gradient
    return local * dh[None], (dh * z[0],)


CELLS: dict[Any, Cell] = {
    cells.rnn_tanh: Cell(_tanh_forward, _tanh_backward),
    cells.rnn_relu: Cell(_relu_forward, _relu_backward),
    cells.lstm: Cell(_lstm_forward, _lstm_backward, saved=(4, 1, 1), blocks=(Block(4),)),
    cells.gru: Cell(  # r and z, W_hn h + b_hn, and n
        _gru_forward,
        _gru_backward,
        saved=(4, 1),
        blocks=(Block(2), Block(1, x=False), Block(1, h=False)),
        direct=True,
    ),
}
