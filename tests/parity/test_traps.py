"""Every trap is found when it is planted, on either side, and none is when nothing is planted."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import rnn_torch.cells
import rnn_torch.network
import rnn_torch.optimizers
import rnn_torch.stack
from rnn_jax import traps
from shared.config import Config, resolve
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.errors import InvalidInput
from shared.parity import lockstep
from shared.parity.diagnosis import Diagnosis, diagnose
from shared.parity.findings import cause
from shared.parity.lockstep import Lockstep, Side
from shared.parity.traps import TRAPS, VARIANTS, about
from shared.tasks import TASKS, load_task
from shared.tasks.task import Task
from tests.support.pairwise import slow_but

# A configuration in which every trap but those of one cell or optimizer changes something.
BASE = replace(
    TRAPS["padding"].show(TASKS["hello"].defaults),
    network=NetworkConfig(hidden_size=4),
    optimization=OptimizationConfig(learning_rate=0.01, clip_norm=0.1),
    precision="float64",
    epochs=10,
)
STEPS = 3


def shown(name: str) -> Config:
    """The configuration for a trap or a variant."""
    trap, _, variant = name.partition(":")
    config = TRAPS[trap].show(BASE)
    cell = {"igfo": "lstm", "ifog": "lstm", "iofg": "lstm", "zrn": "gru"}.get(variant)
    if cell is not None:
        config = replace(config, network=replace(config.network, cell=cell))
    return resolve(config)


def sides(config: Config) -> tuple[Task, Side, Side]:
    task = load_task(config)
    first, second = (
        lockstep.side(config, task, name) for name in ("jax/handcrafted", "torch/handcrafted")
    )
    return task, first, second


COMPILED = ("adam:epsilon-hat", "gates:transposed")
"""Planted in a compiled run, as a user's is; the others go by operation, quicker for few steps."""


def diagnosed(config: Config, planted: str | None = None) -> tuple[Lockstep, Diagnosis]:
    """A run with a trap in its JAX side, or with whatever a test has planted in PyTorch."""
    task, first, second = sides(config)
    active = [traps.find_switch(planted, config, first.batches)] if planted else []
    observed = traps.switched(first, config, task.signature, active, compiled=planted in COMPILED)
    ran = lockstep.run(config, observed, second, STEPS)
    suspects = traps.suspects(first, config, task.signature, active)
    return ran, diagnose(config, ran, observed, second, suspects)


EVERY = [name for name in TRAPS if name not in VARIANTS] + [
    f"{trap}:{variant}" for trap, variants in VARIANTS.items() for variant in variants
]
FIRST_PHASE = {
    "single-bias": "gradients",
    "clip-epsilon": "clipped",
    "reset-gate": "layers",
    "adam": "weights",
    "rmsprop-epsilon": "weights",
    "ragged-mean": "loss",
    "padding": "layers",
    "float32": "layers",
    "gates": "layers",
    "initial-values": "before",
    "batch-order": "inputs",
}


VARIED = ("adam:epsilon-hat", "gates:ifog", "gates:zrn", "gates:transposed")
USUAL = [name for name in EVERY if ":" not in name or name in VARIED]


@pytest.mark.parametrize("name", slow_but(EVERY, USUAL))
def test_a_planted_trap_is_named_and_no_other(name: str) -> None:
    ran, diagnosis = diagnosed(shown(name), name)
    difference = ran.comparison.difference
    assert difference is not None
    assert difference.phase == FIRST_PHASE[name.partition(":")[0]]
    assert diagnosis.causes == [name]


def test_there_are_eleven_traps_and_all_are_planted_above() -> None:
    assert len(TRAPS) == 11
    assert {name.partition(":")[0] for name in EVERY} == set(TRAPS) == set(FIRST_PHASE)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_without_a_trap_nothing_differs(cell) -> None:
    config = resolve(replace(BASE, network=replace(BASE.network, cell=cell)))
    _, first, second = sides(config)
    ran = lockstep.run(config, first, second, 10)
    ran.comparison.check()
    assert ran.before is None


