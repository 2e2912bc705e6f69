"""Schedules of rnn_jax.optim, against the schedulers of torch at every step."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch.optim import lr_scheduler

from rnn_jax import optim
from shared.errors import InvalidInput

BASE = 0.3
STEPS = 130
Case = tuple[Callable[[], Any], Callable[[torch.optim.Optimizer], Any]]


def cases() -> dict[str, Case]:
    """A schedule and torch's of the same name, by what it is."""
    found: dict[str, Case] = {}

    def add(ours: Callable[..., Any], theirs: Any, *arguments: Any, **options: Any) -> None:
        values = (*arguments, *(f"{k}={v}" for k, v in options.items()))
        shown = ", ".join("…" if callable(value) else str(value) for value in values)
        momentum = {"cycle_momentum": False} if theirs in CYCLES else {}
        base = () if theirs in CYCLES else (BASE,)
        found[f"{ours.__name__}({shown})"] = (
            lambda: ours(*base, *arguments, **options, **momentum),
            lambda optimizer: theirs(optimizer, *arguments, **options, **momentum),
        )

    add(optim.step_lr, lr_scheduler.StepLR, 7)
    add(optim.multi_step_lr, lr_scheduler.MultiStepLR, (40, 3, 90, 3), 0.5)
    add(optim.multi_step_lr, lr_scheduler.MultiStepLR, (0, 5))
    add(optim.constant_lr, lr_scheduler.ConstantLR)
    add(optim.constant_lr, lr_scheduler.ConstantLR, 0.2, 31)
    add(optim.linear_lr, lr_scheduler.LinearLR)
    add(optim.linear_lr, lr_scheduler.LinearLR, 1.0, 0.0, 100)
    add(optim.linear_lr, lr_scheduler.LinearLR, 0.01, 0.7, 101)
    add(optim.exponential_lr, lr_scheduler.ExponentialLR, 0.9)
    add(optim.polynomial_lr, lr_scheduler.PolynomialLR)
    add(optim.polynomial_lr, lr_scheduler.PolynomialLR, 60, 2.5)
    add(optim.cosine_annealing_lr, lr_scheduler.CosineAnnealingLR, 30)
    add(optim.cosine_annealing_lr, lr_scheduler.CosineAnnealingLR, 17, 0.01)
    add(optim.cosine_annealing_lr, lr_scheduler.CosineAnnealingLR, 1, 0.5)
    restarts = (optim.cosine_annealing_warm_restarts, lr_scheduler.CosineAnnealingWarmRestarts)
    add(*restarts, 9)
    add(*restarts, 4, 2, 0.02)
    add(optim.one_cycle_lr, lr_scheduler.OneCycleLR, 0.5, STEPS)
    add(optim.one_cycle_lr, lr_scheduler.OneCycleLR, 0.5, epochs=13, steps_per_epoch=11)
    add(optim.one_cycle_lr, lr_scheduler.OneCycleLR, 0.5, 137, pct_start=0.31, three_phase=True)
    add(
        optim.one_cycle_lr, lr_scheduler.OneCycleLR, 0.5, 201,
        anneal_strategy="linear", div_factor=3.0, final_div_factor=7.0, pct_start=0.213,
    )  # fmt: skip
    add(optim.one_cycle_lr, lr_scheduler.OneCycleLR, 0.5, 150, pct_start=0.0)
    add(optim.cyclic_lr, lr_scheduler.CyclicLR, 0.1, 0.5, 7, 12, mode="triangular2")
    add(optim.cyclic_lr, lr_scheduler.CyclicLR, 0.1, 0.5, 10)
    add(optim.cyclic_lr, lr_scheduler.CyclicLR, 0.1, 0.5, 13, 3, mode="exp_range", gamma=0.97)
    for mode in ("cycle", "iterations"):
        add(
            optim.cyclic_lr, lr_scheduler.CyclicLR, 0.1, 0.5, 6, 4,
            scale_fn=lambda x: 1 / (1 + 0.1 * x), scale_mode=mode,
        )  # fmt: skip
    add(optim.lambda_lr, lr_scheduler.LambdaLR, lambda n: 0.95**n / (1 + n // 30))
    return found


CYCLES = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)
CASES = cases()


def of_torch(make: Callable[[torch.optim.Optimizer], Any], steps: int = STEPS) -> np.ndarray:
    """The rate of each step."""
    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=BASE)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        assert rates[-1] == scheduler.get_last_lr()[0]
        optimizer.step()
        scheduler.step()
    return np.array(rates)


