"""Learning rates that go up and down: cosines, one cycle, many cycles.

As in `rnn_jax/schedules.py`. Cosines are written as sin², which is as precise near zero.
"""

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.scalars import check_choice, check_integer, check_number, line, power, scalar
from rnn_jax.schedules import Schedule, passed
from shared.errors import InvalidInput


def cosine_annealing_lr(learning_rate: float, T_max: int, eta_min: float = 0.0) -> Schedule:
    """Makes CosineAnnealingLR (Loshchilov & Hutter 2017, without restarts), which climbs again
    from step T_max on.

    It can be chained with others where eta_min is 0, up to T_max. Beyond, torch begins anew with
    the rate of the optimizer, without the others' factors; the chain is NaN there.

    Raises:
        InvalidInput: a number out of its range.
    """
    check_number("learning_rate", learning_rate)
    check_integer("T_max", T_max, 1)
    check_number("eta_min", eta_min)

    def between(start: float, end: float, n: jax.Array) -> jax.Array:
        left = abs(T_max - n % (2 * T_max))
        return _cosine(start, end, scalar(T_max - left), scalar(left))

    def factor(n: jax.Array) -> jax.Array:
        return jnp.where(n > T_max, jnp.nan, between(1.0, 0.0, n))

    return Schedule(
        lambda n: between(learning_rate, eta_min, n),
        learning_rate,
        None if eta_min else factor,
    )


def cosine_annealing_warm_restarts(
    learning_rate: float, T_0: int, T_mult: int = 1, eta_min: float = 0.0
) -> Schedule:
    """Makes CosineAnnealingWarmRestarts (Loshchilov & Hutter 2017): cosines of T_0 steps, of
    T_0 · T_mult, of T_0 · T_mult² ….

    Raises:
        InvalidInput: a number out of its range.
    """
    check_number("learning_rate", learning_rate)
    check_integer("T_0", T_0, 1)
    check_integer("T_mult", T_mult, 1)
    check_number("eta_min", eta_min)
    starts, lengths = [0], [T_0]
    while T_mult > 1 and starts[-1] + lengths[-1] < 2**31:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * T_mult)

    def rate(n: jax.Array) -> jax.Array:
        if T_mult == 1:
            return _cosine(learning_rate, eta_min, scalar(n % T_0), scalar(T_0 - n % T_0))
        cycle = passed(np.asarray(starts), n) - 1
        done = scalar(n - jnp.asarray(starts)[cycle])
        length = scalar(np.asarray(lengths, float))[cycle]
        return _cosine(learning_rate, eta_min, done, length - done)

    return Schedule(rate)


