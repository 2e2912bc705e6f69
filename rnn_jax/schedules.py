"""Learning rates by the number of steps, as the schedulers of `torch.optim.lr_scheduler` have them.

Arguments, defaults and formulas are those of the documentation of PyTorch 2.13,
https://pytorch.org/docs/2.13/optim.html#how-to-adjust-learning-rate, after the learning rate that
the optimizer would have there. torch computes most rates from the one before; what is here are its
closed forms, which agree with that but for rounding. `rnn_jax/scalars.py` says in which precision.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rnn_jax import scalars
from rnn_jax.scalars import check_integer, check_number, check_share, line, scalar
from shared.errors import InvalidInput

Rate = Callable[[jax.Array], jax.Array]
UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


@dataclass(frozen=True)
class Schedule:
    """A learning rate by the number of steps taken; optax takes it wherever it takes a schedule.

    Called with a Python integer or an array of integers it returns rates of the same shape.
    """

    rate: Rate
    base: float | None = None
    """The rate that `factor` multiplies."""
    factor: Rate | None = None
    """Of a schedule that multiplies the rate, and so can be chained with others."""
    follows: bool = True
    """Whether SequentialLR of torch starts it anew, where it follows another one."""

    def __call__(self, count: jax.typing.ArrayLike) -> jax.Array:
        steps = jnp.asarray(count)
        if not jnp.issubdtype(steps.dtype, jnp.integer):
            raise InvalidInput(f"count: expected integers, got {steps.dtype}")
        return scalar(self.rate(steps))


def multiplying(learning_rate: float, factor: Rate, *, follows: bool = True) -> Schedule:
    check_number("learning_rate", learning_rate)
    return Schedule(lambda n: learning_rate * factor(n), learning_rate, factor, follows)


def step_lr(learning_rate: float, step_size: int, gamma: float = 0.1) -> Schedule:
    """Makes StepLR: times gamma after every step_size steps.

    Raises:
        InvalidInput: a number out of its range.
    """
    check_integer("step_size", step_size, 1)
    check_number("gamma", gamma)
    return multiplying(learning_rate, lambda n: scalars.power(gamma, n // step_size))


def multi_step_lr(learning_rate: float, milestones: Sequence[int], gamma: float = 0.1) -> Schedule:
    """Makes MultiStepLR: times gamma at each milestone, twice where it is listed twice.

    Raises:
        InvalidInput: a number out of its range.
    """
    for milestone in milestones:
        check_integer("milestones", milestone)
    check_number("gamma", gamma)
    at = np.sort(np.asarray(milestones, int))
    return multiplying(learning_rate, lambda n: scalars.power(gamma, passed(at, n)))


def constant_lr(learning_rate: float, factor: float = 1 / 3, total_iters: int = 5) -> Schedule:
    """Makes ConstantLR: times factor until step total_iters.

    Raises:
        InvalidInput: a factor outside (0, 1], or a number out of its range.
    """
    check_share("factor", factor)
    check_integer("total_iters", total_iters, 1)
    return multiplying(learning_rate, lambda n: jnp.where(n < total_iters, scalar(factor), 1.0))


def linear_lr(
    learning_rate: float,
    start_factor: float = 1 / 3,
    end_factor: float = 1.0,
    total_iters: int = 5,
) -> Schedule:
    """Makes LinearLR: times a factor on a line from start_factor to end_factor.

    Raises:
        InvalidInput: a start_factor outside (0, 1], an end_factor outside [0, 1], or a number out
            of its range.
    """
    check_share("start_factor", start_factor)
    if end_factor:
        check_share("end_factor", end_factor)
    check_integer("total_iters", total_iters, 1)

    def factor(n: jax.Array) -> jax.Array:
        done = jnp.minimum(n, total_iters)
        return line(start_factor, end_factor, scalar(done), scalar(total_iters - done))

    return multiplying(learning_rate, factor)


def exponential_lr(learning_rate: float, gamma: float) -> Schedule:
    """Makes ExponentialLR: times gamma after every step.

    Raises:
        InvalidInput: a number out of its range.
    """
    check_number("gamma", gamma)
    return multiplying(learning_rate, lambda n: scalars.power(gamma, n))


def polynomial_lr(learning_rate: float, total_iters: int = 5, power: float = 1.0) -> Schedule:
    """Makes PolynomialLR: times (1 - n / total_iters)^power, 0 from step total_iters on.

    Raises:
        InvalidInput: a number out of its range.
    """
    check_integer("total_iters", total_iters, 1)
    check_number("power", power)

    def factor(n: jax.Array) -> jax.Array:
        return (scalar(total_iters - jnp.minimum(n, total_iters)) / total_iters) ** power

    return multiplying(learning_rate, factor)


def lambda_lr(
    learning_rate: float, lr_lambda: Callable[[Any], Any], steps: int | None = None
) -> Schedule:
    """Makes LambdaLR: times lr_lambda(number of steps).

    Args:
        lr_lambda: gets an array of JAX, which `if`, `min` and the functions of math refuse.
        steps: calls it with Python's integers, once for each step from 0 to steps - 1, right here;
            then it may be any function. Beyond, the rate is NaN.

    Raises:
        InvalidInput: a number out of its range; a function that JAX cannot trace, without steps.
    """
    check_number("learning_rate", learning_rate)
    if steps is not None:
        check_integer("steps", steps, 1)
        return Schedule(_tabulated([learning_rate * float(lr_lambda(n)) for n in range(steps)]))

    def rate(n: jax.Array) -> jax.Array:
        try:
            return learning_rate * scalar(lr_lambda(n.astype(int)))
        except UNTRACEABLE as error:
            raise InvalidInput(
                "lr_lambda: expected a function that JAX can trace; give steps= to have it called "
                f"with Python's integers (got {type(error).__name__})"
            ) from error

    return Schedule(rate)


def multiplicative_lr(
    learning_rate: float, lr_lambda: Callable[[int], float], steps: int
) -> Schedule:
    """Makes MultiplicativeLR: times lr_lambda(n) at each step n from 1 on, one after the other.

    Args:
        lr_lambda: gets Python's integers, each from 1 to steps - 1 once, right here.
        steps: how many steps there are; beyond, the rate is NaN.

    Raises:
        InvalidInput: a number out of its range.
    """
    check_integer("steps", steps, 1)
    factors = np.cumprod([1.0, *(float(lr_lambda(n)) for n in range(1, steps))])
    return multiplying(learning_rate, _tabulated(factors), follows=False)


def chained(schedules: Sequence[Schedule]) -> Schedule:
    """Makes ChainedScheduler: all factors, one times the other.

    Raises:
        InvalidInput: nothing to chain; other learning rates; a schedule that does not multiply:
            torch would have the last of those replace what stands before it.
    """
    if not schedules:
        raise InvalidInput("chained: expected schedules, got none")
    factors: list[Rate] = []
    for i, schedule in enumerate(schedules):
        if not isinstance(schedule, Schedule) or schedule.factor is None or schedule.base is None:
            raise InvalidInput(
                f"chained: schedules[{i}]: expected one that multiplies the rate (step_lr, "
                "multi_step_lr, constant_lr, linear_lr, exponential_lr, polynomial_lr, "
                "multiplicative_lr, cosine_annealing_lr to 0)"
            )
        if schedule.base != schedules[0].base:
            raise InvalidInput(
                "chained: expected schedules of one learning rate, got "
                f"{schedules[0].base!r} and {schedule.base!r}"
            )
        factors.append(schedule.factor)

    def product(n: jax.Array) -> jax.Array:
        found = scalar(1.0)
        for factor in factors:
            found = found * factor(n)
        return found

    assert schedules[0].base is not None
    return multiplying(schedules[0].base, product, follows=False)


def sequential_lr(schedules: Sequence[optax.Schedule], milestones: Sequence[int]) -> Schedule:
    """Makes SequentialLR: the next schedule from each milestone on, where it counts from 0 again.

    Args:
        schedules: with their own learning rates, which torch has from the optimizer.
        milestones: numbers of steps in ascending order, one less than there are schedules.

    Raises:
        InvalidInput: another number of milestones, or others; multiplicative_lr, chained and
            sequential_lr, which torch does not start anew.
    """
    if len(milestones) != len(schedules) - 1:
        raise InvalidInput(
            f"milestones: expected one less than the {len(schedules)} schedules, got "
            f"{len(milestones)}"
        )
    for milestone in milestones:
        check_integer("milestones", milestone)
    if list(milestones) != sorted(milestones):
        raise InvalidInput(f"milestones: expected ascending numbers, got {list(milestones)}")
    for i, schedule in enumerate(schedules):
        if not callable(schedule) or (isinstance(schedule, Schedule) and not schedule.follows):
            raise InvalidInput(
                f"sequential_lr: schedules[{i}]: expected a schedule that torch starts anew, which "
                "it does not do with multiplicative_lr, chained and sequential_lr"
            )

    def rate(n: jax.Array) -> jax.Array:
        found = scalar(schedules[0](n))
        for start, schedule in zip(milestones, schedules[1:], strict=True):
            found = jnp.where(n >= start, scalar(schedule(jnp.maximum(n - start, 0))), found)
        return found

    return Schedule(rate, follows=False)


def per_epoch(schedule: optax.Schedule, steps: int) -> Schedule:
    """Makes a schedule that counts epochs of so many steps, as one that is stepped after each epoch
    in torch.

    Raises:
        InvalidInput: no schedule, or less than one step.
    """
    check_integer("steps", steps, 1)
    if not callable(schedule):
        raise InvalidInput(f"schedule: expected a function, got {type(schedule).__name__}")
    return Schedule(lambda n: scalar(schedule(n // steps)))


def passed(milestones: np.ndarray, n: jax.Array) -> jax.Array:
    """Returns how many milestones, in ascending order, are reached at n steps."""
    within = np.minimum(milestones, np.iinfo(np.int32).max)
    return jnp.searchsorted(jnp.asarray(within), n, side="right")


def _tabulated(values: Sequence[float] | np.ndarray) -> Rate:
    table = np.append(np.asarray(values, float), math.nan)
    return lambda n: scalar(table)[jnp.minimum(n, len(table) - 1)]
