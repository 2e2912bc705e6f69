"""What could pass for a proof of a pair and is none, or holds only with a note beside it."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx

from rnn_torch.pair import TorchProgram
from shared.parity import compare_programs
from tests.support.pair_cases import (
    CLASSES,
    CROSS_ENTROPIES,
    FEATURES,
    PLAIN,
    Classifier,
    Plain,
    batches,
    causes,
    check_equal,
    compare_plain,
    dense,
    function,
    original,
    place,
    plain,
    plain_batches,
    port,
    sgd,
)


class Normed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(FEATURES, CLASSES)
        self.norm = torch.nn.BatchNorm1d(CLASSES, momentum=0.25)

    def forward(self, x):
        return self.norm(self.linear(x))


class FlaxNormed(nnx.Module):
    def __init__(self, norm: type[nnx.BatchNorm] = nnx.BatchNorm):
        rngs = nnx.Rngs(0)
        self.linear = nnx.Linear(FEATURES, CLASSES, rngs=rngs)
        self.norm = norm(CLASSES, momentum=0.75, epsilon=1e-5, rngs=rngs)
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


class Unbiased(nnx.BatchNorm):
    """Keeps the running variance that torch keeps, n / (n - 1) times as large."""

    def __call__(self, x, **options):  # pyright: ignore[reportIncompatibleMethodOverride]
        before = self.var[...]
        outputs = super().__call__(x, **options)
        count = x.size // x.shape[-1]
        share = (self.var[...] - self.momentum * before) * count / (count - 1)
        self.var[...] = self.momentum * before + share
        return outputs


def test_running_statistics_are_compared_and_begin_anew() -> None:
    theirs = original(module=Normed(), optimizer=sgd())
    ours = port(FlaxNormed(Unbiased), optimizer=optax.sgd(0.1), names=NORMED)
    means = []
    for _ in range(2):
        pair = compare_programs(ours, theirs, flat_batches())
        check_equal(pair, 4)
        assert {"buffers/norm.running_mean", "buffers/norm.running_var"} <= {
            *pair.comparison.deviations
        }
        means.append(ours.now().buffers["norm.running_mean"])
        assert not theirs.now().buffers["norm.running_mean"].any()  # as before the comparison
    assert means[0].all()  # of the steps that were taken
    np.testing.assert_array_equal(means[0], means[1])


def test_a_biased_running_variance_is_a_cause() -> None:
    theirs = original(module=Normed(), optimizer=sgd())
    ours = port(FlaxNormed(), optimizer=optax.sgd(0.1), names=NORMED)
    pair = compare_programs(ours, theirs, flat_batches())
    assert place(pair) == "buffers/norm.running_var[0]"
    assert causes(pair) == ["batch-norm-variance"]


def test_a_running_mean_that_forward_reads_is_restored() -> None:
    class Counting(Classifier):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
            self.calls += 1
            return super().forward(x) * self.calls

    theirs = original(module=Counting(), optimizer=sgd())
    np.testing.assert_array_equal(compare_losses(theirs), compare_losses(theirs))


def compare_losses(theirs: TorchProgram) -> np.ndarray:
    """Of the second side, which is not that of the port."""
    losses = compare_programs(port(optimizer=optax.sgd(0.1)), theirs, batches()).losses
    assert losses is not None
    return losses[1]


def test_state_in_plain_attributes_is_restored() -> None:
    """And buffers that a step makes or gives another shape."""

    class Counting(Plain):
        def forward(self, x):
            self.calls = getattr(self, "calls", 0) + 1
            outputs = super().forward(x) * self.calls
            if self.calls > 1:
                outputs = outputs + self.last
            self.register_buffer("last", outputs.detach())
            return outputs

    theirs = original(module=Counting(), optimizer=sgd())
    ours = {"kernel": np.ones((FEATURES, CLASSES)), "bias": np.ones(CLASSES)}
    losses = []
    for _ in range(2):
        port_ = port(plain(), ours, optax.sgd(0.1), names=PLAIN)
        pair = compare_programs(port_, theirs, plain_batches(3))
        assert "buffers/last" in pair.comparison.left_out
        assert pair.losses is not None
        losses.append(pair.losses[1])
    np.testing.assert_array_equal(*losses)


def test_steps_that_move_nothing_are_told_of() -> None:
    """Or so little that even with the wrong sign they would pass."""
    for rate in (1e-30, 1e-13):
        pair = compare_plain(optimizers=(lambda p, r=rate: torch.optim.SGD(p, r), optax.sgd(-rate)))
        check_equal(pair, 2)
        assert "nothing-moved" in {gap.kind for gap in pair.gaps}


def test_weights_that_move_little_by_little_have_moved() -> None:
    pair = compare_plain(
        optimizers=(lambda p: torch.optim.SGD(p, 2e-10), optax.sgd(2e-10)), data=plain_batches(40)
    )
    check_equal(pair, 40)


def test_a_loss_that_no_parameter_changes_is_told_of() -> None:
    """Also one that torch could not differentiate at all."""
    pair = compare_plain(losses=(lambda y, _: 0 * y.sum(), lambda y, _: 0 * y.sum()))
    check_equal(pair, 2)
    assert "no-gradients" in {gap.kind for gap in pair.gaps}
    detached = compare_plain(
        Plain(lambda y: y.detach()),
        plain(jax.lax.stop_gradient),
        optimizers=(sgd(), optax.sgd(0.1)),
    )
    check_equal(detached, 2)
    assert {"no-gradients", "nothing-moved"} <= {gap.kind for gap in detached.gaps}
    with torch.no_grad():  # is the surroundings' business
        check_equal(compare_plain(), 2)


def test_random_numbers_in_a_step_are_told_of() -> None:
    pair = compare_plain(Plain(lambda y: torch.nn.functional.dropout(y, 0.5)))
    assert not pair.comparison.equal
    assert "torch: the model draws random numbers" in pair.hints


class Pair(NamedTuple):
    outputs: Any
    more: Any


@jax.tree_util.register_dataclass
@dataclass
class Record:
    first: Any
    second: Any = None


def test_outputs_have_the_same_names_in_both() -> None:
    def structured(y: Any) -> Any:
        return Pair(y, {"twice": [2 * y, (3 * y,)], "record": Record(4 * y)})

    losses: Any = tuple(lambda out, t, loss=loss: loss(out.outputs, t) for loss in CROSS_ENTROPIES)
    pair = compare_plain(Plain(structured), plain(structured), losses)
    check_equal(pair, 2)
    assert [n for n in pair.comparison.deviations if n.startswith("logits/")] == [
        "logits/outputs.more.record.first",
        "logits/outputs.more.twice.0",
        "logits/outputs.more.twice.1.0",
        "logits/outputs.outputs",
    ]


def test_every_call_of_a_watched_submodule_is_compared() -> None:
    class Twice(Classifier):
        def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
            return self.head(self.rnn(x)[0][:, -1]) + self.head(self.rnn(2 * x)[0][:, -1])

    def twice(params, x, wrong=0.0):
        a, b = (function(params, scale * x) for scale in (1 + wrong, 2))
        return a + b, {"head": a, "head#2": b}

    theirs = original(module=Twice(), watch=["head"])
    check_equal(compare_programs(port(twice, watch=True), theirs, batches()), 3)
    pair = compare_programs(port(partial(twice, wrong=0.1), watch=True), theirs, batches())
    assert place(pair).startswith("layers/head[")


class Stacked(torch.nn.Module):
    """`last` runs first, and again; its outputs are a tuple."""

    def __init__(self):
        super().__init__()
        self.last = Plain(lambda y: (y, (2 * y,)))
        self.first = torch.nn.Linear(CLASSES, CLASSES)

    def forward(self, x):
        return self.first(self.last(x)[0] + self.last(2 * x)[0])


def stacked(params, x, wrong=0.0):
    a, b = (dense(params["last"])(scale * x) for scale in (1 + wrong, 2))
    outputs = dense(params["first"])(a + b)
    return outputs, {"first": outputs, "last": (a, (2 * a,)), "last#2": (b, (2 * b,))}


def test_layers_are_compared_in_the_order_in_which_they_ran() -> None:
    """Not in that of their names: the first that differs is where the bug is."""
    names = {f"{n}.{t}": f"{n}.{place}" for n in ("last", "first") for t, place in PLAIN.items()}
    params = {
        n: {"kernel": np.ones((width, CLASSES)), "bias": np.ones(CLASSES)}
        for n, width in (("last", FEATURES), ("first", CLASSES))
    }
    theirs = original(module=Stacked(), watch=["first", "last"])
    pair = compare_programs(
        port(partial(stacked, wrong=0.1), params, names=names, watch=True), theirs, plain_batches()
    )
    assert place(pair) == "layers/last.0[0, 0]"
    layers = [name for name in pair.comparison.deviations if name.startswith("layers/")]
    assert layers == [
        f"layers/{name}" for name in ("last.0", "last.1.0", "last#2.0", "last#2.1.0", "first")
    ]
