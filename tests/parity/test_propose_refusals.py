"""Tests of what shared/parity/propose.py refuses: by name, and with both models as they were."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
import torch
from flax import linen, nnx
from torch import nn

import rnn_jax
from rnn_jax.arrays import arrays
from shared.errors import InvalidInput, OutputsDiffer
from shared.parity.propose import propose
from shared.system.randomness import generator
from tests.support import propose_ports as ports
from tests.support import propose_torch as models
from tests.support.propose_cases import case


def branches(change: Callable[[Any], None] = lambda ours: None, **options: Any) -> Any:
    """Proposes a mapping for two equal branches and a port that was changed."""
    one = case("branches")
    change(one.ours)
    return propose(one.theirs, one.ours, one.sample, show=False, **options)


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(InvalidInput) as error:
        call()
    return str(error.value)


WRONG: dict[str, dict[str, Any]] = {
    "a square kernel not transposed": {"mix.weight": "mix.kernel"},
    "the other branch's kernel": {"left.project.weight": "right.project.kernel.T"},
    "all of the other branch": {
        **{f"left.{name}": f"right.{place}" for name, place in (
            ("project.weight", "project.kernel.T"), ("project.bias", "project.bias"))},
        **{f"right.{name}": f"left.{place}" for name, place in (
            ("project.weight", "project.kernel.T"), ("project.bias", "project.bias"))},
    },
    "two biases": {"left.project.bias": "mix.bias", "mix.bias": "left.project.bias"},
    "scale for bias": {"left.norm.weight": "left.norm.bias", "left.norm.bias": "left.norm.scale"},
    "a gate in another's place": {
        "left.rnn.weight_hh_l0": [
            f"left.rnn.weight_hh_l0[{cut}]" for cut in ("6:12", "0:6", "12:18")
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_mapping_that_is_given_is_not_accepted(wrong: str) -> None:
    message = refused(lambda: branches(known=WRONG[wrong]))
    assert "expected the same outputs" in message or any(
        message.startswith(f"{name}: expected a place with which the outputs agree")
        for name in WRONG[wrong]
    )


def test_a_right_mapping_that_is_given_is_taken() -> None:
    names = branches(known={"mix.weight": "mix.kernel.T"})
    assert names.places["mix.weight"] == "mix.kernel.T"
    assert names.reasons["mix.weight"] == "known"


class OtherNorm(nn.Module):
    """What no port has: outputs that differ whatever the mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = models.Branches()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) ** 2


def test_models_that_compute_something_else_are_refused() -> None:
    message = refused(
        lambda: propose(OtherNorm(), ports.Branches(nnx.Rngs(0)), case("branches").sample)
    )
    assert "expected the same outputs" in message
    assert "the port computes something else" in message


def test_another_epsilon_is_said() -> None:
    def change(ours: Any) -> None:
        ours.left.norm.epsilon = 1e-4

    with pytest.warns(OutputsDiffer, match=r"agree within a relative \S+ only: another eps"):
        names = branches(change)
    assert 1e-9 < names.deviation < 1e-3
    assert str(names).endswith(names.caution)
    assert not branches().caution


def test_a_matrix_without_effect_is_asked_for_by_name() -> None:
    def call(**options: Any) -> Any:
        one = case("branches")
        return propose(one.theirs, one.ours, one.sample[:, :1], show=False, **options)

    message = refused(call)
    assert message.startswith(
        "left.rnn.weight_hh_l0, right.rnn.weight_hh_l0: expected an effect on the sample's "
        "outputs, got none"
    )
    known = {f"{side}.rnn.weight_hh_l0": f"{side}.rnn.weight_hh_l0" for side in ("left", "right")}
    assert call(known=known).reasons["left.rnn.weight_hh_l0"] == "known"


def test_a_bias_of_keys_has_no_effect_and_is_where_its_module_is() -> None:
    x = generator(0, "attention").standard_normal((2, 3, 6))
    theirs = nn.MultiheadAttention(6, 2, batch_first=True)
    names = propose(theirs, Attention(), (x, x, x), show=False)
    assert names.places["in_proj_bias"] == [f"{part}.bias" for part in ("q", "k", "v")]