def one_cycle_lr(
    max_lr: float,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    cycle_momentum: bool = True,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Schedule:
    """Makes OneCycleLR (Smith & Topin 2019) of the rate: up to max_lr, then down to almost nothing.

    torch also moves the momentum, unless cycle_momentum is False; that must be said here as well.
    After total_steps, where torch raises an error, the rate is NaN.

    Raises:
        InvalidInput: cycle_momentum, or a number out of its range.
    """
    _refuse_momentum("one_cycle_lr", cycle_momentum)
    total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
    for name, value in {"max_lr": max_lr, "pct_start": pct_start}.items():
        check_number(name, value)
    for name, value in {"div_factor": div_factor, "final_div_factor": final_div_factor}.items():
        check_number(name, value)
        if not value:
            raise InvalidInput(f"{name}: expected a number above 0, got {value!r}")
    if pct_start > 1:
        raise InvalidInput(f"pct_start: expected at most 1, got {pct_start!r}")
    check_choice("anneal_strategy", anneal_strategy, ("cos", "linear"))
    between = _cosine if anneal_strategy == "cos" else line
    low = max_lr / div_factor
    ends = [float(pct_start * total_steps) - 1]
    ends += [float(2 * pct_start * total_steps) - 2] if three_phase else []
    ends += [float(total_steps - 1)]
    if not ends[0]:
        raise InvalidInput(
            f"pct_start={pct_start!r}: expected a first phase that is not one step, got one of "
            f"total_steps={total_steps!r}, by whose length of 0 torch divides"
        )
    levels = [low, max_lr, *([low] if three_phase else []), low / final_div_factor]

    def rate(n: jax.Array) -> jax.Array:
        found = scalar(jnp.full(n.shape, jnp.nan))
        starts = [0.0, *ends[:-1]]
        last = [*(math.floor(end) for end in ends[:-1]), total_steps]
        for phase in reversed(range(len(ends))):
            done, left = _since(starts[phase], n), -_since(ends[phase], n)
            within = between(levels[phase], levels[phase + 1], done, left)
            found = jnp.where(n <= last[phase], within, found)
        return found

    return Schedule(rate)


def cyclic_lr(
    base_lr: float,
    max_lr: float,
    step_size_up: int = 2000,
    step_size_down: int | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: float = 1.0,
    scale_fn: Callable[[jax.Array], jax.typing.ArrayLike] | None = None,
    scale_mode: Literal["cycle", "iterations"] = "cycle",
    cycle_momentum: bool = True,
) -> Schedule:
    """Makes CyclicLR (Smith 2017) of the rate: from base_lr to max_lr and back, again and again.

    torch also moves the momentum, unless cycle_momentum is False; that must be said here as well.

    Args:
        scale_fn: replaces mode: the height of a cycle, of its number from 1 on or, with scale_mode
            "iterations", of the number of steps. It must be one that JAX can trace.

    Raises:
        InvalidInput: cycle_momentum, or a number out of its range.
    """
    _refuse_momentum("cyclic_lr", cycle_momentum)
    for name, value in {"base_lr": base_lr, "max_lr": max_lr, "gamma": gamma}.items():
        check_number(name, value)
    up, down = step_size_up, step_size_up if step_size_down is None else step_size_down
    check_integer("step_size_up", up, 1)
    check_integer("step_size_down", down, 1)
    check_choice("mode", mode, ("triangular", "triangular2", "exp_range"))
    check_choice("scale_mode", scale_mode, ("cycle", "iterations"))

    def height(n: jax.Array) -> jax.typing.ArrayLike:
        cycle = n // (up + down)
        if scale_fn is not None:
            return scale_fn(cycle + 1 if scale_mode == "cycle" else n)
        if mode == "triangular":
            return 1.0
        return power(0.5, cycle) if mode == "triangular2" else power(gamma, n)

    def rate(n: jax.Array) -> jax.Array:
        at = n % (up + down)
        share = jnp.where(at <= up, scalar(at) / up, scalar(up + down - at) / down)
        return base_lr + (max_lr - base_lr) * share * scalar(height(n))

    return Schedule(rate)


def _total_steps(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is None:
        check_integer("epochs, without total_steps", epochs, 1)
        check_integer("steps_per_epoch, without total_steps", steps_per_epoch, 1)
        assert epochs is not None
        assert steps_per_epoch is not None
        return epochs * steps_per_epoch
    check_integer("total_steps", total_steps, 1)
    return total_steps


def _refuse_momentum(name: str, cycle_momentum: bool) -> None:
    if cycle_momentum:
        raise InvalidInput(
            f"{name}: expected cycle_momentum=False: a schedule of optax is of the rate alone; "
            "give torch's scheduler cycle_momentum=False, too"
        )


def _cosine(start: float, end: float, done: jax.Array, left: jax.Array) -> jax.Array:
    """Returns half a wave of a cosine from start to end, by sin²(x / 2) = (1 - cos x) / 2."""
    quarter = math.pi / 2 / (done + left)
    return start * jnp.sin(quarter * left) ** 2 + end * jnp.sin(quarter * done) ** 2


def _since(start: float, n: jax.Array) -> jax.Array:
    """Returns n - start, of which float32 keeps all digits, whatever fraction start has."""
    whole = math.floor(start)
    return scalar(n - whole) - (start - whole)
