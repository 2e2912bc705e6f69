"""Diagnosis of a difference: where it began, whether rounding has grown, which cause is closest."""

from dataclasses import replace
from typing import Any

import pytest

import rnn_torch.optimizers
from rnn_jax import traps
from shared.config import resolve
from shared.config.settings import OptimizationConfig
from shared.parity import lockstep
from shared.parity.diagnosis import diagnose
from shared.parity.findings import cause
from shared.parity.traps import TRAPS
from tests.support.trap_cases import BASE, diagnosed, shown, sides


def test_rounding_that_has_grown_is_called_that() -> None:
    """RMSprop that forgets at once divides a gradient by its own size: rounding becomes a step."""
    optimization = OptimizationConfig("rmsprop", learning_rate=0.05, alpha=0.0)
    data = TRAPS["batch-order"].show(BASE).data
    config = resolve(replace(BASE, data=data, optimization=optimization, epochs=400, batch_size=1))
    task, first, second = sides(config)
    ran = lockstep.run(config, first, second, 1000, tolerance=1e-13)
    assert not ran.comparison.equal
    diagnosis = diagnose(
        config, ran, first, second, traps.suspects(first, config, task.signature)[:1]
    )
    assert diagnosis.deviation < 1e-12
    assert diagnosis.causes == []


def test_a_trap_is_found_in_the_middle_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is taken again from the second side's state: weights, moments and carry."""
    old = rnn_torch.optimizers.clip
    calls = []

    def clip(params: Any, max_norm: float) -> None:
        calls.append(max_norm)
        if len(calls) in (8, 12):  # the eighth step, and that step taken again
            for param in params.values():
                param.grad *= 1 + 1e-6
        old(params, max_norm)

    monkeypatch.setattr(rnn_torch.optimizers, "clip", clip)
    config = resolve(replace(BASE, optimization=replace(BASE.optimization, clip_norm=10.0)))
    task, first, second = sides(config)
    ran = lockstep.run(config, first, second, 11)
    assert ran.comparison.difference is not None
    assert ran.comparison.difference.step == 8
    assert ran.comparison.difference.phase == "clipped"
    assert ran.before is not None
    assert ran.before.step == 7
    diagnosis = diagnose(
        config, ran, first, second, traps.suspects(first, config, task.signature)[:2]
    )
    assert 1e-7 < diagnosis.deviation < 1e-5


def test_what_began_in_an_earlier_step_is_looked_for_there() -> None:
    """A weight is moved by less than the tolerance. Training amplifies that until a later step
    differs, which alone does the same in both frameworks."""
    optimization = OptimizationConfig("sgd", learning_rate=2.0)
    config = resolve(replace(BASE, optimization=optimization, epochs=30))
    task, first, second = sides(config)
    weights = {name: array.copy() for name, array in first.start.weights.items()}
    weights["rnn.weight_hh_l0"][0, 1] *= 1 + 1e-11
    moved = replace(first, start=first.start._replace(weights=weights))
    ran = lockstep.run(config, moved, second, 40, tolerance=1e-10)
    difference = ran.comparison.difference
    assert difference is not None
    assert difference.step > 5
    diagnosis = diagnose(
        config, ran, moved, second, traps.suspects(first, config, task.signature)[:1]
    )
    assert (diagnosis.step, diagnosis.name) == (1, "before/rnn.weight_hh_l0")
    assert diagnosis.causes == []
    found, none = cause(ran.comparison, diagnosis)
    assert found.startswith("of all steps, taken alone from one state, step 1 deviates most: by ")
    assert found.endswith(" in before/rnn.weight_hh_l0")
    assert none == "cause: not found among those that could play a part (1 tried)"


def test_of_several_that_come_close_the_closest_is_the_cause() -> None:
    """At a tiny learning rate, ε in another place is all but right; the trap itself is exact."""
    config = replace(shown("adam:no-correction"), epochs=10)
    optimization = replace(config.optimization, eps=1e-13, learning_rate=1e-4)
    _, diagnosis = diagnosed(
        resolve(replace(config, optimization=optimization)), "adam:no-correction"
    )
    assert diagnosis.causes == ["adam:no-correction"]
