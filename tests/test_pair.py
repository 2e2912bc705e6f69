"""A module of PyTorch against a port of it in JAX: equal, or what differs and why, by name."""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import linen, nnx

from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.errors import InvalidInput
from shared.pair import Example, compare_programs
from shared.parity import Diverged
from shared.parity_report import Findings
from shared.trace import phase_of
from tests.test_imports import python

FEATURES, HIDDEN, CLASSES = 2, 3, 4
GATES = {"lstm": "ifgo", "gru": "rzn"}
NAMES: dict[str, Any] = {
    "rnn.weight_ih_l0": "inp.kernel.T",
    "rnn.weight_hh_l0": "rec.kernel.T",
    "rnn.bias_ih_l0": "inp.bias",
    "rnn.bias_hh_l0": "rec.bias",
    "head.weight": "head.kernel.T",
    "head.bias": "head.bias",
}


@pytest.fixture(autouse=True, scope="module")
def _quickly() -> Iterator[None]:
    """Compiling takes most of the time; docs/pair.md runs as for a user."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


# The original, and ports of it -------------------------------------------------------------------


class Classifier(torch.nn.Module):
    """Several inputs are allowed, of which it reads the first."""

    def __init__(self, cell: str = "lstm", features: int = FEATURES, classes: int = CLASSES):
        super().__init__()
        layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
        self.rnn = layer(features, HIDDEN, batch_first=True)
        self.head = torch.nn.Linear(HIDDEN, classes)

    def forward(self, x, *_):
        return self.head(self.rnn(x)[0][:, -1])


def lstm(inp, rec, x, order="ifgo", forget=0.0, cast=lambda h: h):
    """The last h and c. The gates' blocks stand in an order of their own: that is what most ports
    get wrong."""
    h = c = jnp.zeros((len(x), HIDDEN), x.dtype)
    for t in range(x.shape[1]):
        blocks = jnp.stack(jnp.split(inp(x[:, t]) + rec(h), 4, axis=-1))
        i, f, g, o = blocks[_positions(order, "ifgo")]
        c = jax.nn.sigmoid(f + forget) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = cast(jax.nn.sigmoid(o) * jnp.tanh(c))
    return h, c


def gru(inp, rec, x, order="rzn"):
    h = jnp.zeros((len(x), HIDDEN), x.dtype)
    for t in range(x.shape[1]):
        sides = (jnp.stack(jnp.split(side, 3, axis=-1)) for side in (inp(x[:, t]), rec(h)))
        (x_r, x_z, x_n), (h_r, h_z, h_n) = (side[_positions(order, "rzn")] for side in sides)
        r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        h = (1 - z) * jnp.tanh(x_n + r * h_n) + z * h
    return (h,)


def _positions(order, letters: str):
    """Where each gate stands, from "ifog" or from an array that says so itself."""
    return np.array([order.index(gate) for gate in letters]) if isinstance(order, str) else order


CELLS: dict[str, Callable[..., Any]] = {"lstm": lstm, "gru": gru}


def dense(params: Mapping[str, Any]) -> Callable[[Any], Any]:
    return lambda x: x @ params["kernel"] + params["bias"]


def function(params, x, *_, cell=lstm):
    """A port as a pure function."""
    layers = {name: dense(params[name]) for name in ("inp", "rec", "head")}
    return layers["head"](cell(layers["inp"], layers["rec"], x)[0])


def empty(cell: str = "lstm", features: int = FEATURES, classes: int = CLASSES) -> dict[str, Any]:
    width = len(GATES[cell]) * HIDDEN
    shapes = {"inp": (features, width), "rec": (HIDDEN, width), "head": (HIDDEN, classes)}
    return {k: {"kernel": np.ones(s), "bias": np.ones(s[1])} for k, s in shapes.items()}


class Nnx(nnx.Module):
    """The same as a module of Flax."""

    def __init__(self, cell: str = "lstm", **planted):
        width, rngs = len(GATES[cell]) * HIDDEN, nnx.Rngs(0)
        self.inp = nnx.Linear(FEATURES, width, rngs=rngs)
        self.rec = nnx.Linear(HIDDEN, width, rngs=rngs)
        self.head = nnx.Linear(HIDDEN, CLASSES, rngs=rngs)
        self._cell = partial(CELLS[cell], **planted)

    def __call__(self, x):
        return self.head(self._cell(self.inp, self.rec, x)[0])


class Linen(linen.Module):
    """The same as a module of Flax's older kind."""

    cell: str = "lstm"

    @linen.compact
    def __call__(self, x):
        width = len(GATES[self.cell]) * HIDDEN
        inp, rec = linen.Dense(width, name="inp"), linen.Dense(width, name="rec")
        return linen.Dense(CLASSES, name="head")(CELLS[self.cell](inp, rec, x)[0])


