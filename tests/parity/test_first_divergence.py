"""The first submodule of a port that differs from its twin is named."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from jax import Array
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnn_jax import captures as ours
from rnn_jax.arrays import arrays, with_arrays
from rnn_torch import captures as theirs
from shared.parity.submodules import Divergence, first_divergence, pairs, paths
from shared.protocol.mapping import WeightMap
from shared.protocol.program import Call

B, T, F, H, O = 3, 4, 2, 5, 6
TOLERANCE = 1e-9


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(F, H, 3, padding=1)
        self.norm = nn.LayerNorm(H)

    def forward(self, x):
        return self.norm(torch.relu(self.conv(x.mT)).mT)


class Original(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.lstm = nn.LSTM(H, H, batch_first=True)
        self.cell = nn.GRUCell(H, H)
        self.head = nn.Linear(H, O)

    def forward(self, x, lengths):
        x = self.encoder(x)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        packed, (h, _) = self.lstm(packed)
        y, _ = pad_packed_sequence(packed, batch_first=True)
        h = h[0]
        for t in range(T):
            h = self.cell(y[:, t], h)
        return self.head(h)


class PortEncoder(nnx.Module):
    def __init__(self, wrong: str, wide: dict[str, Any]) -> None:
        self.wrong = wrong
        self.filter = nnx.Conv(F, H, 3, **wide)
        self.ln = nnx.LayerNorm(H, epsilon=1e-3 if wrong == "norm" else 1e-5, **wide)

    def __call__(self, x: Array) -> Array:
        x = self.filter(x)
        x = jax.nn.silu(x) if self.wrong == "activation" else jax.nn.relu(x)
        return self.ln(x) * (1.01 if self.wrong == "after norm" else 1.0)


class Lstm(nnx.Module):
    """Runs on into the padding, and returns (c, h) as Flax does."""

    def __init__(self, wrong: str, wide: dict[str, Any]) -> None:
        self.order = "ifog" if wrong == "gates" else "ifgo"
        self.inp, self.rec = nnx.Linear(H, 4 * H, **wide), nnx.Linear(H, 4 * H, **wide)

    def __call__(self, x: Array, lengths: Array) -> tuple[tuple[Array, Array], Array]:
        h = c = jnp.zeros((B, H))
        found = []
        for t in range(x.shape[1]):
            gates = jnp.split(self.inp(x[:, t]) + self.rec(h), 4, -1)
            i, f, g, o = (gates[self.order.index(gate)] for gate in "ifgo")
            new_c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            new_h = jax.nn.sigmoid(o) * jnp.tanh(new_c)
            alive = (t < lengths)[:, None]
            h, c = jnp.where(alive, new_h, h), jnp.where(alive, new_c, c)
            found.append(new_h)
        return (c, h), jnp.stack(found)  # time first


class Gru(nnx.Module):
    def __init__(self, wide: dict[str, Any]) -> None:
        self.inp, self.rec = nnx.Linear(H, 3 * H, **wide), nnx.Linear(H, 3 * H, **wide)

    def __call__(self, h: Array, x: Array) -> Array:
        r, z, n = jnp.split(self.inp(x), 3, -1)
        s, y, m = jnp.split(self.rec(h), 3, -1)
        z = jax.nn.sigmoid(z + y)
        return (1 - z) * jnp.tanh(n + jax.nn.sigmoid(r + s) * m) + z * h


class Port(nnx.Module):
    def __init__(self, wrong: str = "") -> None:
        wide: dict[str, Any] = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
        self.wrong = wrong
        self.enc = PortEncoder(wrong, wide)
        self.lstm, self.cell = Lstm(wrong, wide), Gru(wide)
        self.out = nnx.Linear(H, O, **wide)

    def __call__(self, x: Array, lengths: Array) -> Array:
        (c, h), y = self.lstm(self.enc(x), lengths)
        y = jnp.where((jnp.arange(T)[:, None] < lengths)[..., None], y, 0)
        h = c if self.wrong == "states" else h
        for t in range(T):
            h = self.cell(h, y[t] * (0.5 if self.wrong == "third" and t == 2 else 1.0))
        if self.wrong == "before head":
            h = h + 1e-6
        return self.out(h) * (2.0 if self.wrong == "after head" else 1.0)


NAMES: dict[str, Any] = {
    "encoder.conv.weight": "enc.filter.kernel OIW->WIO", "encoder.conv.bias": "enc.filter.bias",
    "encoder.norm.weight": "enc.ln.scale", "encoder.norm.bias": "enc.ln.bias",
    "lstm.weight_ih_l0": "lstm.inp.kernel.T", "lstm.weight_hh_l0": "lstm.rec.kernel.T",
    "lstm.bias_ih_l0": "lstm.inp.bias", "lstm.bias_hh_l0": "lstm.rec.bias",
    "cell.weight_ih": "cell.inp.kernel.T", "cell.weight_hh": "cell.rec.kernel.T",
    "cell.bias_ih": "cell.inp.bias", "cell.bias_hh": "cell.rec.bias",
    "head.weight": "out.kernel.T", "head.bias": "out.bias",
}  # fmt: skip


def in_numpy(calls: list[Call]) -> list[Call]:
    def both(tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {name: np.asarray(tensor) for name, tensor in tensors.items()}

    return [call._replace(inputs=both(call.inputs), outputs=both(call.outputs)) for call in calls]


def run(wrong: str = "") -> tuple[list[Call], list[Call], dict[str, str], dict[str, str]]:
    """Calls of port and original, the pairs, and the original's classes."""
    torch.manual_seed(0)
    original, port = Original().double(), Port(wrong)
    shapes = {path: array.shape for path, array in arrays(port).items()}
    bound = WeightMap(NAMES).bind(shapes)
    weights = {n: p.detach().numpy() + 0.1 for n, p in original.named_parameters()}
    original.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    with_arrays(port, bound.to_port(weights))
    graph, state = nnx.split(port)
    x, lengths = np.random.default_rng(0).standard_normal((B, T, F)), np.array([4, 2, 3])

    def traced(state: Any, x: Array, lengths: Array) -> list[Call]:
        with ours.captured(merged := nnx.merge(graph, state)) as calls:
            merged(x, lengths)
        return calls

    mine = in_numpy(jax.jit(traced)(state, x, lengths))
    with theirs.captured(original) as calls:
        original(torch.tensor(x), torch.tensor(lengths))
    calls = in_numpy(calls)
    places = {n: [p.path for p in parts if p is not None] for n, parts in bound.parts.items()}
    kinds = theirs.kinds(original)
    found = pairs(places, paths(mine, ours.kinds(port)), paths(calls, kinds))
    return mine, calls, found, kinds