@pytest.mark.parametrize(
    ("cell", "optimizer"),
    slow_but(
        itertools.product(["rnn", "lstm", "gru"], ["adam", "rmsprop"]),
        [("lstm", "adam"), ("gru", "rmsprop")],
    ),
)
def test_every_switch_changes_the_step(cell, optimizer: str) -> None:
    """A trap that changed nothing would be found by chance alone."""
    config = replace(BASE, network=replace(BASE.network, cell=cell))
    config = resolve(
        replace(config, optimization=replace(config.optimization, optimizer=optimizer))
    )
    task, first, second = sides(config)
    names = [switch.name for switch in traps.switches(config, first.batches)]
    expected = set(EVERY) - {n for n in EVERY if n not in names}
    assert set(names) == expected
    for switch in traps.switches(config, first.batches):
        observed = traps.switched(first, config, task.signature, [switch], compiled=False)
        ran = lockstep.run(config, observed, second, STEPS)
        assert not ran.comparison.equal, switch.name


# Planted in PyTorch: the difference is real, and no switch in the JAX side was told of it. -------


def _single_bias(monkeypatch: pytest.MonkeyPatch) -> Config:
    old = rnn_torch.network.Network.forward

    def forward(self: Any, *arguments: Any, **options: Any) -> Any:
        for name, param in self.named_parameters():
            if ".bias_hh" in name and not param._backward_hooks:
                param.register_hook(torch.zeros_like)
        return old(self, *arguments, **options)

    monkeypatch.setattr(rnn_torch.network.Network, "forward", forward)
    return BASE


def _clip_epsilon(monkeypatch: pytest.MonkeyPatch) -> Config:
    def clip(params: dict[str, torch.Tensor], max_norm: float) -> None:
        norm = torch.nn.utils.get_total_norm([param.grad for param in params.values()])  # pyright: ignore[reportArgumentType]
        for param in params.values():
            assert param.grad is not None
            param.grad *= (max_norm / norm).clamp(max=1)

    monkeypatch.setattr(rnn_torch.optimizers, "clip", clip)
    return BASE


def _reset_gate(monkeypatch: pytest.MonkeyPatch) -> Config:
    def gru(projected: Any, state: Any, weights: Any) -> Any:
        (h,) = state
        size = h.shape[1]
        recurrent = F.linear(h, weights.weight_hh, weights.bias_hh)
        r, z = (torch.sigmoid(projected + recurrent)[:, i * size : (i + 1) * size] for i in (0, 1))
        weight, bias = weights.weight_hh[2 * size :], weights.bias_hh[2 * size :]
        n = torch.tanh(projected[:, 2 * size :] + F.linear(r * h, weight, bias))
        return ((1 - z) * n + z * h,)

    monkeypatch.setitem(rnn_torch.stack.CELLS, "GRU", gru)
    return replace(BASE, network=replace(BASE.network, cell="gru"))


def _gates(monkeypatch: pytest.MonkeyPatch) -> Config:
    def lstm(projected: Any, state: Any, weights: Any) -> Any:
        h, c = state
        gates = projected + F.linear(h, weights.weight_hh, weights.bias_hh)
        i, f, o, g = gates.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    monkeypatch.setitem(rnn_torch.stack.CELLS, "LSTM", lstm)
    return replace(BASE, network=replace(BASE.network, cell="lstm"))


def _adam(monkeypatch: pytest.MonkeyPatch) -> Config:
    """ε under the root."""

    class Adam(torch.optim.Adam):
        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            (group,) = self.param_groups
            for param in group["params"]:
                state = self.state[param]
                if not state:
                    state["step"] = 0
                    state["exp_avg"] = torch.zeros_like(param)
                    state["exp_avg_sq"] = torch.zeros_like(param)
                state["step"] += 1
                b1, b2 = group["betas"]
                state["exp_avg"].lerp_(param.grad, 1 - b1)
                state["exp_avg_sq"].mul_(b2).add_((1 - b2) * param.grad**2)
                m = state["exp_avg"] / (1 - b1 ** state["step"])
                v = state["exp_avg_sq"] / (1 - b2 ** state["step"])
                param -= group["lr"] * m / torch.sqrt(v + group["eps"])

    monkeypatch.setattr(torch.optim, "Adam", Adam)
    return BASE


