"""A module of PyTorch and a port of it in JAX that are the same are proved equal."""

import copy
import itertools
from collections.abc import Callable
from functools import partial

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
from shared.protocol.trace import phase_of
from tests.support.pair_cases import (
    CELLS,
    CLASSES,
    FEATURES,
    HIDDEN,
    NAMES,
    Classifier,
    Nnx,
    as_function,
    as_linen,
    as_nnx,
    batches,
    causes,
    check_equal,
    cross_entropy,
    dense,
    empty,
    function,
    lstm,
    original,
    place,
    port,
    sgd,
)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("container", [as_function, as_nnx, as_linen])
def test_ports_train_as_their_original(container: Callable, cell: str) -> None:
    theirs = original(cell, lambda params: torch.optim.Adam(params, 0.01))
    model, params = container(cell)
    ours = port(model, params, optax.adam(0.01))
    pair = compare_programs(ours, theirs, batches(), steps=40)
    check_equal(pair, 40)
    phases = {phase_of(name) for name in pair.comparison.deviations}
    assert phases == {
        "inputs", "before", "logits", "loss", "gradients", "norm", "moments", "weights",
        "evaluation",
    }  # fmt: skip
    for kind, torchs in itertools.product(("exp_avg", "exp_avg_sq"), NAMES):
        assert f"moments/{kind}.{torchs}" in pair.comparison.deviations
    assert pair.losses is not None
    assert pair.losses[1][-3:].sum() < pair.losses[1][:3].sum()


def test_one_layer_for_each_gate() -> None:
    def gates(params, x):
        kernels = {side: jnp.hstack([params[side][g]["kernel"] for g in "ifgo"]) for side in "xh"}
        biases = {side: jnp.hstack([params[side][g]["bias"] for g in "ifgo"]) for side in "xh"}
        inp, rec = (lambda v, s=s: v @ kernels[s] + biases[s] for s in "xh")
        return dense(params["head"])(lstm(inp, rec, x)[0])

    def gate(rows: int) -> dict:
        return {g: {"kernel": np.ones((rows, HIDDEN)), "bias": np.ones(HIDDEN)} for g in "ifgo"}

    params = {"x": gate(FEATURES), "h": gate(HIDDEN), "head": empty()["head"]}
    names = {
        "rnn.weight_ih_l0": tuple(f"x.{g}.kernel.T" for g in "ifgo"),
        "rnn.weight_hh_l0": [f"h.{g}.kernel.T" for g in "ifgo"],
        "rnn.bias_ih_l0": [f"x.{g}.bias" for g in "ifgo"],
        "rnn.bias_hh_l0": [f"h.{g}.bias" for g in "ifgo"],
        "head.weight": "head.kernel.T",
        "head.bias": "head.bias",
    }
    theirs = original(optimizer=sgd(momentum=0.9))
    ours = port(gates, params, optax.sgd(0.1, momentum=0.9), names=names)
    check_equal(compare_programs(ours, theirs, batches(), steps=10), 10)
    swapped = {**names, "rnn.bias_hh_l0": [f"h.{g}.bias" for g in "ifog"]}
    wrong = compare_programs(port(gates, params, names=swapped), original(), batches())
    assert place(wrong) == "logits/outputs[0, 0]"
    assert causes(wrong) == []  # one bias alone in another order is no known trap


