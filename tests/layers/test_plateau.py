"""reduce_on_plateau of rnn_jax.optim, against ReduceLROnPlateau of torch."""

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
LOSSES = np.concatenate(
    [
        np.linspace(3.0, 1.0, 12),
        1.0 + 0.3 * np.sin(np.arange(60.0)),
        np.linspace(0.9, 0.89, 30),
        0.5 + 0.01 * np.cos(np.arange(40.0)),
    ]
)
PLATEAUS: list[dict[str, Any]] = [
    {"patience": 3},
    {"patience": 2, "factor": 0.5, "cooldown": 4, "threshold": 0.05},
    {"patience": 0, "factor": 0.7, "threshold": 0.05, "threshold_mode": "abs", "min_lr": 0.02},
    {"patience": 4, "factor": 0.5, "mode": "max", "threshold": 0.1},
    {
        "patience": 1,
        "mode": "max",
        "threshold_mode": "abs",
        "threshold": 0.2,
        "cooldown": 2,
        "eps": 1e-3,
    },
]


@pytest.mark.parametrize(
    ("options", "every"),
    [
        *((options, 1) for options in PLATEAUS),
        (PLATEAUS[1], 3),
        *(pytest.param(options, 2, marks=pytest.mark.slow) for options in PLATEAUS),
    ],
    ids=str,
)
def test_a_rate_falls_on_plateaus_as_torchs(options: dict[str, Any], every: int) -> None:
    """Seen in the steps of Adam with decay, whose rate it is, and in the state."""
    weight = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.AdamW([weight], BASE, weight_decay=0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    gradients = np.random.default_rng(0).standard_normal((len(LOSSES), 2))
    rates, weights = [], []
    for step, gradient in enumerate(gradients, 1):
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        if step % every == 0:
            scheduler.step(np.mean(LOSSES[step - every : step]))
        rates.append(scheduler.get_last_lr()[0])
        weights.append(weight.detach().numpy().copy())
    ours = optax.chain(
        optim.adamw(BASE, weight_decay=0.1), optim.reduce_on_plateau(BASE, **options, every=every)
    )

    def step_once(carry: Any, batch: Any) -> Any:
        params, state = carry
        loss, gradient = batch
        updates, state = ours.update(gradient, state, params, value=loss)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state[1].rate)  # pyright: ignore

    start = jnp.array([1.0, -2.0])
    _, found = jax.lax.scan(step_once, (start, ours.init(start)), (LOSSES, gradients))
    assert len(set(rates)) > 2
    np.testing.assert_allclose(found[1], np.array(rates), rtol=1e-12)
    np.testing.assert_allclose(found[0], np.array(weights), rtol=1e-12)


def _of_plateau(**options: Any) -> Callable[[], Any]:
    return lambda: optim.reduce_on_plateau(0.1, **options)


REFUSED: dict[str, Callable[[], Any]] = {
    "factor: expected a number ≥ 0 and < 1, got 1.0": _of_plateau(factor=1.0),
    "mode: expected one of min, max, got 'low'": _of_plateau(mode="low"),
    "threshold_mode: expected one of rel, abs": _of_plateau(threshold_mode="none"),
    "patience: expected an integer ≥ 0, got -1": _of_plateau(patience=-1),
    "every: expected an integer ≥ 1, got 0": _of_plateau(every=0),
    "min_lr: expected": _of_plateau(min_lr=-0.1),
    "learning_rate: expected a number above 0": lambda: optim.reduce_on_plateau(0.0),
    "expected update(…, value=loss), got no value": lambda: optim.reduce_on_plateau(0.1).update(
        {}, optim.reduce_on_plateau(0.1).init({})
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("message", REFUSED)
def test_bad_values_are_refused(message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        REFUSED[message]()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
