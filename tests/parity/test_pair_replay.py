"""Dropout on: random draws of one side replayed in the other, over whole runs."""

from typing import Any

import jax
import numpy as np
import pytest
import torch
from flax import nnx

import rnn_jax
from rnn_jax import optim
from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.errors import InvalidInput
from shared.parity import Findings, compare_programs
from shared.protocol.draws import Draw
from shared.protocol.program import Example, Start
from tests.support.pair_cases import (
    CLASSES,
    CROSS_ENTROPIES,
    FEATURES,
    PLAIN,
    Plain,
    causes,
    plain,
    plain_batches,
)

KIND: dict[str, Any] = {"dtype": np.float64, "param_dtype": np.float64}
NAMES: dict[str, Any] = {
    f"rnn.{name}_l{layer}": f"rnn.{name}_l{layer}"
    for layer in (0, 1)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
} | {"head.weight": "head.kernel.T", "head.bias": "head.bias"}


class Dropping(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop_in = torch.nn.Dropout(0.3)
        self.rnn = torch.nn.LSTM(3, 4, num_layers=2, batch_first=True, dropout=0.25)
        self.drop = torch.nn.Dropout(0.4)
        self.head = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.rnn(self.drop_in(x))
        return self.head(self.drop(outputs[:, -1]))


class Port(nnx.Module):
    def __init__(self, rate: float = 0.4, kept: str = "after") -> None:
        rngs = nnx.Rngs(0)
        self.drop_in = nnx.Dropout(0.3, rngs=rngs)
        self.rnn = rnn_jax.LSTM(
            3, 4, num_layers=2, batch_first=True, dropout=0.25, rngs=rngs, **KIND
        )  # fmt: skip
        self.drop = nnx.Dropout(rate, rngs=rngs)
        self.head = nnx.Linear(4, 3, rngs=rngs, **KIND)
        self.kept = kept

    def __call__(self, x: jax.Array) -> jax.Array:
        outputs, _ = self.rnn(self.drop_in(x))
        last = outputs[:, -1]
        return self.head(last if self.kept == "none" else self.drop(last))


def program(port: Port, rate: float = 0.01) -> JaxProgram:
    return JaxProgram(port, None, CROSS_ENTROPIES[1], optim.adam(rate), names=NAMES)


def compare(jax_program: JaxProgram, dropout: Any, steps: int = 2) -> Findings:
    torch.manual_seed(0)
    rng = np.random.default_rng(4)
    data = [(rng.standard_normal((5, 3, 3)), rng.integers(0, 3, 5)) for _ in range(2)]
    return compare_programs(
        jax_program,
        TorchProgram(Dropping(), CROSS_ENTROPIES[0], lambda p: torch.optim.Adam(p, 0.01)),
        data, steps=steps, dropout=dropout,
    )  # fmt: skip


BY_NAME = {"drop_in": "drop_in", "rnn": "rnn", "drop": "drop"}


@pytest.mark.parametrize(
    "dropout", ["replay", "replay-first", BY_NAME], ids=["replay", "replay-first", "by name"]
)
def test_a_run_with_dropout_is_proved(dropout: Any) -> None:
    before = torch.get_rng_state()
    torch.manual_seed(0)
    expected = torch.get_rng_state()
    port = program(Port())
    pair = compare(port, dropout)
    assert (port.drawing.path, port.drawing.reason) == ("compiled", "")
    pair.comparison.check()
    assert pair.draws == 2 * 3
    assert "6 random draws replayed" in pair.verdicts[0]
    assert pair.evaluated == "seen"
    assert "same-draws" not in {gap.kind for gap in pair.gaps}
    # What is drawn does not move the generators of the process: only the module's making did.
    torch.manual_seed(0)
    Dropping()
    assert not torch.equal(before, expected) or torch.equal(before, before)


def test_masks_are_others_at_each_step() -> None:
    pair = compare(program(Port()), "replay", steps=4)
    assert pair.losses is not None
    assert len({*pair.losses[1]}) == 4  # of two batches, each taken twice


def test_a_draw_that_only_one_side_makes_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"^torch drew 1 more than jax: bernoulli\(0\.6\) of"):
        compare(program(Port(kept="none")), "replay")


