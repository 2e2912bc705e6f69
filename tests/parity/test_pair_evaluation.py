"""What "proved" covers beside the steps: evaluation, weights that were carried over, ties."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.errors import InvalidInput
from shared.parity import compare_programs
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

KIND: dict[str, Any] = {"dtype": jnp.float64, "param_dtype": jnp.float64}


class Modal(Plain):
    """Computes something else in evaluation mode."""

    def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x) * (1 if self.training else 3)


class ModalPort(nnx.Module):
    def __init__(self, factor: float = 3.0) -> None:
        self.linear = nnx.Linear(FEATURES, CLASSES, rngs=nnx.Rngs(0), **KIND)
        self.drop = nnx.Dropout(0.0, rngs=nnx.Rngs(0))
        self.factor = factor

    def __call__(self, x):
        return self.linear(x) * (self.factor if self.drop.deterministic else 1.0)


NAMES = {"weight": "linear.kernel.T", "bias": "linear.bias"}


def test_a_difference_in_evaluation_mode_alone_is_found() -> None:
    theirs = TorchProgram(Modal(), CROSS_ENTROPIES[0])
    for factor, equal in ((3.0, True), (2.0, False)):
        ours = JaxProgram(ModalPort(factor), None, CROSS_ENTROPIES[1], names=NAMES)
        pair = compare_programs(ours, theirs, plain_batches())
        assert pair.comparison.equal == equal
        assert pair.evaluated == "seen"
    assert place(pair) == "evaluation/outputs[0, 0]"
    assert pair.diagnosis is not None
    assert pair.diagnosis.group == "evaluation"
    assert any("training agrees and evaluation does not" in hint for hint in pair.hints)


def test_inputs_that_are_held_out() -> None:
    x = np.random.default_rng(8).standard_normal((2, FEATURES))
    theirs = TorchProgram(Plain(), CROSS_ENTROPIES[0])
    ours = JaxProgram(
        plain(), {"kernel": np.ones((FEATURES, CLASSES)), "bias": np.ones(CLASSES)},
        CROSS_ENTROPIES[1], names=PLAIN,
    )  # fmt: skip
    pair = compare_programs(ours, theirs, plain_batches(), held_out=(x,))
    pair.comparison.check()
    assert pair.evaluated == "held out"
    assert "; evaluated on held-out inputs" in pair.verdicts[0]
    with pytest.raises(InvalidInput, match=r"held_out\.0: expected finite numbers"):
        compare_programs(ours, theirs, plain_batches(), held_out=(x * np.inf,))


def test_a_function_has_another_one_for_evaluation() -> None:
    params = {"kernel": np.ones((FEATURES, CLASSES)), "bias": np.ones(CLASSES)}
    theirs = TorchProgram(Modal(), CROSS_ENTROPIES[0])

    def compared(**options: Any) -> Any:
        ours = JaxProgram(plain(), params, CROSS_ENTROPIES[1], names=PLAIN, **options)
        return compare_programs(ours, theirs, plain_batches())

    compared(evaluation=plain(lambda y: 3 * y)).comparison.check()
    assert place(compared()) == "evaluation/outputs[0, 0]"
    with pytest.raises(InvalidInput, match="evaluation: expected it for a function"):
        JaxProgram(
            ModalPort(), None, CROSS_ENTROPIES[1], names=NAMES, evaluation=lambda x: x
        )  # fmt: skip


def test_the_module_keeps_its_mode() -> None:
    module = Modal()
    compare_plain(module)
    assert module.training
    port = ModalPort()
    JaxProgram(port, None, CROSS_ENTROPIES[1], names=NAMES)
    assert not port.drop.deterministic


def test_outputs_of_other_names_in_evaluation_mode_are_refused() -> None:
    class Wrapped(Plain):
        def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
            outputs = super().forward(x)
            return outputs if self.training else (outputs,)

    with pytest.raises(InvalidInput, match=r"evaluation/outputs: jax has it, torch has not"):
        compare_plain(Wrapped())


def test_draws_in_evaluation_mode_are_replayed() -> None:
    class Always(Plain):
        def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().forward(torch.nn.functional.dropout(x, 0.5, True))

    def ours(params: Any, x: jax.Array) -> jax.Array:
        kept = jax.random.bernoulli(jax.random.key(0), 0.5, x.shape)
        return plain()(params, x * kept / 0.5)

    theirs = TorchProgram(Always(), CROSS_ENTROPIES[0])
    params = {"kernel": np.ones((FEATURES, CLASSES)), "bias": np.ones(CLASSES)}
    program = JaxProgram(ours, params, CROSS_ENTROPIES[1], names=PLAIN)
    before = torch.get_rng_state()
    for dropout in ("replay", "replay-first"):
        compare_programs(program, theirs, plain_batches(), dropout=dropout).comparison.check()
    assert torch.equal(torch.get_rng_state(), before)


# Weights that the port had ------------------------------------------------------------------------


class Two(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mid, self.head = torch.nn.Linear(3, 3), torch.nn.Linear(3, CLASSES)

    def forward(self, x):
        return self.head(self.mid(x))


class TwoPort(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.mid = nnx.Linear(3, 3, rngs=rngs, **KIND)
        self.head = nnx.Linear(3, CLASSES, rngs=rngs, **KIND)

    def __call__(self, x):
        return self.head(self.mid(x))


TWO = {
    "mid.weight": "mid.kernel.T", "mid.bias": "mid.bias",
    "head.weight": "head.kernel.T", "head.bias": "head.bias",
}  # fmt: skip


def carried(mid: Any) -> list[str]:
    """Carries all over by hand, `mid.kernel` as the function has it; returns what is told."""
    torch.manual_seed(1)
    theirs, ours = Two(), TwoPort()
    state = {name: jnp.asarray(t.numpy(), jnp.float64) for name, t in theirs.state_dict().items()}
    ours.head.kernel[...], ours.head.bias[...] = state["head.weight"].T, state["head.bias"]  # pyright: ignore
    ours.mid.kernel[...], ours.mid.bias[...] = mid(state["mid.weight"]), state["mid.bias"]  # pyright: ignore
    rng = np.random.default_rng(2)
    pair = compare_programs(
        JaxProgram(ours, None, CROSS_ENTROPIES[1], optax.sgd(0.1), names=TWO),
        TorchProgram(theirs, CROSS_ENTROPIES[0], lambda params: torch.optim.SGD(params, 0.1)),
        [(rng.standard_normal((6, 3)), rng.integers(0, CLASSES, 6))],
    )
    pair.comparison.check()
    return [note for note in pair.verdicts if "was not what the mapping gives it" in note]


def test_weights_that_were_carried_over_wrongly_are_told_of() -> None:
    assert not carried(lambda weight: weight.T)
    (told,) = carried(lambda weight: weight)
    assert "its own mid.kernel, which had the transpose was not what the mapping gives it" in told
    (told,) = carried(lambda weight: weight.T + 1e-3)
    assert "its own mid.kernel was not" in told


def test_a_port_with_values_of_its_own_is_not_told_of() -> None:
    theirs = TorchProgram(Two(), CROSS_ENTROPIES[0])
    pair = compare_programs(
        JaxProgram(TwoPort(), None, CROSS_ENTROPIES[1], names=TWO), theirs,
        [(np.random.default_rng(2).standard_normal((6, 3)), np.zeros(6, int))],
    )  # fmt: skip
    assert not [note for note in pair.verdicts if "mapping gives" in note]


# Tied ---------------------------------------------------------------------------------------------


def test_tied_weights_that_a_port_trains_apart() -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(5, 3)
            self.head = torch.nn.Linear(3, 5, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, x):
            return self.head(self.embedding(x))

    def ours(params: Any, x: jax.Array) -> jax.Array:
        return params["embedding"][x] @ params.get("head", params["embedding"]).T

    torch.manual_seed(0)
    theirs = TorchProgram(Tied(), CROSS_ENTROPIES[0], lambda params: torch.optim.SGD(params, 0.1))
    rng = np.random.default_rng(0)
    data = [(rng.integers(0, 5, 8), rng.integers(0, 5, 8)) for _ in range(3)]
    table = np.ones((5, 3))
    one = JaxProgram(
        ours, {"embedding": table}, CROSS_ENTROPIES[1], optax.sgd(0.1),
        names={"embedding.weight": "embedding"},
    )  # fmt: skip
    compare_programs(one, theirs, data).comparison.check()
    two = JaxProgram(
        ours, {"embedding": table, "head": table}, CROSS_ENTROPIES[1], optax.sgd(0.1),
        names={"embedding.weight": "embedding", "head.weight": "head"},
    )  # fmt: skip
    pair = compare_programs(two, theirs, data)
    assert place(pair) == "gradients/embedding.weight[0, 0]"
    assert causes(pair) == ["untied:head.weight"]