class Two(torch.nn.Module):
    """Two inputs, one of them tokens, and several outputs; embedding and head share their weight,
    and a buffer scales."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(CLASSES, HIDDEN)
        self.head = torch.nn.Linear(HIDDEN, CLASSES, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.tensor([0.5, 0.25, 2.0]))

    def forward(self, tokens, x):
        seen = self.embed(tokens) * self.scale + x
        return {"logits": self.head(seen), "more": (seen.mean(), None)}


def test_several_inputs_and_outputs_shared_parameters_and_buffers() -> None:
    def two(params, tokens, x):
        seen = params["table"][tokens] * np.array([0.5, 0.25, 2.0]) + x
        return {"logits": seen @ params["table"].T, "more": (seen.mean(), None)}

    rng = np.random.default_rng(0)
    data = [
        ((rng.integers(0, CLASSES, 6), rng.standard_normal((6, HIDDEN))), np.arange(6) % CLASSES)
        for _ in range(2)
    ]
    theirs = TorchProgram(
        Two(),
        lambda out, y: torch.nn.functional.cross_entropy(out["logits"], y) + out["more"][0] ** 2,
        lambda params: torch.optim.Adam(params, 0.01),
    )
    ours = JaxProgram(
        two,
        {"table": np.ones((CLASSES, HIDDEN))},
        lambda out, y: cross_entropy(out["logits"], y) + out["more"][0] ** 2,
        optax.adam(0.01),
        names={"embed.weight": "table"},
    )
    pair = compare_programs(ours, theirs, data, steps=10)
    check_equal(pair, 10)
    assert {"inputs/0", "inputs/1", "logits/outputs.logits", "logits/outputs.more.0"} <= set(
        pair.comparison.deviations
    )


def test_a_list_of_inputs_is_several_inputs() -> None:
    data = [([x, x], y) for x, y in batches()]
    pair = compare_programs(port(), original(), data)
    assert "inputs/1" in pair.comparison.deviations
    check_equal(pair, 3)


def test_watched_layers_are_compared_before_what_follows_them() -> None:
    def watching(params, x, order):
        inp, rec = dense(params["inp"]), dense(params["rec"])
        states = [lstm(inp, rec, x[:, : t + 1], order) for t in range(x.shape[1])]
        h, c = states[-1]
        outputs = jnp.stack([h for h, _ in states], axis=1)
        seen = {"rnn.0": outputs, "rnn.1.0": h[None], "rnn.1.1": c[None]}
        return dense(params["head"])(h), seen

    theirs = original(watch=["rnn"])
    pair = compare_programs(port(partial(watching, order="ifgo"), watch=True), theirs, batches())
    check_equal(pair, 3)
    layers = [name for name in pair.comparison.deviations if phase_of(name) == "layers"]
    assert layers == ["layers/rnn.0", "layers/rnn.1.0", "layers/rnn.1.1"]
    wrong = port(partial(watching, order="ifog"), watch=True)
    pair = compare_programs(wrong, theirs, batches())
    assert place(pair) == "layers/rnn.0[0, 0, 0]"
    assert causes(pair) == ["gates:ifog"]
    with pytest.raises(InvalidInput, match=r"step 1: layers/rnn\.0: torch has it, jax has not"):
        compare_programs(port(), theirs, batches())


def test_real_targets_with_a_squared_error() -> None:
    data = [(x, np.random.default_rng(2).standard_normal((5, CLASSES))) for x, _ in batches()]
    theirs = TorchProgram(Classifier(), torch.nn.functional.mse_loss, sgd())
    ours = JaxProgram(
        function, empty(), lambda out, y: jnp.mean((out - y) ** 2), optax.sgd(0.1), names=NAMES
    )  # fmt: skip
    check_equal(compare_programs(ours, theirs, data, steps=10), 10)


def test_a_parameter_may_be_called_T() -> None:
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))

        def forward(self, x):
            return x @ self.scale

    theirs = TorchProgram(Scaled(), torch.nn.functional.cross_entropy)
    data = [(np.random.default_rng(0).standard_normal((3, 2)), np.array([0, 1, 1]))]
    for name, model in (("head.T", lambda p, x: x @ p["head"]["T"]),
                        ("head.T.T", lambda p, x: x @ p["head"]["T"].T)):  # fmt: skip
        ours = port(model, {"head": {"T": np.ones((2, 2))}}, names={"scale": name})
        compare_programs(ours, theirs, data).comparison.check()


def test_what_the_user_gave_stays_as_it_was() -> None:
    module = Classifier().eval()
    module.register_buffer("unused", torch.ones(2))
    flax = Nnx()
    params = empty()
    torchs = copy.deepcopy(module.state_dict())
    state = jax.tree.map(np.array, nnx.state(flax))
    theirs = original(module=module, optimizer=lambda params: torch.optim.Adam(params, 0.1))
    for ours in (port(flax, optimizer=optax.adam(0.1)), port(function, params, optax.adam(0.1))):
        compare_programs(ours, theirs, batches(), steps=5)
    assert not module.training
    for name, tensor in module.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, torchs[name]), name
    assert all(param.grad is None for param in module.parameters())
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.array, nnx.state(flax)), state)
    jax.tree.map(np.testing.assert_array_equal, params, empty())


def test_the_mode_of_a_module_is_kept() -> None:
    class Dropping(Classifier):
        def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
            return torch.nn.functional.dropout(super().forward(x), 0.5, self.training)

    module = Dropping()
    check_equal(compare_programs(port(), original(module=module.eval()), batches()), 3)
    pair = compare_programs(port(), original(module=module.train()), batches())
    assert place(pair).startswith("logits/")
    assert causes(pair) == []


def test_a_comparison_can_be_repeated() -> None:
    theirs = original(optimizer=sgd(momentum=0.9))
    ours = port(optimizer=optax.sgd(0.1, momentum=0.9))
    wrong = port(partial(function, cell=partial(lstm, order="ifog")))
    first = compare_programs(ours, theirs, batches(), steps=5)
    with pytest.raises(InvalidInput):
        compare_programs(wrong, theirs, batches(), steps=5)
    wrong = port(partial(function, cell=partial(lstm, order="ifog")), optimizer=optax.sgd(0.1))
    assert not compare_programs(wrong, theirs, batches(), steps=5).comparison.equal
    second = compare_programs(ours, theirs, batches(), steps=5)
    assert first.losses is not None
    assert second.losses is not None
    np.testing.assert_array_equal(first.losses, second.losses)
    assert first.comparison.deviations == second.comparison.deviations


def test_equal_up_to_a_tolerance_of_ones_own() -> None:
    ours = port(lambda p, x: function(p, x) * (1 + 1e-6))
    assert not compare_programs(ours, original(), batches()).comparison.equal
    pair = compare_programs(ours, original(), batches(), tolerance=1e-4)
    assert pair.comparison.equal
    assert pair.comparison.largest[0] > 1e-7


def test_what_is_shown_is_not_changed_by_what_comes_after() -> None:
    """A layer that works in place, and inputs that the module changes."""

    class InPlace(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Linear(3, 4)
            self.temperature = torch.nn.Parameter(torch.tensor(2.0))  # a scalar

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x.mul_(2)
            return torch.relu_(self.a(x)) * self.temperature

    def port(params: dict, x: jax.Array) -> tuple:
        a = 2 * x @ params["k"] + params["b"]
        return jax.nn.relu(a) * params["t"], {"a": a}

    names = {"a.weight": "k.T", "a.bias": "b", "temperature": "t"}
    params = {"k": np.zeros((3, 4)), "b": np.zeros(4), "t": np.zeros(())}
    theirs = TorchProgram(
        InPlace(),
        lambda y, t: ((y - t) ** 2).mean(),
        lambda p: torch.optim.SGD(p, 0.1),
        watch=["a"],
    )
    ours = JaxProgram(
        port, params, lambda y, t: ((y - t) ** 2).mean(), optax.sgd(0.1), names=names, watch=True
    )
    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal((5, 3)), rng.standard_normal((5, 4))) for _ in range(4)]
    compare_programs(ours, theirs, batches).comparison.check()
