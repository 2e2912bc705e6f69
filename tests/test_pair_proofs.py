"""What could pass for a proof of a pair and is none, or holds only with a note beside it."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.pair import compare_programs
from tests.pair_cases import (
    CLASSES,
    FEATURES,
    NAMES,
    Classifier,
    batches,
    check_equal,
    cross_entropy,
    empty,
    function,
    original,
    place,
    port,
    sgd,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")


class Normed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(FEATURES, CLASSES)
        self.norm = torch.nn.BatchNorm1d(CLASSES, momentum=0.25)

    def forward(self, x):
        return self.norm(self.linear(x))


class FlaxNormed(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.linear = nnx.Linear(FEATURES, CLASSES, rngs=rngs)
        self.norm = nnx.BatchNorm(CLASSES, momentum=0.75, epsilon=1e-5, rngs=rngs)
        self.norm.dtype = jnp.float64

    def __call__(self, x):
        return self.norm(self.linear(x))


NORMED = {
    "linear.weight": "linear.kernel.T", "linear.bias": "linear.bias",
    "norm.weight": "norm.scale", "norm.bias": "norm.bias",
}  # fmt: skip


def flat_batches(count: int = 4) -> list:
    rng = np.random.default_rng(2)
    return [(rng.standard_normal((6, FEATURES)), rng.integers(0, CLASSES, 6)) for _ in range(count)]


def test_modules_that_keep_running_means() -> None:
    """They are told of, and begin anew with every comparison."""
    theirs = original(module=Normed(), optimizer=sgd())
    ours = port(FlaxNormed(), optimizer=optax.sgd(0.1), names=NORMED)
    told = (
        "jax: state is not compared: norm.mean, norm.var",
        "torch: state is not compared: norm.running_mean, norm.running_var, "
        "norm.num_batches_tracked",
    )
    means = []
    for _ in range(2):
        pair = compare_programs(ours, theirs, flat_batches())
        check_equal(pair, 4, *told)
        means.append(np.asarray(ours._rest["norm.mean"]))
        buffers = dict(theirs._module.named_buffers())
        assert not buffers["norm.running_mean"].any()  # as before the comparison
    assert means[0].all()  # of the steps that were taken
    np.testing.assert_array_equal(means[0], means[1])


def test_a_running_mean_that_forward_reads_is_restored() -> None:
    class Counting(Classifier):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return super().forward(x) * self.calls

    theirs = original(module=Counting(), optimizer=sgd())
    np.testing.assert_array_equal(compare_losses(theirs), compare_losses(theirs))


def compare_losses(theirs: TorchProgram) -> np.ndarray:
    """Of the second side, which is not that of the port."""
    losses = compare_programs(port(optimizer=optax.sgd(0.1)), theirs, batches()).losses
    assert losses is not None
    return losses[1]


def test_subnormal_numbers_count_as_zero_on_both_sides() -> None:
    tiny = np.full((5, 2, FEATURES), 1e-160)
    theirs = TorchProgram(Scaled(), lambda out, _: (1e10 * out).sum())
    ours = JaxProgram(
        lambda params, x: x * params["w"] * 1e-160, {"w": np.ones(FEATURES)},
        lambda out, _: (1e10 * out).sum(), names={"w": "w"},
    )  # fmt: skip
    before = float(np.array(1e-300) * 1e-10)  # zero where a backend ran in this process before
    compare_programs(ours, theirs, [(tiny, np.ones(5))]).comparison.check()
    assert float(np.array(1e-300) * 1e-10) == before


class Scaled(torch.nn.Module):
    """Products of 1e-320."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(FEATURES))

    def forward(self, x):
        return x * self.w * 1e-160


def test_arithmetic_in_float32_is_told_of_beside_a_proof() -> None:
    """Both round to float32, and agree."""

    def rounded(params, x):
        return function(params, x.astype(jnp.float32).astype(x.dtype))

    class Rounded(Classifier):
        def forward(self, x):
            return super().forward(x.float().double())  # in torch

    pair = compare_programs(port(rounded), original(module=Rounded()), batches())
    assert pair.comparison.equal
    lines = Path(__file__).read_text().splitlines()
    ours, theirs = pair.hints
    assert ours.startswith(f"float32 inside float64: {__file__}:")
    assert ours.endswith(".rounded)")
    (at,) = (i for i, line in enumerate(lines, 1) if line.endswith("# in torch"))
    assert theirs == f"float32 inside float64: {__file__}:{at} (forward)"
    assert [f"note: {hint}" for hint in pair.hints] == pair.verdicts[1:]


def test_steps_that_move_nothing_are_told_of() -> None:
    pair = compare_programs(
        port(optimizer=optax.sgd(-1e-30)), original(optimizer=lambda p: torch.optim.SGD(p, 1e-30)),
        batches(),
    )  # fmt: skip
    check_equal(pair, 3, "torch: no step moves a weight")


def test_a_loss_that_no_parameter_changes_is_told_of() -> None:
    theirs = TorchProgram(Classifier(), lambda out, _: 0 * out.sum())
    ours = JaxProgram(function, empty(), lambda out, _: 0 * out.sum(), names=NAMES)
    check_equal(compare_programs(ours, theirs, batches()), 3, "torch: every gradient is zero")


class Pair(NamedTuple):
    outputs: Any
    more: dict[str, Any]


def test_outputs_have_the_same_names_in_both() -> None:
    class Named(Classifier):
        def forward(self, x):
            out = super().forward(x)
            return Pair(out, {"twice": [2 * out, (3 * out,)]})

    def named(params, x):
        out = function(params, x)
        return Pair(out, {"twice": [2 * out, (3 * out,)]})

    theirs = TorchProgram(Named(), lambda out, y: torch.nn.functional.cross_entropy(out.outputs, y))
    ours = JaxProgram(named, empty(), lambda out, y: cross_entropy(out.outputs, y), names=NAMES)
    pair = compare_programs(ours, theirs, batches())
    check_equal(pair, 3)
    assert {n for n in pair.comparison.deviations if n.startswith("logits/")} == {
        "logits/outputs.outputs", "logits/outputs.more.twice.0", "logits/outputs.more.twice.1.0",
    }  # fmt: skip


def test_every_call_of_a_watched_submodule_is_compared() -> None:
    class Twice(Classifier):
        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1]) + self.head(self.rnn(2 * x)[0][:, -1])

    def twice(params, x, wrong=0.0):
        a, b = (function(params, scale * x) for scale in (1 + wrong, 2))
        return a + b, {"head": a, "head#2": b}

    theirs = original(module=Twice(), watch=["head"])
    check_equal(compare_programs(port(twice, watch=True), theirs, batches()), 3)
    pair = compare_programs(port(partial(twice, wrong=0.1), watch=True), theirs, batches())
    assert place(pair).startswith("layers/head[")
