"""The backward pass by hand of rnn_jax/bptt.py against autodiff of the plain scan, in float64."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from rnn_jax import bptt, cells, recurrence
from rnn_jax.cells import CELLS, Weights
from shared.protocol.layer import GATES
from tests.support.jax_cases import check_same
from tests.support.pairwise import few_by_default

BATCH, SIZE, HIDDEN = 3, 2, 4
# One chunk of steps; several that it divides; several with some left over.
STEPS = [1, 7, 3 * bptt.CHUNK, LEFT_OVER := 2 * bptt.CHUNK + 3]


def draw(*shapes: tuple[int, ...]) -> list[jax.Array]:
    return [jax.random.normal(jax.random.key(i), s, jnp.float64) for i, s in enumerate(shapes)]


def case(mode: str, steps: int, bias: bool) -> tuple[Any, jax.Array, cells.State, Weights]:
    rows = GATES["rnn" if mode.startswith("RNN") else mode.lower()] * HIDDEN  # type: ignore[index]
    states = 2 if mode == "LSTM" else 1
    x, w_ih, w_hh, b_ih, b_hh, *state = draw(
        (steps, BATCH, SIZE), (rows, SIZE), (rows, HIDDEN), (rows,), (rows,),
        *[(BATCH, HIDDEN)] * states,
    )  # fmt: skip
    if mode == "RNN_RELU":  # so that units stay alive, without biases too
        x, w_ih, w_hh = abs(x), abs(w_ih), abs(w_hh)
    weights = Weights(0.3 * w_ih, 0.3 * w_hh, *((b_ih, b_hh) if bias else ()))
    return CELLS[mode], x, tuple(state), weights


def scalar(result: Any) -> jax.Array:
    """A number to which every output and final state contributes, differently."""
    leaves = jax.tree.leaves(result)
    return jnp.stack([jnp.sum(jnp.sin((i + 1) * leaf + 1)) for i, leaf in enumerate(leaves)]).sum()


# Of chunks matters only how many there are, and where they begin.
KINDS = [
    (mode, steps, reverse, ragged, bias)
    for mode, steps, reverse, ragged, bias in itertools.product(CELLS, STEPS, *[[False, True]] * 3)
    if steps == LEFT_OVER or (ragged and bias)
]


@pytest.mark.parametrize(("mode", "steps", "reverse", "ragged", "bias"), few_by_default(KINDS))
def test_by_hand_is_autodiff(
    mode: str, steps: int, reverse: bool, ragged: bool, bias: bool
) -> None:
    """Outputs, final states and all gradients: of inputs, initial states and weights."""
    cell, x, state, weights = case(mode, steps, bias)
    lengths = jnp.asarray([steps, 1, (steps + 1) // 2], jnp.int32) if ragged else None

    def run(recur: Any) -> Any:
        def results(x: Any, state: Any, weights: Any) -> Any:
            return recur(cell, x, lengths, state, weights, reverse)

        def loss(*arguments: Any) -> jax.Array:
            return scalar(results(*arguments))

        @jax.jit
        def both(*arguments: Any) -> Any:
            return results(*arguments), jax.grad(loss, argnums=(0, 1, 2))(*arguments)

        return both(x, state, weights)

    found, expected = run(bptt.recur), run(recurrence.recur)
    check_same(found, expected)


@pytest.mark.parametrize("mode", list(CELLS))
def test_outputs_or_final_states_alone(mode: str) -> None:
    cell, x, state, weights = case(mode, 2 * bptt.CHUNK, True)

    def gradients(recur: Any, part: int) -> Any:
        def loss(x: Any, state: Any, weights: Any) -> jax.Array:
            return scalar(recur(cell, x, None, state, weights)[part])

        return jax.grad(loss, argnums=(0, 1, 2))(x, state, weights)

    for part in (0, 1):
        check_same(gradients(bptt.recur, part), gradients(recurrence.recur, part))


def test_what_has_a_backward_pass() -> None:
    for cell in CELLS.values():
        assert bptt.supports(cell, jnp.dtype("float32"))
        assert bptt.supports(cell, jnp.dtype("float64"))
        assert not bptt.supports(cell, jnp.dtype("bfloat16"))
    assert not bptt.supports(lambda *arguments: arguments, jnp.dtype("float32"))


@pytest.mark.parametrize(("size", "bias"), [(1e-2, 0), (1e-6, 0), (1, -14)])
@pytest.mark.parametrize("mode", list(CELLS))
def test_small_numbers_keep_their_digits(mode: str, size: float, bias: float) -> None:
    """float32, of small inputs and of gates that are nearly closed, against float64."""
    cell, x, state, weights = case(mode, 7, bias=False)
    gates = {"LSTM": (1, 1, 0, 1), "GRU": (1, 1, 0)}.get(mode, (0,))  # those that close
    biases = jnp.repeat(jnp.array([gates, gates]) * bias / 2, HIDDEN, axis=1)
    exact = size * x, jax.tree.map(jnp.zeros_like, state), Weights(*weights[:2], *biases)
    (coefficients,) = draw((*x.shape[:2], HIDDEN))

    def loss(x: jax.Array, state: cells.State, weights: Weights) -> Any:
        output, _ = bptt.recur(cell, x, None, state, weights)
        return (output * coefficients.astype(output.dtype)).sum(), output

    gradient = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
    found = gradient(*jax.tree.map(lambda part: part.astype(jnp.float32), exact))
    expected = gradient(*exact)
    found = jax.tree.map(lambda part: part.astype(jnp.float64), found)
    check_same(found, expected, relative=5e-6)
