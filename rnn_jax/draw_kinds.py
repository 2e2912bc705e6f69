"""The functions in which jax.random draws, as `rnn_jax/draws.py` has them: each draw with its kind,
its settings, and no derivative."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

OTHERS = (
    "ball", "beta", "binomial", "cauchy", "chisquare", "dirichlet", "double_sided_maxwell", "f",
    "gamma", "generalized_normal", "geometric", "laplace", "logistic", "maxwell", "pareto",
    "poisson", "rayleigh", "t", "triangular", "truncated_normal", "wald", "weibull_min",
)  # fmt: skip
"""Draws that are noticed by these names, and not handed over. All else that jax.random offers draws
by the kinds that are: `choice` by integers, `lognormal` by normals."""


@runtime_checkable
class Notes(Protocol):
    """What a context does with draws."""

    within: str | None
    """The name by which random bits are noted: of the function in `OTHERS` that draws them, ""
    while JAX itself draws what is noted already, None outside of both."""

    def by(self, name: str) -> AbstractContextManager[None]:
        """Sets the name inside, unless there is one already; "" always."""
        ...

    def draw(
        self,
        kind: str,
        key: Any,
        shape: Any,
        dtype: Any,
        draw: Callable[..., Any],
        *operands: Any,
        settings: Callable[..., dict[str, Any]] | None = None,
    ) -> Any:
        """Draws.

        Args:
            draw: (key, *operands) → values, of JAX itself.
            settings: operands → settings by name; the operands themselves without it.
        """
        ...


def _uniform(
    notes: Notes, original: Any, key: Any, minval: Any, maxval: Any, shape: Any, dtype: Any
) -> Any:
    traced = any(isinstance(end, Tracer) for end in (minval, maxval))
    low, high = ((jnp if traced else np).asarray(end, dtype) for end in (minval, maxval))

    def draw(key: Any, low: Any, high: Any) -> Any:
        return original(key, low, high, shape, dtype)

    values = notes.draw("uniform", key, shape, dtype, draw, low, high)
    if not traced:
        return values
    # A draw has no derivative; zeros are added by which gradients go through the ends.
    still, top = jax.lax.stop_gradient((low, high))
    unit = (values - still) / jnp.where(top > still, top - still, 1)
    return values + (low - still) * (1 - unit) + (high - top) * unit


def _bernoulli(notes: Notes, original: Any, key: Any, p: Any, shape: Any, mode: str) -> Any:
    shape = jnp.shape(p) if shape is None else shape
    draw = partial(original, shape=shape, mode=mode)
    return notes.draw("bernoulli", key, shape, bool, draw, p)


def _normal(notes: Notes, original: Any, key: Any, shape: Any, dtype: Any) -> Any:
    if jnp.issubdtype(dtype, jnp.complexfloating):
        with notes.by("complex normal"):
            return original(key, shape, dtype)
    draw = partial(original, shape=shape, dtype=dtype)
    return notes.draw("normal", key, shape, dtype, draw, settings=lambda: {"mean": 0.0, "std": 1.0})


def _randint(
    notes: Notes, original: Any, key: Any, minval: Any, maxval: Any, shape: Any, dtype: Any
) -> Any:
    draw = partial(original, shape=shape, dtype=dtype)
    minval, maxval = jnp.asarray(minval), jnp.asarray(maxval)
    return notes.draw("integers", key, shape, dtype, draw, minval, maxval)


def _shuffle(notes: Notes, original: Any, key: Any, x: Any, axis: int) -> Any:
    if x.ndim != 1:
        with notes.by("independent permutation"):
            return original(key, x, axis)
    if len(x) < 2:
        return x

    def draw(key: Any) -> Any:
        return original(key, jnp.arange(len(x)), 0)

    dtype = jax.dtypes.canonicalize_dtype(int)
    return jnp.take(x, notes.draw("permutation", key, x.shape, dtype, draw), 0)


def _exponential(notes: Notes, original: Any, key: Any, shape: Any, dtype: Any) -> Any:
    draw = partial(original, shape=shape, dtype=dtype)
    return notes.draw("exponential", key, shape, dtype, draw, settings=lambda: {"rate": 1.0})


def _gumbel(notes: Notes, original: Any, key: Any, shape: Any, dtype: Any, mode: str) -> Any:
    draw = partial(original, shape=shape, dtype=dtype, mode=mode)
    return notes.draw("gumbel", key, shape, dtype, draw)


def _categorical(notes: Notes, original: Any, key: Any, logits: Any, **how: Any) -> Any:
    draw = partial(original, **how)
    if not how["replace"]:
        with notes.by("categorical without replacement"):
            return draw(key, logits)

    def settings(logits: Any) -> dict[str, Any]:
        return {"probabilities": jnp.moveaxis(jax.nn.softmax(logits, how["axis"]), how["axis"], -1)}

    dtype = jax.dtypes.canonicalize_dtype(int)
    return notes.draw("categorical", key, how["shape"], dtype, draw, logits, settings=settings)


def _bits(notes: Notes, original: Any, key: Any, bit_width: int, shape: Any) -> Any:
    draw = partial(original, bit_width=bit_width, shape=shape)
    return notes.draw(notes.within or "bits", key, shape, f"uint{bit_width}", draw)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "_uniform": _uniform, "_bernoulli": _bernoulli, "_normal": _normal, "_randint": _randint,
    "_shuffle": _shuffle, "_exponential": _exponential, "_gumbel": _gumbel,
    "_categorical": _categorical, "_random_bits": _bits,
}  # fmt: skip
"""Functions of JAX by name → those in place of them, which get `Notes`, the function of JAX and its
arguments."""