def as_function(cell: str) -> Any:
    return partial(function, cell=CELLS[cell]), empty(cell)


def as_nnx(cell: str) -> Any:
    return Nnx(cell), None


def as_linen(cell: str) -> Any:
    module = Linen(cell)
    params = module.init(jax.random.key(0), jnp.ones((1, 1, FEATURES)))["params"]
    return lambda params, x: module.apply({"params": params}, x), params


def cross_entropy(logits, targets):
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


def batches(features: int = FEATURES, count: int = 3, classes: int = CLASSES) -> list:
    rng = np.random.default_rng(1)
    return [
        (rng.standard_normal((5, 2, features)), rng.integers(0, classes, 5)) for _ in range(count)
    ]


def original(cell: str = "lstm", optimizer: Any = None, module: Any = None, **options):
    torch.manual_seed(0)
    module = module or Classifier(cell)
    return TorchProgram(module, torch.nn.functional.cross_entropy, optimizer, **options)


def port(model: Any = function, params: Any = None, optimizer: Any = None, **options) -> JaxProgram:
    if params is None and not isinstance(model, nnx.Module):
        params = empty()
    return JaxProgram(
        model, params, cross_entropy, optimizer, **{"names": NAMES, **options}
    )  # fmt: skip


def causes(pair: Findings) -> list[str]:
    return pair.diagnosis.causes if pair.diagnosis else []


def place(pair: Findings) -> str:
    assert pair.comparison.difference is not None
    return pair.comparison.difference.place


# Equal -------------------------------------------------------------------------------------------


def check_equal(pair: Findings, steps: int) -> None:
    pair.comparison.check()
    assert pair.comparison.steps == list(range(1, steps + 1))
    assert pair.diagnosis is None
    assert not pair.hints
    assert pair.losses is not None
    assert len(pair.losses[0]) == steps
    verdict, *notes = pair.verdicts
    left = ", ".join(sorted(pair.comparison.left_out))
    assert notes == ([f"note: not compared, since only one side shows it: {left}"] if left else [])
    assert verdict.startswith(f"proved in float64: equal within 1e-09: {steps} steps, ")


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
    }  # fmt: skip
    for kind, torchs in itertools.product(("exp_avg", "exp_avg_sq"), NAMES):
        assert f"moments/{kind}.{torchs}" in pair.comparison.deviations
    assert pair.losses is not None
    assert pair.losses[1][-3:].sum() < pair.losses[1][:3].sum()


def sgd(**options) -> Callable:
    return lambda params: torch.optim.SGD(params, 0.1, **options)


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
    assert causes(pair) == []


def test_real_targets_with_a_squared_error() -> None:
    data = [(x, np.random.default_rng(2).standard_normal((5, CLASSES))) for x, _ in batches()]
    theirs = TorchProgram(Classifier(), torch.nn.functional.mse_loss, sgd())
    ours = JaxProgram(
        function, empty(), lambda out, y: jnp.mean((out - y) ** 2), optax.sgd(0.1), names=NAMES
    )  # fmt: skip
    check_equal(compare_programs(ours, theirs, data, steps=10), 10)


