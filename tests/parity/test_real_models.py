"""Six models of real shape train and evaluate as their ports do, with everything on."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import optax
import pytest

from rnn_jax import optim
from shared.parity import Findings
from tests.support.real_models import (
    compare_attention,
    compare_classifier,
    compare_language_model,
    compare_policy,
    compare_speech,
    compare_text_line,
)

COMPARISONS = {
    "policy": compare_policy,
    "attention": compare_attention,
    "language model": compare_language_model,
    "classifier": compare_classifier,
    "speech": compare_speech,
    "text line": compare_text_line,
}
DRAWS = {
    "policy": 0,
    "attention": 8 * (1 + 4),  # of the source, and of each word
    "language model": 6 * 6,  # words, inputs, and of each layer its weights and its outputs
    "classifier": 6 * 3,  # words, between the layers, before the head
    "speech": 5 * 2,
    "text line": 8 * 3,
}
QUICK = ("policy", "classifier")
SLOW = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in COMPARISONS
]


def check_proved(pair: Findings, draws: int) -> None:
    pair.comparison.check()
    assert pair.verdicts[0].startswith("proved in float64")
    assert pair.diagnosis is None
    assert pair.evaluated == "held out"
    assert pair.draws == draws


@pytest.mark.parametrize("name", SLOW)
def test_it_trains_and_evaluates_as_its_port(name: str) -> None:
    check_proved(COMPARISONS[name](), DRAWS[name])


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_takes_15_lines(name: str) -> None:
    body = inspect.getsource(COMPARISONS[name]).split(" -> Findings:\n")[1]
    assert len(body.splitlines()) <= 15


CONSTANT: dict[str, tuple[float, Callable[..., optax.GradientTransformation]]] = {
    "policy": (5e-3, partial(optim.adam, eps=1e-5)),
    "language model": (0.5, partial(optim.sgd, momentum=0.9, weight_decay=1e-3)),
    "classifier": (0.01, partial(optim.adam, weight_decay=1e-3)),
    "speech": (4e-4, partial(optim.adamw, weight_decay=0.05)),
    "text line": (2e-3, partial(optim.rmsprop, alpha=0.95, momentum=0.9, weight_decay=1e-3)),
}
"""By the first learning rate and the optimizer without it."""
CLIPPING = {
    "policy": optim.clip_grad_norm(0.5),
    "language model": optim.clip_grad_norm(0.25),
    "speech": optim.clip_grad_norm(0.5),
    "text line": optim.clip_grad_value(0.05),
}
SCHEDULES: dict[str, Any] = {
    "policy": optim.lambda_lr(5e-3, lambda update: 1 - update / 10),
    "language model": optim.step_lr(0.5, 4, 0.5),
    "speech": optim.one_cycle_lr(0.01, total_steps=20, cycle_momentum=False),
    "text line": optim.multi_step_lr(2e-3, [4, 7], 0.3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONSTANT)
def test_without_its_schedule_it_is_not_the_same(name: str) -> None:
    rate, make = CONSTANT[name]
    steps = [CLIPPING[name], make(rate)] if name in CLIPPING else [make(rate)]
    check_differs(COMPARISONS[name](optimizer=optax.chain(*steps)))


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPPING)
def test_without_its_clipping_it_is_not_the_same(name: str) -> None:
    check_differs(COMPARISONS[name](optimizer=CONSTANT[name][1](SCHEDULES[name])))


def check_differs(pair: Findings) -> None:
    assert pair.comparison.difference is not None
    assert pair.comparison.difference.phase in ("moments", "weights")
