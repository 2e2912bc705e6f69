"""What training loops do between gradients and new weights, on the side of torch."""

import threading
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from rnn_jax import optim
from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.errors import InvalidInput
from shared.parity import Findings, compare_programs
from tests.support.pair_cases import (
    CLASSES,
    CROSS_ENTROPIES,
    FEATURES,
    PLAIN,
    Plain,
    causes,
    compare_plain,
    place,
    plain,
    plain_batches,
)

LR = torch.optim.lr_scheduler


def adam(params: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, 0.01)


def train(optaxs: Any, *, steps: int = 8, module: Any = None, **torchs: Any) -> Findings:
    ours = JaxProgram(
        plain(),
        {"kernel": np.ones((FEATURES, CLASSES)), "bias": np.ones(CLASSES)},
        CROSS_ENTROPIES[1], optaxs, names=PLAIN,
    )  # fmt: skip
    torch.manual_seed(0)
    options: dict[str, Any] = {"optimizer": adam} | torchs
    theirs = TorchProgram(module or Plain(), CROSS_ENTROPIES[0], **options)
    return compare_programs(ours, theirs, plain_batches(3), steps=steps)


SCHEDULES: dict[str, tuple[Callable, Callable, int]] = {
    "every step": (lambda o: LR.StepLR(o, 2, 0.5), lambda: optim.step_lr(0.01, 2, 0.5), 1),
    "every epoch": (
        lambda o: LR.ExponentialLR(o, 0.5),
        lambda: optim.per_epoch(optim.exponential_lr(0.01, 0.5), 3),
        3,
    ),
}


@pytest.mark.parametrize("case", SCHEDULES)
def test_a_scheduler_steps_after_so_many_steps_of_the_optimizer(case: str) -> None:
    scheduler, schedule, every = SCHEDULES[case]
    optaxs = optim.adam(schedule())
    train(optaxs, scheduler=scheduler, every=every).comparison.check()
    pair = train(optaxs, scheduler=scheduler, every=every + 1)
    assert not pair.comparison.equal
    assert any(name.startswith("schedule") for name in causes(pair)), causes(pair)


def test_a_scheduler_that_looks_at_the_loss_gets_it() -> None:
    """The mean since its last step, as of an epoch."""
    optaxs = optax.chain(
        optim.sgd(0.5),
        optim.reduce_on_plateau(0.5, factor=0.1, patience=0, threshold=0.05, every=3),
    )
    torchs = {
        "optimizer": lambda params: torch.optim.SGD(params, 0.5),
        "scheduler": lambda o: LR.ReduceLROnPlateau(o, factor=0.1, patience=0, threshold=0.05),
    }
    pair = train(optaxs, steps=18, every=3, **torchs)
    pair.comparison.check()
    pair = train(optim.sgd(0.5), steps=18, every=3, **torchs)
    assert not pair.comparison.equal, "the rate was never reduced"


def test_gradients_of_several_batches_make_one_step() -> None:
    accumulated = optax.MultiSteps(optax.adam(0.01), 2)
    pair = train(accumulated, accumulate=2)
    pair.comparison.check()
    assert "moments/exp_avg.weight" in pair.comparison.deviations
    pair = train(optax.MultiSteps(optax.sgd(0.1), 2, use_grad_mean=False), accumulate=2,
                 optimizer=lambda params: torch.optim.SGD(params, 0.1))  # fmt: skip
    assert causes(pair)[0] == "accumulation-sum"


def test_moments_that_come_later_are_compared_from_then_on() -> None:
    pair = train(optax.MultiSteps(optax.adam(0.01), 3), accumulate=3)
    pair.comparison.check()
    found = np.array(pair.comparison.deviations["moments/exp_avg.weight"])
    assert np.isnan(found[:2]).all()
    assert np.isfinite(found[2:]).all()
    assert not pair.comparison.left_out
    assert pair.comparison.largest[0] < 1e-12


