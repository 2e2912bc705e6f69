"""Optimizers of a pair: which of optax are torch's, and what is said where they are not."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
import torch

from shared.errors import InvalidInput
from shared.parity import Findings, compare_programs
from shared.protocol.trace import phase_of
from tests.support.pair_cases import (
    NAMES,
    Classifier,
    batches,
    causes,
    check_equal,
    function,
    lstm,
    original,
    place,
    port,
    sgd,
)

OPTIMIZER = (
    "hint: outputs and gradients agree, so look at the optimizer: its settings, clipping, "
    "schedule; what you suspect can be tried with suspects="
)


def rmsprop(**options) -> Callable:
    return lambda params: torch.optim.RMSprop(params, 0.01, **options)


TORCH_RMS = {"decay": 0.99, "eps": 1e-8, "eps_in_sqrt": False}


OPTIMIZERS: dict[str, tuple[Callable, optax.GradientTransformation, set[str]]] = {
    "adamw": (
        lambda params: torch.optim.AdamW(params, 0.01, weight_decay=0.1),
        optax.adamw(0.01, weight_decay=0.1), {"exp_avg", "exp_avg_sq"},
    ),
    "plain sgd": (sgd(), optax.sgd(0.1), set()),
    "momentum": (sgd(momentum=0.9), optax.sgd(0.1, momentum=0.9), {"momentum_buffer"}),
    "nesterov": (
        sgd(momentum=0.9, nesterov=True), optax.sgd(0.1, momentum=0.9, nesterov=True),
        {"momentum_buffer"},
    ),
    "rmsprop": (rmsprop(), optax.rmsprop(0.01, **TORCH_RMS), {"square_avg"}),
    # optax keeps the learning rate in the momentum: the weights are the same, what it holds is not
    "rmsprop with momentum": (
        rmsprop(momentum=0.9), optax.rmsprop(0.01, momentum=0.9, **TORCH_RMS), {"square_avg"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_that_optax_has_as_torch_has_them(optimizer: str) -> None:
    torchs, optaxs, moments = OPTIMIZERS[optimizer]
    pair = compare_programs(
        port(optimizer=optaxs), original(optimizer=torchs), batches(), steps=30
    )  # fmt: skip
    check_equal(pair, 30)
    names = [name.partition("/")[2] for name in pair.comparison.deviations if "moments/" in name]
    assert {name.partition(".")[0] for name in names} == moments


def clip(parameters):
    torch.nn.utils.clip_grad_norm_(parameters, 0.05)


def test_clipping_between_gradients_and_step() -> None:
    """optax divides by the norm, torch by norm + 1e-6: too small to see in a loss curve."""
    scale = optax.stateless(
        lambda g, _: jax.tree.map(
            lambda x: x * jnp.minimum(1, 0.05 / (optax.tree.norm(g) + 1e-6)), g
        )
    )
    ours = port(optimizer=optax.chain(scale, optax.sgd(0.1)))
    theirs = original(optimizer=sgd(), prepare=clip)
    check_equal(compare_programs(ours, theirs, batches(), steps=10), 10)
    optaxs = optax.chain(optax.clip_by_global_norm(0.05), optax.sgd(0.1))
    pair = compare_programs(port(optimizer=optaxs), theirs, batches(), steps=10)
    assert place(pair).startswith("weights/")
    assert causes(pair) == ["clip-epsilon"]


def test_without_an_optimizer_the_gradients_are_the_last() -> None:
    pair = compare_programs(port(), original(), batches(), steps=4)
    check_equal(pair, 4)
    assert list(pair.comparison.deviations)[-2:] == ["norm/norm", "evaluation/outputs"]
    with pytest.raises(InvalidInput, match="torch: expected an optimizer"):
        compare_programs(port(optimizer=optax.sgd(0.1)), original(), batches())


def test_a_frozen_parameter_has_no_gradient() -> None:
    module = Classifier()
    module.rnn.weight_hh_l0.requires_grad_(False)

    def frozen(params, x):
        rec = params["rec"] | {"kernel": jax.lax.stop_gradient(params["rec"]["kernel"])}
        return function({**params, "rec": rec}, x)

    theirs = original(module=module, optimizer=lambda params: torch.optim.Adam(params, 0.01))
    ours = port(frozen, optimizer=optax.adam(0.01))
    check_equal(compare_programs(ours, theirs, batches(), steps=10), 10)
    pair = compare_programs(port(optimizer=optax.adam(0.01)), theirs, batches())
    assert place(pair) == "weights/rnn.weight_hh_l0[0, 0]"
    assert causes(pair) == ["frozen-trained"]


def test_a_parameter_that_neither_optimizer_knows() -> None:
    theirs = original(optimizer=lambda params: torch.optim.Adam(list(params)[:-1], 0.01))
    labels = dict.fromkeys(sorted(_places_of(NAMES)), "train") | {"head.bias": "left alone"}
    partly: Any = {"train": optax.adam(0.01), "left alone": optax.set_to_zero()}
    ours = port(optimizer=optax.multi_transform(partly, labels))
    pair = compare_programs(ours, theirs, batches(), steps=10)
    check_equal(pair, 10)
    assert "moments/exp_avg.head.weight" in pair.comparison.deviations
    assert "moments/exp_avg.head.bias" not in pair.comparison.deviations


def _places_of(names: Mapping[str, str]) -> list[str]:
    return [place.removesuffix(".T") for place in names.values()]


def check_no_claim(pair: Findings) -> None:
    """The difference, where to look, and nothing that would explain it."""
    verdict, hint, *notes = pair.verdicts
    assert hint == OPTIMIZER
    left = ", ".join(sorted(pair.comparison.left_out))
    assert notes == ([f"note: not compared, since only one side shows it: {left}"] if left else [])
    assert verdict.startswith("NOT equal: first difference at step ")
    assert pair.diagnosis is not None
    assert not pair.diagnosis.rounding


def test_another_epsilon_is_seen_in_the_weights_and_named() -> None:
    theirs = original(optimizer=lambda params: torch.optim.Adam(params, 0.01))
    ours = port(optimizer=optax.adam(0.01, eps=1e-6))
    pair = compare_programs(ours, theirs, batches())
    assert place(pair) == "weights/head.bias[0]"
    for name, deviations in pair.comparison.deviations.items():
        later = phase_of(name) in ("before", "weights", "evaluation")
        assert later or deviations[0] < 1e-12, name
    assert causes(pair) == ["epsilon-value"]


MEMORIES: dict[str, tuple[Callable, optax.GradientTransformation, int, str]] = {
    "momentum": (
        sgd(momentum=0.9), optax.sgd(0.1, momentum=0.8), 2, "moments/momentum_buffer.head.bias[0]",
    ),
    "schedule": (
        sgd(), optax.sgd(optax.piecewise_constant_schedule(0.1, {3: 0.5})), 4,
        "weights/head.bias[0]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("memory", MEMORIES)
def test_what_an_optimizer_remembers_is_not_called_rounding(memory: str) -> None:
    """With a fresh optimizer the step that differs would agree."""
    torchs, optaxs, step, where = MEMORIES[memory]
    suspects = {"the optimizer": port(optimizer=optax.sgd(0.1, momentum=0.9)),
                "clipping": port(optimizer=optax.chain(optax.clip(0.01), optaxs))}  # fmt: skip
    theirs = original(optimizer=torchs)
    pair = compare_programs(port(optimizer=optaxs), theirs, batches(), steps=6)
    assert pair.comparison.difference is not None
    assert pair.comparison.difference.step == step
    assert place(pair) == where
    assert causes(pair) == [memory]
    if memory == "momentum":
        pair = compare_programs(
            port(optimizer=optaxs), theirs, batches(), steps=6, suspects=suspects
        )  # fmt: skip
        assert causes(pair) == ["the optimizer", "momentum"]


def test_suspects_of_ones_own() -> None:
    theirs = original(optimizer=lambda params: torch.optim.Adam(params, 0.01))
    suspects = {
        "eps": port(optimizer=optax.adam(0.01)),
        "decay": port(optimizer=optax.adamw(0.01, eps=1e-6)),
        "gates": port(partial(function, cell=partial(lstm, order="ifog")), None, optax.adam(0.01)),
    }
    ours = port(optimizer=optax.adam(0.01, eps=1e-6))
    pair = compare_programs(ours, theirs, batches(), suspects=suspects)
    assert causes(pair) == ["eps", "epsilon-value"]
    assert pair.diagnosis is not None
    assert [finding.name for finding in pair.diagnosis.findings][:3] == ["eps", "decay", "gates"]
    assert pair.verdicts[1].startswith("cause: eps: the program given for it (with it")
    del suspects["eps"]
    pair = compare_programs(ours, theirs, batches(), suspects=suspects)
    assert causes(pair) == ["epsilon-value"]