def test_without_an_optimizer_the_gradients_are_the_last() -> None:
    pair = compare_programs(port(), original(), batches(), steps=4)
    check_equal(pair, 4)
    assert list(pair.comparison.deviations)[-1] == "norm/norm"
    with pytest.raises(InvalidInput, match=r"weights/\S+: jax has it, torch has not"):
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
    assert place(pair) == "gradients/rnn.weight_hh_l0[0, 0]"
    assert causes(pair) == []


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
        def forward(self, x):
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


# Planted bugs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=list(CELLS))
def reader(request: pytest.FixtureRequest) -> tuple[str, JaxProgram, TorchProgram]:
    """A port that reads the gates in the order its second input says: compiled once for all."""
    ours = port(
        lambda params, x, order: function(
            params, x, cell=partial(CELLS[request.param], order=order)
        ),
        empty(request.param),
    )
    return request.param, ours, original(request.param)


def test_every_order_of_the_gates_is_named(reader: tuple[str, JaxProgram, TorchProgram]) -> None:
    cell, ours, theirs = reader
    letters = GATES[cell]
    count = 0
    for order in map("".join, itertools.permutations(letters)):
        data = [((x, _positions(order, letters)), y) for x, y in batches(count=1)]
        pair = compare_programs(ours, theirs, data)
        if order == letters:
            check_one_equal_step(pair)
            continue
        count += 1
        assert place(pair) == "logits/outputs[0, 0]", order
        assert causes(pair) == [f"gates:{order}"]
        read = " ".join(order)
        (line,) = (line for line in pair.verdicts if line.startswith("cause: "))
        assert f"gates are read in the order {read}, not {' '.join(letters)} (" in line
    assert count == {"lstm": 23, "gru": 5}[cell]


def check_one_equal_step(pair: Findings) -> None:
    pair.comparison.check()
    assert pair.diagnosis is None