def test_a_port_that_computes_the_same_diverges_nowhere() -> None:
    mine, calls, found, kinds = run()
    assert found == {
        "encoder.conv": "enc.filter", "encoder.norm": "enc.ln", "encoder": "enc", "lstm": "lstm",
        "cell": "cell", "head": "out", "": "",
    }  # fmt: skip
    assert first_divergence(mine, calls, found, TOLERANCE, kinds) is None
    noise = np.random.default_rng(0)
    noisy = [
        c._replace(outputs={n: a + 1e-13 * noise.random(a.shape) for n, a in c.outputs.items()})
        for c in mine
    ]
    assert first_divergence(noisy, calls, found, TOLERANCE, kinds) is None


PLANTED: dict[str, tuple[str, bool, int, str]] = {
    "activation": (
        "encoder.norm", False, 1,
        "between encoder.conv (Conv1d) and encoder.norm (LayerNorm): outputs of encoder.conv "
        "agree, inputs of encoder.norm differ",
    ),
    "norm": (
        "encoder.norm", True, 1, "inside encoder.norm (LayerNorm): inputs agree, outputs differ",
    ),
    "after norm": (
        "encoder", True, 1,
        "inside encoder (Encoder), after encoder.norm (LayerNorm): outputs of encoder.norm agree, "
        "outputs of encoder differ",
    ),
    "gates": ("lstm", True, 1, "inside lstm (LSTM): inputs agree, outputs differ"),
    "states": (
        "cell", False, 1,
        "between lstm (LSTM) and cell (GRUCell): outputs of lstm agree, inputs of cell differ",
    ),
    "third": (
        "cell", False, 3,
        "between cell (GRUCell), call 2 and cell (GRUCell), call 3: outputs of cell agree, inputs "
        "of cell differ",
    ),
    "before head": (
        "head", False, 1,
        "between cell (GRUCell), call 4 and head (Linear): outputs of cell agree, inputs of head "
        "differ",
    ),
    "after head": (
        "", True, 1,
        "inside the model (Original), after head (Linear): outputs of head agree, outputs of the "
        "model differ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", PLANTED)
def test_the_first_that_differs_is_named(wrong: str) -> None:
    path, inside, number, about = PLANTED[wrong]
    mine, calls, found, kinds = run(wrong)
    divergence = first_divergence(mine, calls, found, TOLERANCE, kinds)
    assert divergence is not None
    assert (divergence.path, divergence.inside, divergence.number) == (path, inside, number)
    assert divergence.about == about
    assert divergence.twin == found[path]
    assert divergence.deviation > TOLERANCE


def located(mine: list[Call], their: list[Call], **found: str) -> Divergence | None:
    return first_divergence(mine, their, found or {"a": "a", "b": "b"}, TOLERANCE)


def call(path: str, x: Any, y: Any, number: int = 1) -> Call:
    return Call(path, number, {"inputs.0": np.asarray(x)}, {"outputs": np.asarray(y)})


X = np.random.default_rng(1).standard_normal((2, 3, 4))


def test_what_differs_only_inside_of_what_agrees_is_passed_over() -> None:
    their = [call("a.in", X, X + 1), call("a", X, X), call("b", X + 2, X + 3)]
    mine = [call("a.in", X + 5, X + 6), call("a", X, X), call("b", X + 2, X)]
    found = {"a": "a", "a.in": "a.in", "b": "b"}
    divergence = located(mine, their, **found)
    assert divergence is not None
    assert divergence.about == "inside b: inputs agree, outputs differ"
    assert divergence.inputs_agree
    mine[1] = call("a", X, X + 1)
    divergence = located(mine, their, **found)
    assert divergence is not None
    assert divergence.about == "inside a, before a.in: inputs of a agree, inputs of a.in differ"
    assert (divergence.after, divergence.tensor) == ("a", "inputs.0")


def test_what_cannot_be_compared_is_said_not_to_agree() -> None:
    their = [call("a", X, X), call("b", X, X)]
    divergence = located([call("a", X[0], X + 1), call("b", X, X)], their)
    assert divergence is not None
    assert (divergence.about, divergence.inputs_agree) == ("inside a: outputs differ", False)
    assert located([call("a", X[0], X[0])], their) is None
    divergence = located([call("b", X + 1, X)], [call("b", X, X + 3)])
    assert divergence is not None
    assert divergence.about == "before b: its inputs differ"
    assert located([call("b", X + 1, X)], [call("b", X, X + 3)], c="c") is None


def test_a_call_begins_before_what_it_calls() -> None:
    """Each of four, one in another, is called twice."""
    order = ["r.x.a.in", "r.x.a", "r.x", "r"]
    their = [call(path, X, X + 1, number) for number in (1, 2) for path in order]
    found = dict.fromkeys(order, "") | {path: path for path in order}
    mine = [call(c.path, X + (c.path == "r.x.a") * c.number, X, c.number) for c in their]
    mine = [c._replace(outputs={"outputs": X + 1}) if c.number == 1 else c for c in mine]
    divergence = located(mine, their, **found)
    assert divergence is not None
    assert divergence.about == (
        "inside r.x, call 2, before r.x.a, call 2: inputs of r.x agree, inputs of r.x.a differ"
    )
    # One that cannot be compared is not said to agree.
    mine[4:6] = [call("r.x.a.in", X, X + 2, 2), call("r.x.a", X[0], X, 2)]
    divergence = located(mine, their, **found)
    assert divergence is not None
    assert divergence.after == "r.x.a.in"
    mine[4] = call("r.x.a.in", X[0], X + 2, 2)
    divergence = located(mine, their, **found)
    assert divergence is not None
    assert (divergence.after, divergence.inputs_agree) == ("r.x", False)


@pytest.mark.parametrize(
    "turned",
    [X.transpose(1, 0, 2), X.transpose(0, 2, 1), X.transpose(2, 0, 1), X[:, :, None]],
    ids=["time first", "channels last", "cycled", "axis of one"],
)
def test_other_layouts_agree(turned: np.ndarray) -> None:
    assert located([call("a", turned, turned)], [call("a", X, X)]) is None
    for wrong in (turned + 1e-6, turned[::-1].copy()):
        divergence = located([call("a", turned, wrong)], [call("a", X, X)])
        assert divergence is not None
        assert divergence.inside
    # Of the same shape there is no other layout.
    square = X[:, :2, :2].copy()
    assert located([call("a", X, square.swapaxes(0, 1))], [call("a", X, square)]) is not None


def test_several_outputs_masks_and_infinities() -> None:
    def outputs(*tensors: Any, first: Any = X) -> list[Call]:
        named = {f"outputs.{i}": np.asarray(tensor) for i, tensor in enumerate(tensors)}
        return [Call("a", 1, {"inputs.0": first, "inputs.1": np.arange(3) >= len(named)}, named)]

    h, c = X[0], X[1]
    assert located(outputs(c, h, X), outputs(h, c)) is None
    assert located(outputs(X, h), outputs(X, h, c)) is None
    divergence = located(outputs(h, c + 1), outputs(h, c))
    assert divergence is not None
    assert divergence.tensor == "outputs.1"
    assert located(outputs(h), outputs(h, c + 1)) is None
    infinite = np.where(X > 0, X, -np.inf)
    assert located(outputs(infinite), outputs(infinite)) is None
    assert located(outputs(np.where(X > 0.5, X, -np.inf)), outputs(infinite)) is not None
    wide, near = np.append(X, 1e6), np.append(X + 1e-7, 1e6)
    assert located([call("a", wide, near)], [call("a", wide, wide)]) is None
    tokens, others = np.array([1, 2, 3]), np.array([1, 2, 4])
    assert located([call("a", tokens, X)], [call("a", tokens.astype(np.int32), X)]) is None
    assert located([call("a", others, X)], [call("a", tokens, X + 1)]) is not None


def test_of_a_packed_sequence_only_its_elements_count() -> None:
    lengths = np.array([3, 1])
    padded = np.where(np.arange(3)[:, None] < lengths[:, None, None], X, 0)
    their = [Call("a", 1, {}, {"outputs.0.padded": padded, "outputs.0.lengths": lengths})]
    longer = np.concatenate([X, X[:, :2]], 1)
    for values in (X, longer, X.swapaxes(0, 1), longer.swapaxes(0, 1)):
        assert located([call("a", X, values)], their) is None
    wrong = X.copy()
    wrong[1, 0] += 1e-6
    longer = np.concatenate([wrong, X[:, :2]], 1)
    for values in (wrong, wrong.swapaxes(0, 1), longer, longer.swapaxes(0, 1)):
        assert located([call("a", X, values)], their) is not None
