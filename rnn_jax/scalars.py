"""Scalars of optimizers and schedules, as precise as their dtype allows.

They are float64 where jax_enable_x64 is on and float32 without it, whatever the parameters are.
PyTorch computes them as Python's floats. In optax, exponential_decay and linear_schedule are
float32 even with x64; without it, 1 - βᵗ loses digits while t is small, and γᵗ while t is large.
"""

import math
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from shared.errors import InvalidInput


def scalar(value: jax.typing.ArrayLike) -> jax.Array:
    """Returns a value, or an array of them, in float64, or float32 without x64."""
    return jnp.asarray(value, float)


def check_number(
    name: str, value: Any, low: float = 0.0, below: float = math.inf, *, infinite: bool = False
) -> None:
    """Checks that low ≤ value < below. Arrays of JAX, of which the value may not be known, pass:
    optax.inject_hyperparams makes them of numbers.

    Args:
        infinite: whether infinity will do, too.

    Raises:
        InvalidInput: no number, or one out of this range.
    """
    if isinstance(value, jax.Array) and value.ndim == 0:
        return
    within = isinstance(value, Real) and (
        low <= float(value) < below or (infinite and float(value) == math.inf)
    )
    if not within:
        least = "a finite number" if low == -math.inf else f"a number ≥ {low:g}"
        most = "" if below == math.inf else f" and < {below:g}"
        raise InvalidInput(f"{name}: expected {least}{most}, got {value!r}")


def check_integer(name: str, value: Any, low: int = 0) -> None:
    """Checks that a value is an integer that is not less than low.

    Raises:
        InvalidInput: another value.
    """
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < low:
        raise InvalidInput(f"{name}: expected an integer ≥ {low}, got {value!r}")


def check_share(name: str, value: Any) -> None:
    """Checks that 0 < value ≤ 1.

    Raises:
        InvalidInput: another value.
    """
    if not isinstance(value, Real) or not 0 < float(value) <= 1:
        raise InvalidInput(f"{name}: expected a number above 0 and at most 1, got {value!r}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Checks that a value is one of the choices.

    Raises:
        InvalidInput: another value.
    """
    if value not in choices:
        raise InvalidInput(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def one_minus_power(decay: float, count: jax.Array) -> jax.Array:
    """Returns 1 - decay^count, the bias correction of Adam, with all its digits."""
    if not decay:
        return scalar(1.0)
    return -jnp.expm1(scalar(count) * math.log(decay))


def power(base: float, count: jax.Array) -> jax.Array:
    """Returns base^count for base ≥ 0 and integers from 0 to 2³¹ - 1, of any shape.

    It is the product of four numbers from tables, one for each byte of the count: three roundings,
    where exp(count · log(base)) in float32 is wrong by count · log(base) of them.
    """
    found = jnp.ones(count.shape, float)
    for byte in range(4):
        exponents = np.arange(256.0) * 256.0**byte
        with np.errstate(over="ignore", under="ignore"):
            table = np.float64(base) ** exponents
            table = table.astype(scalar(0.0).dtype)
        found = found * jnp.asarray(table)[(count >> (8 * byte)) & 255]
    return found


def line(start: float, end: float, done: jax.Array, left: jax.Array) -> jax.Array:
    """Returns the value on a line from start to end, of which `done` is behind and `left` ahead."""
    return (start * left + end * done) / (done + left)
