"""Misreadings give the weights that a port which misreads them sees, and those that undo it."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from shared.parity.misreadings import GROUPS, PAIRS, misreadings
from shared.protocol.weights import Weights

I, H, T, B = 3, 4, 5, 2
Compute = Callable[[Weights], np.ndarray]


def drawn(module: nn.Module) -> Weights:
    rng = np.random.default_rng(0)
    return {n: rng.uniform(-1, 1, p.shape) for n, p in module.named_parameters()}


def by_torch(module: nn.Module, *inputs: np.ndarray) -> Compute:
    """The original: weights → outputs."""

    def compute(weights: Weights) -> np.ndarray:
        module.double().load_state_dict({n: torch.tensor(a) for n, a in weights.items()})
        with torch.no_grad():
            found = module(*map(torch.tensor, inputs))
        return (found[0] if isinstance(found, tuple) else found).numpy()

    return compute


def check(name: str, weights: Weights, original: Compute, port: Compute) -> None:
    """The original with what the port sees is the port; with what it needs, the port is that."""
    seen = {m.name: m for m in misreadings(weights, original=True)}[name].change(weights)
    expected = original(weights)
    assert np.abs(port(weights) - expected).max() > 1e-3
    np.testing.assert_allclose(original(seen), port(weights), rtol=0, atol=1e-12)
    needed = {m.name: m for m in misreadings(weights)}[name].change(weights)
    np.testing.assert_allclose(port(needed), expected, rtol=0, atol=1e-12)
    assert [*seen] == [*weights]
    assert [*needed] == [*weights]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm(weights: Weights, end: str, x: np.ndarray, order: str, forget: float = 0) -> np.ndarray:
    """One layer whose rows are read in another order. x (T, B, I) → (T, B, P)."""
    w, u, b, d = (weights[f"{n}{end}"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    project = weights.get(f"weight_hr{end}", np.eye(len(b) // 4))
    h, c, found = np.zeros((x.shape[1], len(project))), np.zeros((x.shape[1], len(b) // 4)), []
    for now in x:
        gates = dict(zip(order, np.split(now @ w.T + b + h @ u.T + d, 4, axis=1), strict=True))
        c = sigmoid(gates["f"] + forget) * c + sigmoid(gates["i"]) * np.tanh(gates["g"])
        h = (sigmoid(gates["o"]) * np.tanh(c)) @ project.T
        found.append(h)
    return np.stack(found)


def gru(weights: Weights, end: str, x: np.ndarray, order: str = "rzn", **how: bool) -> np.ndarray:
    w, u, b, d = (weights[f"{n}{end}"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h, found = np.zeros((x.shape[1], H)), []
    for now in x:
        given = dict(zip(order, np.split(now @ w.T + b, 3, axis=1), strict=True))
        own = dict(zip(order, np.split(h @ u.T, 3, axis=1), strict=True))
        bias = dict(zip(order, np.split(d, 3), strict=True))
        r, z = (sigmoid(given[g] + own[g] + bias[g]) for g in "rz")
        last = 0 if how.get("without") else bias["n"]
        n = np.tanh(given["n"] + r * (own["n"] + last))
        h = z * n + (1 - z) * h if how.get("exchanged") else (1 - z) * n + z * h
        found.append(h)
    return np.stack(found)


X = np.random.default_rng(1).standard_normal((T, B, I))
LAYERS = ("", "l0", "l1")
ORDERS = ["".join(order) for order in itertools.permutations("ifgo")][1:]


@pytest.mark.parametrize("settings", [{}, {"proj_size": 2}])
@pytest.mark.parametrize("label", LAYERS)
def test_every_order_of_gates_in_all_layers_and_in_one(label: str, settings: dict) -> None:
    module: Any = nn.LSTM(I, H, 2, **settings)
    weights, original = drawn(module), by_torch(module, X)
    for read in ORDERS:
        orders = [read if label in ("", layer) else "ifgo" for layer in LAYERS[1:]]

        def port(weights: Weights, orders: list[str] = orders) -> np.ndarray:
            return lstm(weights, "_l1", lstm(weights, "_l0", X, orders[0]), orders[1])

        check(f"gates:{read}" + (f":{label}" if label else ""), weights, original, port)


@pytest.mark.parametrize("label", LAYERS)
def test_forget_bias_in_all_layers_and_in_one(label: str) -> None:
    module = nn.LSTM(I, H, 2)
    extra = [float(label in ("", layer)) for layer in LAYERS[1:]]

    def port(weights: Weights) -> np.ndarray:
        return lstm(weights, "_l1", lstm(weights, "_l0", X, "ifgo", extra[0]), "ifgo", extra[1])

    name = "forget-bias" + (f":{label}" if label else "")
    check(name, drawn(module), by_torch(module, X), port)


class Cells(nn.Module):
    """Two modules of recurrent layers, of which one is a cell."""

    def __init__(self):
        super().__init__()
        self.reader, self.writer = nn.GRU(I, H), nn.GRUCell(H, H)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state, found = None, []
        for now in self.reader(x)[0]:
            state = self.writer(now, state)
            found.append(state)
        return torch.stack(found)


@pytest.mark.parametrize("label", ["", "reader", "writer"])
def test_gates_of_a_gru_in_modules_and_cells(label: str) -> None:
    module = Cells()
    weights, original = drawn(module), by_torch(module, X)
    end = f":{label}" if label else ""

    def port(**how: Any) -> Compute:
        one, other = ((how if label in ("", name) else {}) for name in ("reader", "writer"))
        return lambda weights: gru(
            {n.removeprefix("writer."): a for n, a in weights.items()}, "",
            gru({n.removeprefix("reader."): a for n, a in weights.items()}, "_l0", X, **one),
            **other,
        )  # fmt: skip

    for read in ("zrn", "nzr", "rnz", "znr", "nrz"):
        check(f"gates:{read}{end}", weights, original, port(order=read))
    check(f"update-gate{end}", weights, original, port(exchanged=True))
    seen = {m.name: m for m in misreadings(weights, original=True)}[f"bias:b_hn{end}"]
    expected = port(without=True)(weights)
    np.testing.assert_allclose(original(seen.change(weights)), expected, rtol=0, atol=1e-12)
    assert not any(m.name.startswith("bias:") for m in misreadings(weights))  # none undoes it


def test_biases_that_are_not_added() -> None:
    for module in (nn.LSTM(I, H, 2), nn.Sequential(nn.Linear(I, H), nn.Tanh(), nn.Linear(H, I))):
        weights, original = drawn(module), by_torch(module, X)
        found = {m.name: m for m in misreadings(weights, original=True)}
        biases = [name for name in weights if "bias" in name]
        for name in biases:
            without = {n: 0 * a if n == name else a for n, a in weights.items()}
            changed = found[f"bias:{name}"].change(weights)
            np.testing.assert_array_equal(original(changed), original(without))
            assert f"bias:{name}" not in {m.name for m in misreadings(without, original=True)}
    weights = drawn(nn.LSTM(I, H, 2))
    found = {m.name: m for m in misreadings(weights, original=True)}
    changed = found["bias:bias_hh"].change(weights)
    assert [n for n in weights if not changed[n].any()] == ["bias_hh_l0", "bias_hh_l1"]


def swapped(weights: Weights, pairs: dict[str, str]) -> Weights:
    """Weights by names in which each of these parts is written as the other."""
    both = pairs | {there: here for here, there in pairs.items()}

    def other(name: str) -> str:
        return next((name.replace(a, b) for a, b in both.items() if a in name), name)

    return {name: weights[other(name)] for name in weights}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_directions_are_swapped(kind: Any) -> None:
    module = kind(I, H, 2, bidirectional=True)
    weights, original = drawn(module), by_torch(module, X)
    for label in LAYERS:

        def port(weights: Weights, layer: str = label) -> np.ndarray:
            turned = {
                (name.removesuffix("_reverse") if "_reverse" in name else f"{name}_reverse")
                if f"_{layer or 'l'}" in name
                else name: array
                for name, array in weights.items()
            }
            return original({name: turned[name] for name in weights})

        check("directions" + (f":{label}" if label else ""), weights, original, port)


def test_matrices_are_read_transposed() -> None:
    module = nn.LSTM(H, H, 2)
    x = np.random.default_rng(1).standard_normal((T, B, H))
    weights, original = drawn(module), by_torch(module, x)

    def port(names: list[str]) -> Compute:
        return lambda weights: original(
            {
                n: np.concatenate([a[k : k + H].T for k in range(0, 4 * H, H)]) if n in names else a
                for n, a in weights.items()
            }
        )

    recurrent = ["weight_hh_l0", "weight_hh_l1"]
    check("transposed:weight_hh", weights, original, port(recurrent))
    check("transposed:all", weights, original, port(["weight_ih_l0", "weight_ih_l1", *recurrent]))
    for name in recurrent:
        check(f"transposed:{name}", weights, original, port([name]))
    names = [m.name for m in misreadings(drawn(nn.LSTM(I, H))) if m.name.startswith("transposed")]
    assert names == ["transposed:weight_hh_l0"]


class Stack(nn.Module):
    """Numbered layers, and two branches of the same shapes."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(H, H), nn.Tanh()) for _ in range(3))
        self.left, self.right = nn.Linear(H, 2), nn.Linear(H, 2)
        self.odd = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.odd(self.left(x).exp() + self.right(x))


