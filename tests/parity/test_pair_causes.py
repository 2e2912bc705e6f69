"""Bugs planted in a port are named, and nothing else is."""

import itertools
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.parity import Findings, compare_programs
from shared.parity.comparison import Diverged
from tests.support.pair_cases import (
    CELLS,
    CLASSES,
    FEATURES,
    GATES,
    HIDDEN,
    NAMES,
    Classifier,
    _positions,
    batches,
    causes,
    dense,
    empty,
    function,
    lstm,
    original,
    place,
    port,
    sgd,
)


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
    assert pair.diagnosis is not None
    assert f"({len(pair.diagnosis.findings)} tried)" in "\n".join(pair.verdicts)
