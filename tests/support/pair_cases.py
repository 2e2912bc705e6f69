"""A module of PyTorch and ports of it in JAX, for the tests of pairs."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import linen, nnx

from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.parity import Findings, compare_programs

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


def check_equal(pair: Findings, steps: int, *told: str) -> None:
    """Equal over all steps, with nothing told beside the verdict but this, and what the steps did
    not exercise."""
    pair.comparison.check()
    assert pair.comparison.steps == list(range(1, steps + 1))
    assert pair.diagnosis is None
    assert list(pair.hints) == list(told)
    assert pair.losses is not None
    assert len(pair.losses[0]) == steps
    verdict, *notes = pair.verdicts
    expected = [f"not exercised: {gap.described}" for gap in pair.gaps]
    expected += [f"note: {note}" for note in told]
    if left := ", ".join(sorted(pair.comparison.left_out)):
        expected.append(f"note: not compared, since only one side shows it: {left}")
    assert notes == expected
    assert verdict.startswith(f"proved in float64: equal within 1e-09: {steps} steps, ")


def sgd(**options) -> Callable:
    return lambda params: torch.optim.SGD(params, 0.1, **options)


# A linear layer, for what needs no recurrence: it compiles at once --------------------------------

PLAIN = {"weight": "kernel.T", "bias": "bias"}
CROSS_ENTROPIES = (torch.nn.functional.cross_entropy, cross_entropy)


def same(y: Any) -> Any:
    return y


class Plain(torch.nn.Linear):
    """`after` makes the outputs of what the layer gives."""

    def __init__(self, after: Callable[[Any], Any] = same):
        super().__init__(FEATURES, CLASSES)
        self.after = after

    def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.after(super().forward(x))


def plain(after: Callable[[Any], Any] = same) -> Callable[..., Any]:
    return lambda params, x: after(dense(params)(x))


def plain_batches(count: int = 2) -> list:
    rng = np.random.default_rng(2)
    return [(rng.standard_normal((6, FEATURES)), rng.integers(0, CLASSES, 6)) for _ in range(count)]


def compare_plain(
    module: Any = None,
    function: Any = None,
    losses: tuple[Any, Any] = CROSS_ENTROPIES,
    optimizers: tuple[Any, Any] = (None, None),
    data: Any = None,
    **options: Any,
) -> Findings:
    """The layer against its port, each with changes of its own."""
    params = {"kernel": np.ones((FEATURES, CLASSES)), "bias": np.ones(CLASSES)}
    ours = JaxProgram(
        function or plain(), params, losses[1], optimizers[1], names=PLAIN, watch="watch" in options
    )
    torch.manual_seed(0)
    theirs = TorchProgram(module or Plain(), losses[0], optimizers[0], **options)
    return compare_programs(ours, theirs, data or plain_batches())