def swapped_kernel(kernel: Any) -> Any:
    return jnp.hstack([block.T for block in jnp.split(kernel, kernel.shape[1] // HIDDEN, 1)])


def transposing(layer: str, params, x):
    turned = params[layer] | {"kernel": swapped_kernel(params[layer]["kernel"])}
    return function({**params, layer: turned}, x)


def test_one_added_to_the_forget_gate_is_named() -> None:
    ours = port(partial(function, cell=partial(lstm, forget=1.0)))
    pair = compare_programs(ours, original(), batches())
    assert causes(pair) == ["forget-bias"]


def test_recurrent_weights_read_transposed_are_named() -> None:
    pair = compare_programs(port(partial(transposing, "rec")), original(), batches())
    assert causes(pair) == ["transposed:rnn.weight_hh_l0"]
    assert "rnn.weight_hh_l0 is read transposed" in " ".join(pair.verdicts)


def test_square_input_weights_read_transposed_are_named() -> None:
    ours = port(partial(transposing, "inp"), empty(features=HIDDEN))
    module = Classifier(features=HIDDEN)
    assert causes(compare_programs(ours, original(module=module), batches(HIDDEN))) == [
        "transposed:rnn.weight_ih_l0"
    ]


def test_a_forgotten_T_at_a_square_weight_is_named() -> None:
    """Nothing but the values tells: the shape is the same."""
    ours = port(params=empty(classes=HIDDEN), names={**NAMES, "head.weight": "head.kernel"})
    pair = compare_programs(
        ours, original(module=Classifier(classes=HIDDEN)), batches(classes=HIDDEN)
    )  # fmt: skip
    assert causes(pair) == ["transposed:head.weight"]


class CellPair(torch.nn.Module):
    """A cell in a loop, under a name that looks like a part of torch's names."""

    def __init__(self):
        super().__init__()
        self.bias_ih_layer = torch.nn.LSTMCell(FEATURES, HIDDEN)
        self.head = torch.nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        state: Any = None
        for t in range(x.shape[1]):
            state = self.bias_ih_layer(x[:, t], state)
        return self.head(state[0])


@pytest.mark.parametrize(
    ("planted", "cause"), [({"order": "ifog"}, "gates:ifog"), ({"forget": 1.0}, "forget-bias")]
)
def test_causes_are_found_in_cells_and_under_any_name(planted: dict, cause: str) -> None:
    names = {
        name.replace("rnn.", "bias_ih_layer.").replace("_l0", ""): place
        for name, place in NAMES.items()
    }
    ours = port(partial(function, cell=partial(lstm, **planted)), names=names)
    assert causes(compare_programs(ours, original(module=CellPair()), batches())) == [cause]


def test_a_layer_in_a_module_whose_name_ends_in_h() -> None:
    """`path_lstm.weight_ih_l0` has h_l twice."""

    class Path_(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.path_lstm = torch.nn.LSTM(FEATURES, HIDDEN, batch_first=True)
            self.head = torch.nn.Linear(HIDDEN, CLASSES)

        def forward(self, x):
            return self.head(self.path_lstm(x)[0][:, -1])

    names = {name.replace("rnn.", "path_lstm."): place for name, place in NAMES.items()}
    ours = port(partial(function, cell=partial(lstm, order="iofg")), names=names)
    assert causes(compare_programs(ours, original(module=Path_()), batches())) == ["gates:iofg"]


def test_two_layers_of_which_both_are_misread() -> None:
    class Deep(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.LSTM(FEATURES, HIDDEN, 2, batch_first=True, bidirectional=False)
            self.head = torch.nn.Linear(HIDDEN, CLASSES)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    def deep(params, x):
        for layer in ("0", "1"):
            inp, rec = dense(params[layer]["inp"]), dense(params[layer]["rec"])
            states = [lstm(inp, rec, x[:, : t + 1], order="igfo")[0] for t in range(x.shape[1])]
            x = jnp.stack(states, axis=1)
        return dense(params["head"])(x[:, -1])

    params = {"0": empty(), "1": empty(features=HIDDEN), "head": empty()["head"]}
    for layer in "01":
        del params[layer]["head"]
    names: dict[str, Any] = {
        name.replace("_l0", f"_l{layer}"): f"{layer}.{place}"
        for name, place in NAMES.items()
        if "rnn." in name
        for layer in "01"
    }
    names |= {name: place for name, place in NAMES.items() if "head" in name}
    pair = compare_programs(port(deep, params, names=names), original(module=Deep()), batches())
    assert causes(pair) == ["gates:igfo"]


def in_float32(h):
    return h.astype(jnp.float32).astype(h.dtype)  # planted here


def planted_line() -> str:
    lines = Path(__file__).read_text().splitlines()
    (at,) = (i for i, line in enumerate(lines, 1) if line.endswith("# planted here"))
    return f"{__file__}:{at} (in_float32)"


def hints(pair: Findings) -> list[str]:
    assert [f"hint: {hint}" for hint in pair.hints] == [v for v in pair.verdicts if "hint: " in v]
    return list(pair.hints)


def test_a_cast_to_float32_is_shown_by_its_line() -> None:
    ours = port(partial(function, cell=partial(lstm, cast=in_float32)))
    pair = compare_programs(ours, original(), batches())
    assert not pair.comparison.equal
    assert causes(pair) == []
    assert hints(pair) == [f"float32 inside float64: {planted_line()}"]


def test_casts_are_found_in_modules_loops_and_the_loss() -> None:
    def scanned(params, x):
        step = jax.jit(lambda total, part: (total + in_float32(part), None))
        total, _ = jax.lax.scan(step, jnp.zeros_like(x[:, 0]), jnp.swapaxes(x, 0, 1))
        return function(params, total[:, None])

    line = f"float32 inside float64: {planted_line()}"
    models = [(scanned, None), (Nnx(cast=in_float32), None)]
    for model, params in models:
        pair = compare_programs(port(model, params), original(), batches())
        assert hints(pair) == [line]
    ours = JaxProgram(
        function, empty(), lambda out, y: cross_entropy(in_float32(out), y), names=NAMES
    )  # fmt: skip
    pair = compare_programs(ours, original(), batches())
    assert hints(pair) == [line]
    assert place(pair).startswith("loss/")


def test_the_line_of_a_cast_is_the_users_not_flaxs() -> None:
    class Half(Nnx):
        def __call__(self, x):
            return self.head(self._cell(self.inp, self.rec, x)[0]).astype(x.dtype)  # called here

    model = Half()
    model.head.dtype = jnp.float32
    pair = compare_programs(port(model), original(), batches())
    (hint,) = hints(pair)
    lines = Path(__file__).read_text().splitlines()
    (at,) = (i for i, line in enumerate(lines, 1) if line.endswith("# called here"))
    assert f"{__file__}:{at} (" in hint


def test_a_single_bias_is_hinted_at() -> None:
    def single(params, x):
        rec = {"kernel": params["rec"]["kernel"], "bias": 0.0}
        return function({**params, "rec": rec}, x)

    params = empty()
    del params["rec"]["bias"]
    names = {**NAMES, "rnn.bias_hh_l0": None}
    ours = port(single, params, optax.sgd(0.1), names=names)
    pair = compare_programs(ours, original(optimizer=sgd()), batches())
    assert place(pair) == "before/rnn.bias_hh_l0[0]"
    assert causes(pair) == []
    assert hints(pair) == ["jax has no rnn.bias_hh_l0, which PyTorch trains"]
    module = Classifier()
    torch.nn.init.zeros_(module.rnn.bias_hh_l0)
    pair = compare_programs(ours, original(module=module, optimizer=sgd()), batches())
    assert place(pair) == "gradients/rnn.bias_hh_l0[0]"
    assert causes(pair) == []
    assert hints(pair) == ["jax has no rnn.bias_hh_l0, which PyTorch trains"]
    module.rnn.bias_hh_l0.requires_grad_(False)
    pair = compare_programs(ours, original(module=module, optimizer=sgd()), batches(), steps=5)
    check_equal(pair, 5)


def check_no_claim(pair: Findings) -> None:
    """The difference, and nothing that would explain it."""
    verdict, *notes = pair.verdicts
    left = ", ".join(sorted(pair.comparison.left_out))
    assert notes == ([f"note: not compared, since only one side shows it: {left}"] if left else [])
    assert verdict.startswith("NOT equal: first difference at step ")
    assert pair.diagnosis is not None
    assert not pair.diagnosis.rounding


def test_another_epsilon_is_seen_in_the_weights_and_no_cause_is_invented() -> None:
    theirs = original(optimizer=lambda params: torch.optim.Adam(params, 0.01))
    ours = port(optimizer=optax.adam(0.01, eps=1e-6))
    pair = compare_programs(ours, theirs, batches())
    assert place(pair) == "weights/head.bias[0]"
    for name, deviations in pair.comparison.deviations.items():
        assert phase_of(name) in ("before", "weights") or deviations[0] < 1e-12, name
    assert causes(pair) == []
    check_no_claim(pair)


MEMORIES: dict[str, tuple[Callable, optax.GradientTransformation, int, str]] = {
    "momentum": (
        sgd(momentum=0.9), optax.sgd(0.1, momentum=0.8), 2, "moments/momentum_buffer.head.bias[0]",
    ),
    "a schedule": (
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
    check_no_claim(pair)
    if memory == "momentum":
        pair = compare_programs(
            port(optimizer=optaxs), theirs, batches(), steps=6, suspects=suspects
        )  # fmt: skip
        assert causes(pair) == ["the optimizer"]


def test_suspects_of_ones_own() -> None:
    theirs = original(optimizer=lambda params: torch.optim.Adam(params, 0.01))
    suspects = {
        "eps": port(optimizer=optax.adam(0.01)),
        "decay": port(optimizer=optax.adamw(0.01, eps=1e-6)),
        "gates": port(partial(function, cell=partial(lstm, order="ifog")), None, optax.adam(0.01)),
    }
    ours = port(optimizer=optax.adam(0.01, eps=1e-6))
    pair = compare_programs(ours, theirs, batches(), suspects=suspects)
    assert causes(pair) == ["eps"]
    assert pair.diagnosis is not None
    assert [finding.name for finding in pair.diagnosis.findings] == ["eps", "decay", "gates"]
    assert pair.verdicts[1].startswith("cause: eps: the program given for it (with it")
    del suspects["eps"]
    pair = compare_programs(ours, theirs, batches(), suspects=suspects)
    assert causes(pair) == []
    assert pair.verdicts[1:] == ["cause: not found among those that could play a part (2 tried)"]


def test_the_batch_that_differs_is_the_one_looked_at() -> None:
    """The second of three holds what the port leaves out."""
    data = batches()
    data[1][0][0, 0, 0] = 10.0
    clamped = port(lambda params, x: function(params, jnp.minimum(x, 5.0)), None, optax.sgd(0.1))
    suspects = {"minimum": port(optimizer=optax.sgd(0.1))}
    theirs = original(optimizer=sgd())
    pair = compare_programs(clamped, theirs, data, steps=6, suspects=suspects)
    assert pair.comparison.difference is not None
    assert pair.comparison.difference.step == 2
    assert causes(pair) == ["minimum"]


def test_rounding_that_grows_is_called_so() -> None:
    """Gradient descent as the logistic map w → 4w(1 - w): each step doubles a deviation."""

    class Chaos(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.tensor([0.3, 0.7123]))

        def forward(self, x):
            return x * (4 / 3 * self.w**3 - 1.5 * self.w**2)

    def chaos(params, x):
        w = params["w"]
        return x * w * (w * (4 * w / 3) - w - w / 2)

    step = lambda params: torch.optim.SGD(params, 1.0)  # noqa: E731
    theirs = TorchProgram(Chaos(), lambda out, _: out.sum(), step)
    ours = JaxProgram(
        chaos, {"w": np.ones(2)}, lambda out, _: out.sum(), optax.sgd(1.0), names={"w": "w"}
    )  # fmt: skip
    pair = compare_programs(ours, theirs, [(np.ones(1), np.ones(1))], steps=60)
    assert pair.comparison.difference is not None
    assert 10 < pair.comparison.difference.step < 60
    assert pair.diagnosis is not None
    assert pair.diagnosis.rounding
    assert causes(pair) == []
    assert "what differs is rounding that the steps have added up" in pair.verdicts[1]


def test_a_difference_raises_where_it_is_checked() -> None:
    pair = compare_programs(port(lambda p, x: 2 * function(p, x)), original(), batches())
    with pytest.raises(Diverged, match=r"first difference at step 1: logits/outputs\[0, 0\]"):
        pair.comparison.check()
    assert "cause: none of the 3 known traps" in pair.verdicts[1]


# Bad input ---------------------------------------------------------------------------------------

BAD_NAMES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown place": (
        {**NAMES, "head.bias": "head.b"},
        "names: head.bias: expected one of head.bias, head.kernel, inp.bias, inp.kernel, rec.bias, "
        "rec.kernel, got head.b",
    ),
    "twice": (
        {**NAMES, "rnn.bias_hh_l0": "inp.bias"},
        "names: rnn.bias_hh_l0: inp.bias has a twin already",
    ),
    "twice in one": (
        {**NAMES, "rnn.bias_hh_l0": ["rec.bias", "rec.bias"]},
        "names: rnn.bias_hh_l0: rec.bias has a twin already",
    ),
    "left out": (
        {k: v for k, v in NAMES.items() if "head" not in k},
        "names: expected a twin for head.bias, head.kernel, got none",
    ),
    "not named": (
        {**{k: v for k, v in NAMES.items() if k != "head.bias"}, "bias": "head.bias"},
        "names: expected a place for head.bias (None if there is none)",
    ),
    "not there": (
        {**NAMES, "tail.bias": None}, "names: tail.bias is no parameter of the other program",
    ),
    "not transposed": (
        {**NAMES, "head.weight": "head.kernel"},
        "names: head.weight: expected shape (3, 4) for head.kernel, got (4, 3)",
    ),
    "transposed": (
        {**NAMES, "head.weight": "rec.kernel.T", "rnn.weight_hh_l0": "head.kernel.T"},
        "names: rnn.weight_hh_l0: expected shape (3, 4) for head.kernel, got (3, 12) after "
        "transposing",
    ),
}  # fmt: skip


def check_message(error: pytest.ExceptionInfo, expected: str) -> None:
    assert str(error.value) == expected


@pytest.mark.parametrize("case", BAD_NAMES)
def test_names_that_do_not_fit(case: str) -> None:
    names, expected = BAD_NAMES[case]
    with pytest.raises(InvalidInput) as error:
        compare_programs(port(names=names), original(), batches())
    check_message(error, expected)


X, Y = batches()[0]
BAD_BATCHES: dict[str, tuple[Any, str]] = {
    "none": ([], "batches: expected (inputs, targets) at least once, got none"),
    "one instead of a list": ((X, Y), "batches[0]: expected (inputs, targets), got ndarray"),
    "nan": ([(X, Y), (X * np.nan, Y)], "batches[1]: expected finite numbers, got nan"),
    "infinite targets": ([(X, np.array([np.inf]))], "batches[0]: expected finite numbers, got inf"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_BATCHES)
def test_batches_that_cannot_be_used(case: str) -> None:
    data, expected = BAD_BATCHES[case]
    with pytest.raises(InvalidInput) as error:
        compare_programs(port(), original(), data)
    check_message(error, expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"steps": 0}, "steps: expected a positive number, got 0"),
        ({"steps": -1}, "steps: expected a positive number, got -1"),
        ({"tolerance": float("nan")}, "tolerance: expected a number in [0, 1), got nan"),
        ({"tolerance": -1e-9}, "tolerance: expected a number in [0, 1), got -1e-09"),
    ],
)
def test_options_that_mean_nothing(options: dict, expected: str) -> None:
    with pytest.raises(InvalidInput) as error:
        compare_programs(port(), original(), batches(), **options)
    check_message(error, expected)


def test_the_program_in_jax_cannot_come_second() -> None:
    with pytest.raises(
        InvalidInput, match="jax begins with the weights of the other program: expected JAX first"
    ):
        compare_programs(original(), port(), batches())


def test_what_is_watched_must_be_there() -> None:
    with pytest.raises(InvalidInput) as error:
        original(watch=["lstm"])
    check_message(error, "watch: expected names of submodules, got lstm")
    with pytest.raises(InvalidInput) as error:
        compare_programs(port(watch=True), original(), batches())
    check_message(error, "watch: expected a function that returns (outputs, dict)")


# Precision ---------------------------------------------------------------------------------------

FRESH = """
import jax, numpy as np, optax, torch
from tests.test_pair import *

def pair(dtype, **options):
    theirs = original(optimizer=sgd(), dtype=getattr(torch, dtype))
    ours = port(optimizer=optax.sgd(0.1), dtype=dtype)
    return compare_programs(ours, theirs, batches(), **options)

assert not jax.config.jax_enable_x64
print(pair("float32", tolerance=1e-5).verdicts[0])
assert not jax.config.jax_enable_x64
print(pair("float64").verdicts[0])
assert jax.config.jax_enable_x64
"""


def test_float64_is_switched_on_for_the_process_and_float32_leaves_it_off() -> None:
    ran = python(FRESH)
    assert ran.returncode == 0, ran.stderr
    single, double = ran.stdout.splitlines()
    assert single.startswith("in float32: equal within 1e-05: 3 steps, ")
    assert double.startswith("proved in float64: equal within 1e-09: 3 steps, ")


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


def test_a_loss_that_is_no_number_is_refused() -> None:
    theirs = TorchProgram(torch.nn.Linear(2, 2), lambda y, t: (y - t) ** 2)
    with pytest.raises(InvalidInput, match=r"loss: expected one number, got shape \(3, 2\)"):
        theirs.step(Example((np.ones((3, 2)),), np.ones((3, 2))))