class Attention(nnx.Module):
    """By hand, a layer for each of queries, keys and values."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.k, self.q, self.v = (nnx.Linear(6, 6, rngs=rngs) for _ in range(3))
        self.out = nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, q: Any, k: Any, v: Any) -> Any:
        q, k, v = self.q(q), self.k(k), self.v(v)
        heads = [part.reshape(2, 3, 2, 3) for part in (q, k, v)]
        scores = heads[0].swapaxes(1, 2) @ heads[1].transpose(0, 2, 3, 1) / 3**0.5
        shares = jax.nn.softmax(scores, axis=-1)
        mixed = (shares @ heads[2].swapaxes(1, 2)).swapaxes(1, 2).reshape(2, 3, 6)
        return self.out(mixed), shares.mean(1)


class Untied(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.embed = nnx.Embed(30, 8, rngs=rngs)
        self.lstm = rnn_jax.LSTM(8, 8, num_layers=2, rngs=rngs)
        self.head = nnx.Linear(8, 30, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        h, state = self.lstm(self.embed(x))
        return self.head(h), state


def test_an_untied_head_is_refused() -> None:
    one = case("language model")
    message = refused(lambda: propose(one.theirs, Untied(nnx.Rngs(0)), one.sample))
    assert message == (
        "theirs, ours: expected as many numbers in the parameters of both, got 1422 in torch and "
        "1662 in the port; nothing is like decoder of torch, head of the port; tied in torch: "
        "decoder.weight = encoder.weight"
    )


def test_a_parameter_that_one_side_lacks_is_named() -> None:
    def without_bias(ours: Any) -> None:
        ours.mix = nnx.Linear(6, 6, use_bias=False, rngs=nnx.Rngs(0))

    def with_another(ours: Any) -> None:
        ours.more = nnx.Linear(6, 3, rngs=nnx.Rngs(0))

    for change, lonely in (
        (without_bias, "mix of torch, mix of the port"),
        (with_another, "more of the port"),
    ):
        message = refused(lambda change=change: branches(change))
        assert message.endswith(f"nothing is like {lonely}")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no module of torch": ({"theirs": 3}, "theirs: expected a torch.nn.Module, got int"),
    "no port": ({"ours": 3}, "model: expected a function or an nnx.Module, got int"),
    "a function alone": (
        {"ours": lambda params, x: x},
        "params: expected the pytree of the function's parameters, got None"),
    "a module of linen": (
        {"ours": linen.Dense(3)},
        "model: expected a function or an nnx.Module, got Dense of flax.linen, which `lambda "
        'params, x: module.apply({"params": params}, x)` makes one of'),
    "text as sample": (
        {"sample": "hello"}, "sample: expected arrays of real numbers, got <U5 of shape ()"),
    "an empty sample": (
        {"sample": np.zeros((0, 3))},
        "sample: expected arrays of real numbers, got float64 of shape (0, 3)"),
    "an unknown name": (
        {"known": {"mix.wait": "mix.kernel"}}, "known: expected one of left.project.weight, "),
    "an unknown place": (
        {"known": {"mix.weight": "mix.colonel"}}, "names: mix.weight: expected one of "),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_refused(bad: str) -> None:
    arguments, message = BAD[bad]
    one = case("branches")
    whole = {"theirs": one.theirs, "ours": one.ours, "sample": one.sample} | arguments
    assert refused(lambda: propose(**whole)).startswith(message)


def test_a_refusal_leaves_both_models_as_they_were() -> None:
    one = case("speech")
    one.theirs.train()
    one.ours.train()
    state = {name: tensor.clone() for name, tensor in one.theirs.state_dict().items()}
    before = {path: np.asarray(array) for path, array in arrays(one.ours).items()}
    random = torch.get_rng_state()
    refused(
        lambda: propose(
            one.theirs, one.ours, one.sample, ours_sample=one.ours_sample,
            known={"fc.bias": "fc.bias", "conv.1.weight": "bn2.scale"},
        )
    )  # fmt: skip
    assert one.theirs.training
    assert all(part.training for part in one.theirs.modules())
    assert not one.ours.bn1.use_running_average
    assert torch.equal(random, torch.get_rng_state())
    for name, tensor in one.theirs.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    for path, array in arrays(one.ours).items():
        np.testing.assert_array_equal(array, before[path], err_msg=path)
