"""What a port's optimizer does otherwise is named, and nothing where nothing is planted."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from shared.errors import InvalidInput
from shared.parity.clipping import Clipping
from shared.parity.courses import Run
from shared.parity.optimizer_causes import optimizer_causes
from shared.parity.torch_course import torch_course
from tests.support.optimizer_cases import STEPS, Model, causes, found, model, original, port
from tests.support.optimizer_parts import (
    ADAM,
    ADAMW,
    DECAY,
    MOMENTUM,
    RMS,
    RMSPROP,
    SGD,
    chain,
    halving,
    multi,
    norm,
    scaled,
    steps,
    torchs,
    value,
)
from tests.support.planted_optimizers import PLANTED

NOISE = 1e-13


@pytest.fixture(autouse=True)
def float64_by_default():
    """As in a step of a pair. NAdam keeps the product of its momenta in the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def both(name: str, kind: str, noise: float = NOISE, **changed: Any) -> tuple[Any, Any]:
    planted = PLANTED[name]
    data = model(kind)
    options: dict[str, Any] = {"steps": STEPS, **planted.options, **changed}
    theirs = original(data, planted.theirs, **options)
    ours = planted.ours
    if not isinstance(ours, optax.GradientTransformation):
        ours = ours(list(data.start))
    return theirs, port(data, ours, steps=options["steps"], noise=noise)


OTHER_WAYS = {
    "warm-up late", "biases not decayed", "decay added sgd", "clipping after adam",
    "clipped batches",
}  # fmt: skip


def cases() -> list[Any]:
    """Each cause once by default, and what takes another way to the same name: all of them, in
    both models, are slow."""
    seen: set[str] = set()
    found = []
    for name, planted in PLANTED.items():
        for kind in ("layer", "three"):
            key = name if name in OTHER_WAYS else planted.cause
            marks = [pytest.mark.slow] if key in seen else []
            seen.add(key)
            found.append(pytest.param(name, kind, marks=marks))
    return found


@pytest.mark.parametrize(("name", "kind"), cases())
def test_what_is_planted_is_named(name: str, kind: str) -> None:
    cause, says = PLANTED[name].cause, PLANTED[name].says
    findings = found(*both(name, kind))
    assert [finding.name for finding in findings if finding.vanishes] == [cause]
    assert findings[0].name == cause
    assert says in findings[0].about
    assert findings[0].deviation < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["layer", "three"])
@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_named_without_noise(name: str, kind: str) -> None:
    assert causes(*both(name, kind, noise=0.0)) == [PLANTED[name].cause]


INNOCENT: dict[str, tuple[Callable, Any, dict[str, Any]]] = {
    "adam": (torchs(ADAM), optax.adam(0.02), {}),
    "momentum": (torchs(SGD, **MOMENTUM), optax.sgd(0.02, **MOMENTUM), {}),
    "rmsprop": (torchs(RMS), optax.rmsprop(0.02, **RMSPROP), {}),
    "clipped": (torchs(ADAMW, weight_decay=0.1), chain(
        scaled(0.5), optax.adamw(0.02, weight_decay=0.1)), {"prepare": norm(0.5)}),
    "accumulated": (torchs(ADAM), multi(optax.adam(0.02), 3), {"accumulate": 3}),
    "scheduled": (torchs(SGD), optax.sgd(halving()), {"scheduler": steps(0.5)}),
}  # fmt: skip


@pytest.mark.parametrize("name", INNOCENT)
def test_where_nothing_is_planted_nothing_is_named(name: str) -> None:
    """Whether the noise is in the gradients that both sides show, or hidden in the port's."""
    theirs, ours, options = INNOCENT[name]
    data = model("three")
    them = original(data, theirs, **options)
    for noise, hidden in ((0.0, 0.0), (NOISE, 0.0), (0.0, NOISE)):
        assert found(them, port(data, ours, noise=noise, hidden=hidden)) == []