def assert_same(mine: Any, theirs: np.ndarray, relative: float = 1e-12) -> None:
    """Relative to each rate, but where the sum of torch's numbers is zero but for rounding."""
    mine = np.asarray(mine, np.float64)
    assert mine.shape == theirs.shape
    np.testing.assert_allclose(mine, theirs, rtol=relative, atol=1e-15 * theirs.max())


@functools.cache
def rates_of_all(x64: bool) -> dict[str, np.ndarray]:
    """The rates of each step, one after the other in one program, which is compiled once."""
    with jax.enable_x64(x64):
        schedules = {case: ours() for case, (ours, _) in CASES.items()}

        def step(n: jax.Array, _: None) -> Any:
            return n + 1, {case: schedule(n) for case, schedule in schedules.items()}

        _, found = jax.jit(lambda n: jax.lax.scan(step, n, length=STEPS))(jnp.int32(0))
    return {case: np.asarray(rates) for case, rates in found.items()}


@pytest.mark.parametrize("case", CASES)
def test_a_schedule_is_torchs(case: str) -> None:
    found = rates_of_all(x64=True)[case]
    assert found.dtype == np.float64
    assert_same(found, of_torch(CASES[case][1]))


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("lambda_lr")])
def test_float32_keeps_all_but_a_few_units_in_the_last_place(case: str) -> None:
    """Of what is computed here; a lambda is the user's."""
    found = rates_of_all(x64=False)[case]
    assert found.dtype == np.float32
    assert_same(found, of_torch(CASES[case][1]), 8 * 2.0**-24)


def test_it_takes_integers_and_arrays_of_them() -> None:
    ours, theirs = CASES["cosine_annealing_warm_restarts(4, 2, 0.02)"]
    schedule, rates = ours(), of_torch(theirs)
    assert_same(schedule(np.arange(STEPS).reshape(2, -1)).ravel(), rates)
    assert_same(schedule(5), rates[5])


def test_float32_keeps_them_over_many_steps() -> None:
    """Where optax's own has lost four of seven digits."""
    n = np.array([0, 1, 255, 256, 65_537, 99_999, 999_903, 999_950])
    schedules = {
        "exponential": optim.exponential_lr(1.0, 0.99999),
        "cosine": optim.cosine_annealing_lr(1.0, 100_000),
        "one cycle": optim.one_cycle_lr(1.0, 1_000_003, pct_start=0.9999, cycle_momentum=False),
    }
    compiled = jax.jit(lambda n: {name: schedule(n) for name, schedule in schedules.items()})
    exact = compiled(n)
    with jax.enable_x64(False):
        found = compiled(n.astype(np.int32))
        optaxs = optax.exponential_decay(1.0, 1, 0.99999)(jnp.asarray(n))
    for name, rates in exact.items():
        np.testing.assert_allclose(found[name], rates, rtol=8 * 2.0**-24, err_msg=name)
    np.testing.assert_allclose(exact["exponential"], np.float64(0.99999) ** n, rtol=1e-14)
    assert abs(np.asarray(optaxs) / exact["exponential"] - 1)[-1] > 1e-5


def test_lambdas_may_be_any_function_of_pythons_integers() -> None:
    """Called once for each step; beyond, nothing is known."""
    rates = [1.0, 0.5, 0.25]
    found = optim.lambda_lr(BASE, lambda n: rates[min(n, 2)], steps=STEPS)
    theirs = of_torch(lambda o: lr_scheduler.LambdaLR(o, lambda n: rates[min(n, 2)]))
    assert_same(jax.jit(found)(np.arange(STEPS)), theirs)
    assert np.isnan(found(STEPS))
    with pytest.raises(InvalidInput, match=r"give steps= to have it called with Python's integers"):
        jax.jit(optim.lambda_lr(BASE, lambda n: rates[min(n, 2)]))(0)
    factor = lambda n: 0.9 if n % 3 else 1.1  # noqa: E731
    found = optim.multiplicative_lr(BASE, factor, STEPS)
    theirs = of_torch(lambda o: lr_scheduler.MultiplicativeLR(o, factor))
    assert_same(found(np.arange(STEPS)), theirs)
    assert np.isnan(found(STEPS))