def test_parameters_that_are_unfrozen_later() -> None:
    def before(module: torch.nn.Module, step: int) -> None:
        module.get_parameter("bias").requires_grad_(step > 3)

    def masked() -> optax.GradientTransformation:
        def update(updates: Any, count: Any, params: Any = None) -> Any:
            return updates | {"bias": jnp.where(count < 3, 0.0, updates["bias"])}, count + 1

        zero: Any = lambda _: jnp.zeros((), jnp.int32)  # noqa: E731
        mask = optax.GradientTransformation(zero, update)  # pyright: ignore[reportArgumentType]
        return optax.chain(mask, optax.sgd(0.1))

    torchs = {"before": before, "optimizer": lambda params: torch.optim.SGD(params, 0.1)}
    pair = train(masked(), **torchs)
    pair.comparison.check()
    assert (
        np.isnan(pair.comparison.deviations["gradients/bias"]).tolist() == [True] * 3 + [False] * 5
    )
    pair = train(optax.sgd(0.1), **torchs)
    assert place(pair) == "weights/bias[0]"
    assert causes(pair) == ["frozen-trained"]


def test_a_factory_makes_what_cannot_be_copied() -> None:
    class Locked(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    before = torch.get_rng_state()
    pair = train(optax.adam(0.01), module=lambda: Locked())
    pair.comparison.check()
    assert torch.equal(torch.get_rng_state(), before) or torch.initial_seed() == 0
    for module in (lambda: 1, 3, lambda: torch.nn.LazyLinear(2)):
        with pytest.raises(InvalidInput, match="module: expected"):
            TorchProgram(module, CROSS_ENTROPIES[0])  # pyright: ignore[reportArgumentType]


def test_groups_are_made_of_the_modules_own_names() -> None:
    def decayed(params: Any, module: torch.nn.Module) -> torch.optim.Optimizer:
        groups = [
            {"params": [p for n, p in module.named_parameters() if n == "weight"]},
            {
                "params": [p for n, p in module.named_parameters() if n != "weight"],
                "weight_decay": 0.0,
            },
        ]
        return torch.optim.AdamW(groups, 0.01, weight_decay=0.1)

    parts: Any = {name: optim.adamw(0.01, weight_decay=w) for name, w in (("w", 0.1), ("b", 0.0))}
    optaxs = optax.multi_transform(parts, {"kernel": "w", "bias": "b"})
    train(optaxs, optimizer=decayed).comparison.check()
    pair = train(optim.adamw(0.01, weight_decay=0.1), optimizer=decayed)
    assert any(name.startswith("decay") for name in causes(pair)), causes(pair)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": 0}, "every: expected a positive number of steps, got 0"),
        ({"accumulate": 1.5}, "accumulate: expected a positive number of steps, got 1.5"),
        ({"scheduler": 3}, "scheduler: expected a function of the optimizer, got int"),
        (
            {"scheduler": lambda o: o},
            "scheduler: expected one of torch.optim.lr_scheduler, got Adam",
        ),
        (
            {"optimizer": None, "scheduler": lambda o: LR.StepLR(o, 1)},
            "scheduler, accumulate: expected an optimizer, got none",
        ),
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense(options: dict, said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        train(optax.adam(0.01), **options)
    assert str(error.value) == said


# Precision ----------------------------------------------------------------------------------------


TABLE = torch.tensor([0.1, 0.2, 0.3, 0.4])
"""In float32, in which a module's constants are made as a rule."""


def test_what_is_held_and_made_counts_in_float64() -> None:
    class Held(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.table = TABLE.clone()
            self.seen = {"total": torch.full((CLASSES,), 0.1)}

        def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
            h0 = torch.zeros(len(x), CLASSES) + torch.rand(1) * 0 + torch.tensor(0.3)
            if self.training:
                self.seen["total"] += 1 / 3  # in place, from step to step
            return super().forward(x) * self.table + h0 + TABLE + self.seen["total"]

    def ours(params: Any, x: Any) -> Any:
        table = jnp.asarray(TABLE.numpy(), x.dtype)
        total = jnp.float64(np.float32(0.1)) + 1 / 3
        return plain()(params, x) * table + 0.3 + table + total

    weights = torch.tensor([0.1, 0.7, 0.2, 0.9])
    criterion = torch.nn.CrossEntropyLoss(weight=weights)

    def weighted(logits: Any, targets: Any) -> Any:
        w = jnp.asarray(weights.numpy(), jnp.float64)[targets]
        each = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        return (each * w).sum() / w.sum()

    data = plain_batches(1)
    pair = compare_plain(Held(), ours, (criterion, weighted), data=data)
    pair.comparison.check()
    assert not [hint for hint in pair.hints if "float32" in hint]
    assert torch.get_default_dtype() == torch.float32
    assert TABLE.dtype == weights.dtype == torch.float32
    assert torch.equal(TABLE, torch.tensor([0.1, 0.2, 0.3, 0.4]))


def test_what_still_is_float32_is_told_by_its_line() -> None:
    class Casting(Plain):
        def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().forward(x) + torch.full((1,), 0.1, dtype=torch.float32)  # mixed

    pair = compare_plain(Casting(), plain(lambda y: y + np.float32(0.1)))
    (told,) = [hint for hint in pair.hints if "float32 inside float64" in hint]
    assert __file__ in told


def test_a_schedule_in_float32_is_told_of_by_its_line() -> None:
    schedule = optax.linear_schedule(0.01, 0.001, 7)
    pair = train(optax.sgd(schedule), optimizer=lambda p: torch.optim.SGD(p, 0.01),
                 scheduler=lambda o: LR.LinearLR(o, 1.0, 0.1, 7))  # fmt: skip
    assert [hint for hint in pair.hints if "optax" in hint], pair.hints
    assert causes(pair) == ["schedule-float32"]


def test_a_parameter_that_only_the_loss_has_is_refused() -> None:
    temperature = torch.nn.Parameter(torch.tensor(0.7))
    with pytest.raises(InvalidInput, match="expected all that is trained to be in the module"):
        compare_plain(
            losses=(lambda o, y: CROSS_ENTROPIES[0](o * temperature, y), CROSS_ENTROPIES[1])
        )
    assert temperature.grad is None


# What did not act ---------------------------------------------------------------------------------


def kinds(pair: Findings) -> set[str]:
    return {gap.kind for gap in pair.gaps}


def test_what_never_acted_is_a_gap() -> None:
    def clip(limit: float) -> Callable[[Any], Any]:
        return lambda params: torch.nn.utils.clip_grad_norm_(params, limit)

    pair = train(optim.adam(0.01), prepare=clip(100.0), scheduler=lambda o: LR.StepLR(o, 100))
    pair.comparison.check()
    assert {"prepare-changed-nothing", "rate-constant"} <= kinds(pair)
    assert "not exercised: clipping, the scheduler" in pair.verdicts[0]
    rate = optim.step_lr(0.01, 2, 0.5)
    pair = train(
        optax.chain(optim.clip_grad_norm(0.01), optim.adam(rate)), prepare=clip(0.01),
        scheduler=lambda o: LR.StepLR(o, 2, 0.5),
    )  # fmt: skip
    pair.comparison.check()
    assert not {"prepare-changed-nothing", "rate-constant", "one-update"} & kinds(pair)
    assert "one-update" in kinds(train(optim.adam(0.01), steps=1))


def test_tensors_that_share_memory_have_twins_that_do() -> None:
    class Bank(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.memory = torch.full((FEATURES, CLASSES), 0.5)
            self.row, self.scale = self.memory[0], torch.tensor(0.25)

        def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
            if self.training:
                self.memory.mul_(0.5).add_(1 / 3)
                self.scale.data.add_(0.1)
            return super().forward(x) * self.row * self.scale + (x @ self.memory.T.T)

    def ours(params: Any, x: Any) -> Any:
        memory = 0.25 + 1 / 3
        scale = 0.25 + 0.1
        return plain()(params, x) * memory * scale + x.sum(-1, keepdims=True) * memory

    compare_plain(Bank(), ours, data=plain_batches(1)).comparison.check()


def test_a_loss_with_a_state_begins_anew_with_every_comparison() -> None:
    class Warming(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, logits: Any, targets: Any) -> Any:
            self.calls += 1
            return CROSS_ENTROPIES[0](logits, targets) * self.calls

    loss = Warming()
    theirs = TorchProgram(Plain(), loss)
    params = {"kernel": np.ones((FEATURES, CLASSES)), "bias": np.ones(CLASSES)}
    ours = JaxProgram(plain(), params, CROSS_ENTROPIES[1], names=PLAIN)
    for _ in range(2):
        compare_programs(ours, theirs, plain_batches(1)).comparison.check()
    assert loss.calls == 0