def _ragged_mean(monkeypatch: pytest.MonkeyPatch) -> Config:
    import rnn_torch.losses

    old = rnn_torch.losses.sums

    def sums(loss: Any, outputs: Any, targets: Any, weights: Any) -> Any:
        total, metric, count = old(loss, outputs, targets, weights)
        return total, metric, count.new_tensor(weights.numel())

    monkeypatch.setattr(rnn_torch.losses, "sums", sums)
    return BASE


def _padding(monkeypatch: pytest.MonkeyPatch) -> Config:
    old = rnn_torch.network.Network.forward

    def forward(self: Any, inputs: Any, state: Any, lengths: Any = None, *others: Any) -> Any:
        return old(self, inputs, state, None, *others)

    monkeypatch.setattr(rnn_torch.network.Network, "forward", forward)
    return BASE


PLANTED_IN_TORCH: dict[str, Callable[[pytest.MonkeyPatch], Config]] = {
    "single-bias": _single_bias,
    "clip-epsilon": _clip_epsilon,
    "reset-gate": _reset_gate,
    "adam:epsilon-in-root": _adam,
    "ragged-mean": _ragged_mean,
    "padding": _padding,
    "gates:ifog": _gates,
}


@pytest.mark.parametrize("name", PLANTED_IN_TORCH)
def test_a_trap_in_pytorch_is_named_by_the_switch_that_goes_into_it_too(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = resolve(PLANTED_IN_TORCH[name](monkeypatch))
    ran, diagnosis = diagnosed(config)
    assert not ran.comparison.equal
    assert diagnosis.causes == [name]


def test_something_else_is_not_given_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference that no trap explains: PyTorch's tanh is a little steeper."""
    cell = rnn_torch.cells.rnn_tanh

    def steeper(projected: Any, state: Any, weights: Any) -> Any:
        return (1.001 * cell(projected, state, weights)[0],)

    monkeypatch.setitem(rnn_torch.stack.CELLS, "RNN_TANH", steeper)
    ran, diagnosis = diagnosed(resolve(BASE))
    assert ran.comparison.difference is not None
    assert ran.comparison.difference.phase == "layers"
    assert diagnosis.causes == []
    assert not diagnosis.rounding


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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-trap", "expected one of single-bias, .* got no-such-trap"),
        ("gates:gofi", "expected gates or one of gates:.*, got gates:gofi"),
        ("reset-gate", "changes nothing here: expected --cell gru"),
        ("adam", "changes nothing here: expected --optimizer adam or adamw"),
    ],
)
def test_a_trap_that_cannot_be_planted_is_refused(name: str, message: str) -> None:
    config = resolve(replace(BASE, optimization=OptimizationConfig("sgd", learning_rate=0.1)))
    _, first, _ = sides(config)
    with pytest.raises(InvalidInput, match=message):
        traps.find_switch(name, config, first.batches)


def test_every_trap_and_variant_says_what_it_is() -> None:
    for name in EVERY:
        assert len(about(name)) > 20
        assert not about(name).endswith(".")


def test_flax_values_are_those_that_flax_draws() -> None:
    """LeCun normal, orthogonal for each gate, zero biases, in canonical layout."""
    config = resolve(replace(BASE, network=NetworkConfig("gru", hidden_size=16)))
    _, first, _ = sides(config)
    drawn = traps.flax_values(first.start.weights, seed=0)
    for name, array in first.start.weights.items():
        assert drawn[name].shape == array.shape
        assert drawn[name].dtype == array.dtype
        if ".bias" in name:
            assert not drawn[name].any()
    for block in np.split(drawn["rnn.weight_hh_l0"], 3):
        np.testing.assert_allclose(block @ block.T, np.eye(16), atol=1e-6)


def test_of_several_that_come_close_the_closest_is_the_cause() -> None:
    """At a tiny learning rate, ε in another place is all but right; the trap itself is exact."""
    config = replace(shown("adam:no-correction"), epochs=10)
    optimization = replace(config.optimization, eps=1e-13, learning_rate=1e-4)
    _, diagnosis = diagnosed(
        resolve(replace(config, optimization=optimization)), "adam:no-correction"
    )
    assert diagnosis.causes == ["adam:no-correction"]