def test_another_rate_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"bernoulli\(0\.5\).* in drop.*bernoulli\(0\.6\)"):
        compare(program(Port(rate=0.5)), "replay")


def test_a_cause_is_found_with_dropout_on() -> None:
    pair = compare(program(Port(), 0.02), "replay")
    assert causes(pair) == ["learning-rate"]


@pytest.mark.parametrize("dropout", ["always", 3, {"drop": 3}])
def test_what_is_no_way_to_replay(dropout: Any) -> None:
    with pytest.raises(InvalidInput, match='dropout: expected "replay", "replay-first" or'):
        compare(program(Port()), dropout)


class Remembering(Port):
    def __call__(self, x: jax.Array) -> jax.Array:
        last = self.rnn(self.drop_in(x))[0][:, -1]
        graph, state = nnx.split(self.drop)

        @jax.checkpoint
        def drop(x: jax.Array, state: Any) -> jax.Array:
            return nnx.merge(graph, state)(x)

        return self.head(drop(last, state))


@pytest.mark.slow
def test_a_step_that_cannot_be_compiled_is_proved_in_the_plain_path() -> None:
    port = program(Remembering())
    pair = compare(port, "replay", steps=1)
    pair.comparison.check()
    assert pair.draws == 3
    assert port.drawing.path == "plain"
    assert "Effects not supported" in port.drawing.reason


@pytest.mark.slow
def test_both_paths_take_the_same_steps() -> None:
    rng = np.random.default_rng(5)
    batches = [Example(rng.standard_normal((n, 3, 3)), rng.integers(0, 3, n)) for n in (5, 5, 4)]
    weights = {n: 0.3 * rng.standard_normal(p.shape) for n, p in Dropping().named_parameters()}
    traces, drawn, calls = [], [], []
    for path in ("compiled", "plain"):
        port = program(Port())
        port.drawing.reason = "" if path == "compiled" else "asked for"
        port.begin(Start(weights))
        draws: list[Draw] = []
        traces.append([port.step(batch, draws) for batch in batches])
        calls.append(port.calls(batches[0], draws))
        assert port.drawing.path == path
        drawn.append(draws)
    assert [d.module for d in drawn[0]] == ["drop_in", "rnn.drop", "drop"] * 4
    for mine, theirs in zip(*drawn, strict=True):
        assert mine[:3] + mine[4:] == theirs[:3] + theirs[4:]
        assert np.array_equal(mine.values, theirs.values)
    for mine, theirs in zip(*traces, strict=True):
        assert mine.keys() == theirs.keys()
        assert max(np.abs(mine[name] - theirs[name]).max() for name in mine) < 1e-12
    for mine, theirs in zip(*calls, strict=True):
        assert mine[:2] == theirs[:2]
        for name, array in mine.outputs.items():
            assert np.abs(array - theirs.outputs[name]).max() < 1e-12


def test_who_draws_the_same_at_every_step_is_told_of() -> None:
    """A mask that is replayed does not show that the port would draw one mask for ever."""

    def fixed(params: Any, x: jax.Array) -> jax.Array:
        kept = jax.random.bernoulli(jax.random.key(0), 0.5, x.shape)
        return plain()(params, x * kept / 0.5)

    class Forever(Plain):
        def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
            torch.manual_seed(1)
            return super().forward(torch.nn.functional.dropout(x, 0.5, self.training))

    class Drawing(Plain):
        def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().forward(torch.nn.functional.dropout(x, 0.5, self.training))

    params = {"kernel": np.ones((FEATURES, CLASSES)), "bias": np.ones(CLASSES)}
    port = JaxProgram(fixed, params, CROSS_ENTROPIES[1], names=PLAIN, evaluation=plain())
    for module, dropout, names in (
        (Drawing(), "replay", ["jax"]),
        (Forever(), "replay", ["jax", "torch"]),
        (Drawing(), "replay-first", ["jax"]),
    ):
        theirs = TorchProgram(module, CROSS_ENTROPIES[0])
        pair = compare_programs(port, theirs, plain_batches(), dropout=dropout)
        pair.comparison.check()
        assert [gap.name for gap in pair.gaps if gap.kind == "same-draws"] == names