def test_layers_and_branches_are_swapped() -> None:
    module = Stack()
    weights = drawn(module)
    original = by_torch(module, np.random.default_rng(1).standard_normal((B, H)))
    for name, pairs in (
        ("layers:layers.0:layers.1", {"layers.0.": "layers.1."}),
        ("layers:layers.1:layers.2", {"layers.1.": "layers.2."}),
        ("branches:left:right", {"left.": "right."}),
        ("layers:layers.0:layers.2", {"layers.0.": "layers.2."}),
    ):
        check(name, weights, original, lambda w, pairs=pairs: original(swapped(w, pairs)))
    module = nn.LSTM(H, H, 4)
    weights = drawn(module)
    original = by_torch(module, np.random.default_rng(1).standard_normal((T, B, H)))
    check("layers:l1:l2", weights, original, lambda w: original(swapped(w, {"_l1": "_l2"})))
    check(
        "layers:reversed:l#", weights, original,
        lambda w: original(swapped(w, {"_l0": "_l3", "_l1": "_l2"})),
    )  # fmt: skip


def test_equal_or_unequal_layers_are_not_swapped() -> None:
    weights = drawn(Stack())
    for name in [*weights]:
        if "layers.1" in name:
            weights[name] = weights[name.replace("layers.1", "layers.0")]
    names = [m.name for m in misreadings(weights)]
    assert "layers:layers.0:layers.1" not in names
    assert "layers:layers.0:layers.2" in names
    assert not any("odd" in name for name in names if name.startswith(("layers", "branches")))
    assert not any(":l0:" in m.name for m in misreadings(drawn(nn.GRU(I, H, 3))))