def test_chained_factors_are_torchs() -> None:
    def theirs(o: torch.optim.Optimizer) -> Any:
        parts = [
            lr_scheduler.LinearLR(o, 0.1, 1.0, 12),
            lr_scheduler.ExponentialLR(o, 0.97),
            lr_scheduler.MultiStepLR(o, [20, 50]),
            lr_scheduler.ConstantLR(o, 0.5, 9),
            lr_scheduler.PolynomialLR(o, 200, 1.5),
            lr_scheduler.CosineAnnealingLR(o, STEPS),
            lr_scheduler.StepLR(o, 31, 0.7),
            lr_scheduler.MultiplicativeLR(o, lambda n: 1 - 0.1 / n),
        ]
        return lr_scheduler.ChainedScheduler(parts, o)

    parts = [
        optim.linear_lr(BASE, 0.1, 1.0, 12),
        optim.exponential_lr(BASE, 0.97),
        optim.multi_step_lr(BASE, [20, 50]),
        optim.constant_lr(BASE, 0.5, 9),
        optim.polynomial_lr(BASE, 200, 1.5),
        optim.cosine_annealing_lr(BASE, STEPS),
        optim.step_lr(BASE, 31, 0.7),
        optim.multiplicative_lr(BASE, lambda n: 1 - 0.1 / n, STEPS),
    ]
    found = optim.chained([optim.chained(parts[:3]), *parts[3:]])
    assert_same(jax.jit(found)(np.arange(STEPS)), of_torch(theirs))
    beyond = optim.chained([optim.cosine_annealing_lr(BASE, 10), optim.step_lr(BASE, 3)])
    assert np.isnan(beyond(11))
    assert beyond(10) == 0


def test_a_sequence_is_torchs() -> None:
    """Each counts from 0 again, also where two milestones are the same."""

    def theirs(o: torch.optim.Optimizer) -> Any:
        parts = [
            lr_scheduler.ConstantLR(o, 0.5, 4),
            lr_scheduler.LinearLR(o, 0.1, 1.0, 9),
            lr_scheduler.ExponentialLR(o, 0.5),
            lr_scheduler.CosineAnnealingLR(o, 20, 0.01),
            lr_scheduler.LambdaLR(o, lambda n: 1 / (1 + n)),
            lr_scheduler.CosineAnnealingWarmRestarts(o, 6, 2),
        ]
        return lr_scheduler.SequentialLR(o, parts, [8, 20, 20, 65, 90])

    parts = [
        optim.constant_lr(BASE, 0.5, 4),
        optim.linear_lr(BASE, 0.1, 1.0, 9),
        optim.exponential_lr(BASE, 0.5),
        optim.cosine_annealing_lr(BASE, 20, 0.01),
        optim.lambda_lr(BASE, lambda n: 1 / (1 + n)),
        optim.cosine_annealing_warm_restarts(BASE, 6, 2),
    ]
    found = optim.sequential_lr(parts, [8, 20, 20, 65, 90])
    assert_same(jax.jit(found)(np.arange(STEPS)), of_torch(theirs))


def test_epochs_are_so_many_steps() -> None:
    theirs = np.repeat(of_torch(lambda o: lr_scheduler.CosineAnnealingLR(o, 9)), 7)[:STEPS]
    found = optim.per_epoch(optim.cosine_annealing_lr(BASE, 9), 7)
    assert_same(found(np.arange(STEPS)), theirs)
    optaxs = optim.per_epoch(optax.constant_schedule(0.5), 7)
    assert_same(optim.sequential_lr([optaxs, found], [3])(np.array([2, 3])), np.array([0.5, BASE]))


def _one_cycle(**options: Any) -> Callable[[], Any]:
    return lambda: optim.one_cycle_lr(0.1, **{"cycle_momentum": False, **options})