def wavering(g: Any, _: Any) -> Any:
    return {n: x * (1 + 1e-4 * jnp.sin(1e3 * x)) for n, x in g.items()}


OTHERS: dict[str, Any] = {
    "lion": optax.lion(0.02),
    "gradients": chain(optax.stateless(wavering), optax.adam(0.02)),
    "three things": optax.adamw(0.02, b2=0.99, eps=1e-6),
    "yogi": optax.yogi(0.02),
}


@pytest.mark.parametrize("count", [2, pytest.param(STEPS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_none_of_the_suspects_is_not_named(name: str, count: int) -> None:
    data = model("layer")
    findings = found(original(data, torchs(ADAM)), port(data, OTHERS[name], steps=count), count)
    assert len(findings) > 5
    assert not any(finding.vanishes for finding in findings)
    assert min(finding.deviation for finding in findings) > 1e-9


def test_up_to_the_first_step_that_differs() -> None:
    """One update cannot tell everything apart: what it cannot is named together."""
    for name, count, expected in (
        ("late", 3, ["schedule-offset", "schedule-constant"]),
        ("rate of adam", 1, ["bias-correction", "learning-rate"]),
        ("accumulated, sgd", 1, ["no-update"]),
        ("another momentum", 2, ["momentum"]),
    ):
        theirs, mine = both(name, "layer")
        assert causes(theirs, mine[:count], count) == expected, name


def test_rates_of_later_steps_tell_a_schedule_that_is_early() -> None:
    theirs, mine = both("early", "layer")
    assert causes(theirs, mine[:2], 2) == ["schedule-offset"]
    short = theirs._replace(rates=theirs.rates[:2])
    assert causes(short, mine[:2], 2) == ["schedule"]


def test_a_parameter_without_a_gradient() -> None:
    """Torch skips it, decay and count included; optax takes the gradient for zeros."""
    without = [(t, "bias") for t in (0, 1, 4)]
    data = model("layer")
    for make, ours in (
        (torchs(ADAMW, weight_decay=DECAY), optax.adamw(0.02, weight_decay=DECAY)),
        (torchs(SGD, **MOMENTUM), optax.sgd(0.02, **MOMENTUM)),
    ):
        findings = found(original(data, make, without=without), port(data, ours, without=without))
        assert [finding.name for finding in findings if finding.vanishes] == ["no-gradient"]
        assert findings[0].about.endswith("as it is: bias")


class Doubled(torch.optim.SGD):
    """A subclass that does something else."""

    def step(self, closure: Any = None) -> Any:
        super().step()
        return super().step()


class Same(torch.optim.Adam):
    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class Signs(torch.optim.Optimizer):
    def __init__(self, params: Any, lr: float):
        super().__init__(params, {"lr": lr})

    def step(self, closure: Any = None) -> Any:
        for param in self.param_groups[0]["params"]:
            param.data -= self.param_groups[0]["lr"] * param.grad.sign()


def test_an_optimizer_that_is_not_known_is_named_and_nothing_else() -> None:
    data = model("layer")
    mine = port(data, optax.adam(0.01))
    for kind in (Doubled, Signs):
        (finding,) = found(original(data, torchs(kind)), mine)
        assert (finding.name, finding.vanishes) == ("optimizer-unknown", False)
        assert kind.__name__ in finding.about
    assert causes(original(data, torchs(Same)), mine) == ["learning-rate"]


def test_gradients_that_are_prepared_in_an_unknown_way() -> None:
    def prepare(params: list) -> None:
        for param in params:
            param.grad.sub_(param.grad.mean())

    data = model("layer")
    (finding,) = found(original(data, torchs(ADAM), prepare=prepare), port(data, optax.adam(0.01)))
    assert (finding.name, finding.vanishes) == ("prepare-unknown", False)


@pytest.mark.parametrize(
    ("prepare", "kind"),
    [
        (norm(0.5), Clipping("norm", 0.5, 1e-6)),
        (norm(3.0), Clipping("norm", 3.0, 1e-6)),  # beyond which some steps are, and some are not
        (norm(0.3, norm_type=float("inf")), Clipping("largest", 0.3, 1e-6)),
        (value(0.2), Clipping("value", 0.2)),
        (lambda ps: [norm(0.3)([p]) for p in ps], Clipping("tensor", 0.3, 1e-6)),
        (lambda _: None, Clipping()),
    ],
)
def test_clipping_of_torch_is_recognized(prepare: Callable, kind: Clipping) -> None:
    theirs = original(model("layer"), torchs(SGD), prepare=prepare)
    course = torch_course(
        Run(theirs.traces, ["weight", "bias"]), theirs.traces, theirs.rules, theirs.rates, 1
    )
    assert course is not None
    assert course.clipping == kind


def test_one_element_is_no_evidence_for_a_number() -> None:
    data = Model({"w": np.array([0.5])}, [{"w": np.array([0.2])}] * 3, {"w": np.array([1.0])})
    theirs = original(data, torchs(SGD), steps=3)
    assert causes(theirs, port(data, optax.sgd(0.03), steps=3)) == []
    assert causes(theirs, port(data, optax.sgd(-0.02), steps=3)) == ["maximize"]


def test_large_arrays_are_confirmed_in_every_element() -> None:
    """A cause that holds in the elements looked at first, and not in one of the others."""
    rng = np.random.default_rng(0)
    one, other = ({"w": rng.standard_normal((40, 30))} for _ in range(2))
    data = Model(one, [other], {"w": np.full((40, 30), 0.1)})
    theirs, mine = original(data, torchs(ADAM)), port(data, optax.adam(0.02, eps=1e-6))
    assert causes(theirs, mine) == ["epsilon-value"]
    mine[2]["weights/w"] = mine[2]["weights/w"].copy()
    mine[2]["weights/w"][7, 11] += 1e-6
    assert causes(theirs, mine) == []


def test_input_that_says_too_little_is_refused() -> None:
    theirs = original(model("layer"), torchs(SGD))
    mine = port(model("layer"), optax.sgd(0.1))
    rest = theirs.traces, theirs.rules, theirs.rates
    with pytest.raises(InvalidInput, match="as many steps of both sides, at least 1, got 5 and 6"):
        optimizer_causes(mine[:5], *rest)
    with pytest.raises(InvalidInput, match="rates: expected those of 6 steps, got 2"):
        optimizer_causes(mine, theirs.traces, theirs.rules, theirs.rates[:2])
    with pytest.raises(InvalidInput, match=r"rules: expected names of parameters .* got none"):
        optimizer_causes(mine, theirs.traces, [], theirs.rates)
    with pytest.raises(InvalidInput, match="rates: expected one of bias at step 1, got none"):
        optimizer_causes(mine, theirs.traces, theirs.rules, [{"weight": 0.1}] * 6)
    del mine[3]["gradients/bias"]
    with pytest.raises(InvalidInput, match="gradients/bias of one shape in both at step 4"):
        optimizer_causes(mine, *rest)


def test_in_float32_nothing_is_said() -> None:
    theirs = original(model("layer"), torchs(SGD))
    single = [{n: a.astype(np.float32) for n, a in t.items()} for t in theirs.traces]
    mine = port(model("layer"), optax.sgd(0.2))
    assert found(theirs._replace(traces=single), mine) == []


def test_a_rate_where_torchs_is_zero() -> None:
    def scheduler(optimizer: Any) -> Any:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: float(t > 1))

    theirs = original(model("layer"), torchs(ADAM), scheduler=scheduler)
    warmed = optax.adam(
        lambda t: jnp.where(jnp.greater(t, 1), 0.02, jnp.asarray(0.001, jnp.float64))
    )
    (finding,) = (f for f in found(theirs, port(model("layer"), warmed)) if f.vanishes)
    assert finding.name == "schedule"
    assert finding.about.endswith("first at step 1: 0.001, not 0")