def test_query_key_and_value_in_another_order() -> None:
    module = nn.MultiheadAttention(4, 2)
    weights, x = drawn(module), np.random.default_rng(1).standard_normal((3, T, B, 4))
    original = by_torch(module, *x)
    for read in map("".join, itertools.permutations("qkv")):

        def port(weights: Weights, read: str = read) -> np.ndarray:
            parts = {
                n: dict(zip(read, np.split(weights[n], 3), strict=True))
                for n in weights
                if "in_" in n
            }
            taken = {n: np.concatenate([part[k] for k in "qkv"]) for n, part in parts.items()}
            return original({**weights, **taken})

        if read != "qkv":
            check(f"projections:{read}", weights, original, port)


def test_names_are_unique_and_their_number_is_bounded() -> None:
    class Large(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(H, H, 10, bidirectional=True)
            self.blocks = nn.ModuleList(nn.GRU(H, H, 2) for _ in range(12))

    for module in (Large(), Cells(), Stack()):
        found = [m.name for m in misreadings(drawn(module), original=True)]
        assert len({*found}) == len(found)
        assert sum(name.startswith("gates:") for name in found) <= GROUPS * (23 + 5)
        assert sum(name.startswith(("layers:", "branches:")) for name in found) < 2 * PAIRS
    sentences = {m.name: m.about for m in misreadings(drawn(Large()))}
    assert sentences["gates:ifog:rnn.l1"] == (
        "gates are read in the order i f o g, not i f g o, in rnn.l1 alone"
    )
    assert len([*misreadings({"a": np.ones(3), "b.weight": np.ones((2, 3))})]) == 0