def _cyclic(**options: Any) -> Callable[[], Any]:
    return lambda: optim.cyclic_lr(0.1, 1.0, **{"cycle_momentum": False, **options})


REFUSED: dict[str, Callable[[], Any]] = {
    "learning_rate: expected a number ≥ 0, got -1.0": lambda: optim.step_lr(-1.0, 3),
    "step_size: expected an integer ≥ 1, got 0": lambda: optim.step_lr(0.1, 0),
    "gamma: expected a number ≥ 0, got -0.1": lambda: optim.exponential_lr(0.1, -0.1),
    "milestones: expected an integer ≥ 0, got -1": lambda: optim.multi_step_lr(0.1, [3, -1]),
    "milestones: expected an integer ≥ 0, got 2.5": lambda: optim.multi_step_lr(0.1, [2.5]),  # pyright: ignore
    "factor: expected a number above 0 and at most 1, got 1.5": lambda: optim.constant_lr(0.1, 1.5),
    "start_factor: expected": lambda: optim.linear_lr(0.1, 0.0),
    "end_factor: expected": lambda: optim.linear_lr(0.1, 0.5, 1.1),
    "total_iters: expected": lambda: optim.polynomial_lr(0.1, 0),
    "power: expected": lambda: optim.polynomial_lr(0.1, 5, -1.0),
    "T_max: expected": lambda: optim.cosine_annealing_lr(0.1, 0),
    "T_0: expected": lambda: optim.cosine_annealing_warm_restarts(0.1, 0),
    "T_mult: expected": lambda: optim.cosine_annealing_warm_restarts(0.1, 2, 0),
    "one_cycle_lr: expected cycle_momentum=False": lambda: optim.one_cycle_lr(0.1, 10),
    "epochs, without total_steps: expected": _one_cycle(),
    "total_steps: expected": _one_cycle(total_steps=0),
    "pct_start: expected at most 1": _one_cycle(total_steps=10, pct_start=1.5),
    "pct_start=0.1: expected a first phase that is not one": _one_cycle(
        total_steps=10, pct_start=0.1
    ),
    "anneal_strategy: expected one of cos, linear": _one_cycle(
        total_steps=9, anneal_strategy="sin"
    ),
    "final_div_factor: expected a number above 0": _one_cycle(total_steps=9, final_div_factor=0.0),
    "cyclic_lr: expected cycle_momentum=False": lambda: optim.cyclic_lr(0.1, 1.0),
    "step_size_up: expected an integer ≥ 1": _cyclic(step_size_up=2.5),
    "mode: expected one of triangular, triangular2, exp_range": _cyclic(mode="saw"),
    "scale_mode: expected one of": _cyclic(scale_mode="epoch"),
    "chained: expected schedules, got none": lambda: optim.chained([]),
    "chained: schedules[1]: expected one that multiplies": lambda: optim.chained(
        [optim.step_lr(0.1, 3), optim.cosine_annealing_lr(0.1, 3, 0.01)]
    ),
    "chained: expected schedules of one learning rate, got 0.1 and 0.2": lambda: optim.chained(
        [optim.step_lr(0.1, 3), optim.step_lr(0.2, 3)]
    ),
    "milestones: expected one less than the 1 schedules, got 1": lambda: optim.sequential_lr(
        [optim.step_lr(0.1, 3)], [3]
    ),
    "milestones: expected ascending numbers, got [3, 2]": lambda: optim.sequential_lr(
        [optim.step_lr(0.1, 3)] * 3, [3, 2]
    ),
    "schedules[1]: expected a schedule that torch starts anew": lambda: optim.sequential_lr(
        [optim.step_lr(0.1, 3), optim.multiplicative_lr(0.1, lambda n: 0.5, 9)], [3]
    ),
    "steps: expected an integer ≥ 1, got 0": lambda: optim.per_epoch(optim.step_lr(0.1, 3), 0),
    "schedule: expected a function, got float": lambda: optim.per_epoch(0.1, 3),  # pyright: ignore
    "count: expected integers, got float64": lambda: optim.step_lr(0.1, 3)(1.5),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("message", REFUSED)
def test_bad_values_are_refused(message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        REFUSED[message]()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
