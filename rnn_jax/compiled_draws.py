"""Compiles functions that draw at random, where JAX can keep their draws in order (see
`rnn_jax/draws.py`)."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, pairwise
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.extend.core import primitives as jax_primitives

from rnn_jax import draws as random_draws
from rnn_jax.captures import current
from rnn_jax.draw_primitive import draw_p
from shared.protocol.draws import Replay, seeded
from shared.protocol.program import Draws

BITS = (
    jax_primitives.random_bits_p,
    jax_primitives.rng_bit_generator_p,
    jax_primitives.rng_uniform_p,
    jax_primitives.random_gamma_p,
)
"""Primitives that draw and do not say so when they are compiled."""


class Compiled:
    """A function of arrays that draws inside of `drawing`, compiled once for each form of its
    arguments. Where that cannot be done, Python executes it from then on.

    Args:
        function: pytrees → pytree.
        reason: why Python is to execute it from the beginning.
    """

    path: str
    """How it was called last: "compiled", "plain", or "" before."""
    reason: str
    """Why Python executes it; "" if it is compiled."""

    def __init__(self, function: Callable[..., Any], reason: str = ""):
        self.path, self.reason = "", reason
        self._function = function
        self._forms: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *args: Any) -> Any:
        leaves, tree = jax.tree.flatten(args)
        form = tree, tuple(map(jax.typeof, leaves))
        if not self.reason and form not in self._forms:
            before = random.getstate(), np.random.get_state()
            try:
                self._forms[form] = _compiled(self._function, tree, leaves)
            except Exception as error:  # the plain path raises what is wrong with the function
                self.reason = f"{type(error).__name__}: {error}"
            random.setstate(before[0])
            np.random.set_state(before[1])
        self.path = "plain" if self.reason else "compiled"
        if self.reason:
            return self._function(*args)
        with random_draws.running():
            return self._forms[form](*leaves)


@contextmanager
def drawing(draws: Draws, step: int) -> Iterator[None]:
    """Records or replays what is drawn inside, if draws are given. What Python and NumPy draw is
    the same on both sides.

    Args:
        step: its number, which seeds Python and NumPy.
    """
    if draws is None:
        yield
        return
    with seeded(step):
        if isinstance(draws, Replay):
            with random_draws.replayed(draws, where=current):
                yield
            return
        with random_draws.recorded(where=current) as found:
            yield
        draws += found


def _compiled(function: Callable[..., Any], tree: Any, leaves: list[Any]) -> Callable[..., Any]:
    """Compiles a function for arguments of this form, as one of their leaves.

    Raises:
        NotImplementedError: Python and NumPy draw, too, or draws that are not in the order in
            which they were traced.
        Exception: whatever else JAX and the function raise when traced.
    """

    def flat(*leaves: Any) -> Any:  # a node of the user's may not hold what JAX tells of leaves
        return function(*jax.tree.unflatten(tree, leaves))

    before = _generators()
    with random_draws.compiling():
        traced = jax.jit(flat).trace(*leaves)
        if _generators() != before:  # once, where each step should
            raise NotImplementedError("Python or NumPy draws")
        # What is traced once and used twice has one line for both, and gradients move a draw out
        # of a loop if each step makes it alike.
        numbers = _numbers(traced.jaxpr.jaxpr)
        if any(after <= before for before, after in pairwise(numbers)):
            raise NotImplementedError("draws are in another order than where they were traced")
        return traced.lower().compile()


def _generators() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()
    return random.getstate(), name, np.asarray(keys).tobytes(), *rest


def _numbers(jaxpr: Any) -> list[int]:
    """Returns the numbers of draws in a jaxpr and in those within it, in the order of the
    program."""
    found: list[int] = []
    for equation in jaxpr.eqns:
        if equation.primitive is draw_p:
            found.append(equation.params["call"].number)
        if equation.primitive in BITS:
            raise NotImplementedError(f"{equation.primitive} is drawn in the plain path alone")
        inner = [
            _numbers(getattr(value, "jaxpr", value))
            for values in equation.params.values()
            for value in (values if isinstance(values, (tuple, list)) else (values,))
            if isinstance(value, (ClosedJaxpr, Jaxpr))
        ]
        found += chain(*sorted(inner))  # branches, of which one runs, stand in an order of JAX's
    return found
