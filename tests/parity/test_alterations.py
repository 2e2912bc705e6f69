"""Alterations of recurrent layers do what a port does that is written so, and leave no trace."""

import copy
import itertools
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnn_torch.alterations import altered
from tests.support.altered_models import LENGTHS, Packed, close, float64, kernels, run

__all__ = ["float64"]
pytestmark = pytest.mark.usefixtures("float64")
B, T, I, H = len(LENGTHS), max(LENGTHS) + 1, 3, 4
INSIDE = torch.arange(T - 1)[None] < torch.tensor(LENGTHS)[:, None]


inputs = partial(torch.randn, B, T, I)


def gru_by_hand(x: Tensor, h: Tensor, weights: Any) -> Tensor:
    """Cho et al.'s GRU with torch's names: r acts before the product. x (T, B, I) → (T, B, H)."""
    w_ih, w_hh, b_ih, b_hh = weights
    found = []
    for now in x:
        ir, iz, i_n = torch.tensor_split(now @ w_ih.T + b_ih, 3, dim=1)
        r = torch.sigmoid(ir + h @ w_hh[:H].T + b_hh[:H])
        z = torch.sigmoid(iz + h @ w_hh[H : 2 * H].T + b_hh[H : 2 * H])
        n = torch.tanh(i_n + (r * h) @ w_hh[2 * H :].T + b_hh[2 * H :])
        h = n + z * (h - n)
        found.append(h)
    return torch.stack(found)


def test_the_reset_gate_acts_before_the_product_in_layers_and_directions() -> None:
    module, x = nn.GRU(I, H, 2, bidirectional=True), torch.randn(T, B, I)
    first = torch.randn(4, B, H)
    layer, finals = x, []
    for number in range(2):
        sides = [
            gru_by_hand(layer, first[2 * number], kernels(module, f"_l{number}")),
            gru_by_hand(
                layer.flip(0), first[2 * number + 1], kernels(module, f"_l{number}_reverse")
            ),
        ]
        finals += [side[-1] for side in sides]
        layer = torch.cat([sides[0], sides[1].flip(0)], dim=-1)
    close(run(module, "reset-gate", x, first), (layer, torch.stack(finals)), module)


def test_the_reset_gate_acts_before_the_product_in_packed_sequences_and_cells() -> None:
    module, x = Packed(nn.GRU(I, H, batch_first=True)), inputs()
    outputs = torch.zeros(B, T - 1, H)
    finals = []
    for b, length in enumerate(LENGTHS):
        found = gru_by_hand(x[b, :length, None], torch.zeros(1, H), kernels(module.rnn, "_l0"))[
            :, 0
        ]
        outputs[b, :length] = found
        finals.append(found[-1])
    close(run(module, "reset-gate", x), (outputs, torch.stack(finals)[None]), module)
    cell, h = nn.GRUCell(I, H), torch.randn(B, H)
    expected = gru_by_hand(x[:, 0][None], h, kernels(cell))[0]
    close(run(cell, "reset-gate", x[:, 0], h), expected, cell)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.GRUCell(I, H), nn.GRUCell(H, H)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return self.two(self.one(x, h), h)


def test_one_of_two_layers_can_be_altered_alone() -> None:
    module, x, h = Two(), torch.randn(B, I), torch.randn(B, H)
    one = gru_by_hand(x[None], h, kernels(module.one))[0]
    two = gru_by_hand(module.one(x, h)[None], h, kernels(module.two))[0]
    close(run(module, "reset-gate:one", x, h), module.two(one, h), module)
    close(run(module, "reset-gate:two", x, h), two, module)
    both = gru_by_hand(one[None], h, kernels(module.two))[0]
    close(run(module, "reset-gate", x, h), both, module)


# Lengths --------------------------------------------------------------------------------------


LAYERS = [
    (nn.LSTM, {}), (nn.GRU, {"num_layers": 2}), (nn.RNN, {}), (nn.LSTM, {"proj_size": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "settings"), LAYERS)
def test_lengths_are_ignored(kind: Any, settings: dict) -> None:
    """As in a port that does not know them. Lengths are still returned as they are."""
    module = Packed(kind(I, H, batch_first=True, bidirectional=True, **settings))
    x = inputs()
    outputs, states = module.rnn(x[:, : T - 1])
    close(run(module, "lengths", x), (outputs, states), module)
    outputs = outputs * INSIDE[..., None]
    close(run(module, "lengths:states", x), (outputs, states), module)


@pytest.mark.parametrize(("kind", "settings"), LAYERS[:3])
def test_outputs_go_on_in_the_padding(kind: Any, settings: dict) -> None:
    module = Packed(kind(I, H, batch_first=True, **settings))
    x = inputs()
    close(run(module, "padding", x), (module.rnn(x[:, : T - 1])[0], module(x)[1]), module)


def test_outputs_of_the_reverse_direction_go_on_in_the_padding() -> None:
    """As in Flax, where a reversed sequence is followed by its padding."""
    module = Packed(nn.GRU(I, H, batch_first=True, bidirectional=True))
    x, back = inputs(), nn.GRU(I, H, batch_first=True)
    back.load_state_dict(
        {n.removesuffix("_reverse"): p for n, p in module.rnn.named_parameters() if "_rev" in n}
    )
    forward = module.rnn(x[:, : T - 1])[0][..., :H]
    reverse = torch.zeros(B, T - 1, H)
    for b, length in enumerate(LENGTHS):
        order = [*range(length)][::-1] + [*range(length, T - 1)][::-1]
        reverse[b, order] = back(x[b, order][None])[0][0]
    close(run(module, "padding", x)[0], torch.cat([forward, reverse], -1))


def test_the_reverse_direction_begins_with_the_padding() -> None:
    module = Packed(nn.LSTM(I, H, batch_first=True, bidirectional=True))
    x = inputs()
    (right, right_states), (full, full_states) = module(x), module.rnn(x[:, : T - 1])
    states = [
        torch.stack([one[0], other[1]])
        for one, other in zip(right_states, full_states, strict=True)
    ]
    outputs = torch.cat([right[..., :H], full[..., H:] * INSIDE[..., None]], dim=-1)
    close(run(module, "reverse-padding", x), (outputs, tuple(states)), module)
    close(run(module, "reverse-padding:outputs", x), (full, tuple(states)), module)


def test_what_pads_and_how_long_is_kept() -> None:
    x = inputs()
    module = Packed(nn.GRU(I, H, batch_first=True), value=-3.0, total=T + 2)
    plain = module(x)[0]
    close(run(module, "reset-gate", x)[0][:, T - 1 :], plain[:, T - 1 :])
    close(run(module, "padding", x)[0], torch.cat([module.rnn(x[:, :-1])[0], plain[:, T - 1 :]], 1))
    back = Packed(nn.GRU(I, H, batch_first=True, bidirectional=True), value=-3.0)
    halves = torch.cat([*back(x)[0].chunk(2, -1)][::-1], dim=-1)
    close(run(back, "halves:outputs", x)[0], halves)
    zeros = plain.where(plain != -3.0, torch.tensor(0.0))
    close(run(module, "padding-value:0", x)[0], zeros)


def test_dropout_between_layers_draws_the_same() -> None:
    module = Packed(nn.GRU(I, H, 3, batch_first=True, dropout=0.5))
    x = inputs()
    torch.manual_seed(1)
    expected, after = module(x), torch.get_rng_state()
    for name in ("padding", "reset-gate"):
        torch.manual_seed(1)
        found = run(module, name, x)
        assert torch.equal(torch.get_rng_state(), after)
        if name == "padding":
            close((found[0] * INSIDE[..., None], found[1]), expected, module)


# States ---------------------------------------------------------------------------------------


def test_states_are_swapped() -> None:
    module, x = nn.LSTM(I, H, 2, bidirectional=True), torch.randn(T, B, I)
    h, c = torch.randn(2, 4, B, H)
    out, (final_h, final_c) = module(x, (h, c))
    other, (other_h, other_c) = module(x, (c, h))
    close(run(module, "states:final", x, (h, c)), (out, (final_c, final_h)), module)
    close(run(module, "states:initial", x, (h, c)), (other, (other_h, other_c)), module)
    close(run(module, "states", x, (h, c)), (other, (other_c, other_h)), module)
    cell = nn.LSTMCell(I, H)
    for name, first in (("states:initial", (c[0], h[0])), ("states:final", (h[0], c[0]))):
        expected = cell(x[0], first)
        expected = expected[::-1] if name == "states:final" else expected
        close(run(cell, name, x[0], (h[0], c[0])), expected, cell)


class Loop(nn.Module):
    """A cell in a loop, and a layer, from a state that is trained."""

    def __init__(self, kind: Any = nn.GRUCell):
        super().__init__()
        self.cell, self.rnn = kind(I, H), nn.LSTM(H, H)
        self.first = nn.Parameter(torch.randn(H))

    def forward(self, x: Tensor, first: Any = None, passed: Any = lambda state: state):
        found = []
        state: Any = self.first.expand(B, H) if first is None else first
        state = (state, state) if isinstance(self.cell, nn.LSTMCell) else state
        layer = state[0] if isinstance(state, tuple) else state
        for now in x.unbind(1):
            state = self.cell(now, state)
            found.append(state[0] if isinstance(state, tuple) else state)
            state = tuple(map(passed, state)) if isinstance(state, tuple) else passed(state)
        return self.rnn(torch.stack(found), (layer[None], layer[None]))[0]


@pytest.mark.parametrize("kind", [nn.GRUCell, nn.LSTMCell, nn.RNNCell])
def test_states_are_not_passed_on(kind: Any) -> None:
    module, x, zero = Loop(kind), inputs(), torch.zeros(B, H)
    close(run(module, "initial-state:zero", x), module(x, zero))
    close(run(module, "initial-state:detached", x), module(x, module.first.detach().expand(B, H)))
    held = run(module, "initial-state:detached", x).square().sum()
    assert torch.autograd.grad(held, module.first, allow_unused=True) == (None,)
    lost = [module.cell(now, (zero, zero) if kind is nn.LSTMCell else zero) for now in x.unbind(1)]
    hidden = torch.stack([state[0] if isinstance(state, tuple) else state for state in lost])
    layer = module.first.expand(1, B, H)
    close(run(module, "state:zero", x), module.rnn(hidden, (layer, layer))[0])
    stopped = module(x, None, Tensor.detach)
    weights = [*module.cell.parameters(), *module.rnn.parameters()]
    found = run(module, "state:detached", x)
    one, other = (torch.autograd.grad(side.pow(3).sum(), weights) for side in (found, stopped))
    close(one, other)


# What is taken of a layer ---------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "layers"), [(nn.LSTM, 1), (nn.GRU, 2)])
def test_last_outputs_and_last_states(kind: Any, layers: int) -> None:
    module = Packed(kind(I, H, layers, batch_first=True, bidirectional=True))
    x, rows = inputs(), torch.arange(B)
    outputs, states = module(x)
    memory = isinstance(states, tuple)
    h = states[0] if memory else states
    ends = torch.tensor(LENGTHS) - 1
    joined = torch.cat([h[-2], h[-1]], dim=-1)

    def with_top(output: Tensor) -> Any:
        top = torch.cat([h[:-2], output[:, :H][None], output[:, H:][None]])
        return (top, states[1]) if memory else top

    def with_output(places: Any, values: Tensor) -> Tensor:
        changed = outputs.clone()
        changed[rows, places] = values
        return changed

    last = outputs[rows, ends]
    close(run(module, "last-output", x), (outputs, with_top(last)), module)
    close(run(module, "last-output:padded", x), (outputs, with_top(outputs[:, -1])), module)
    close(run(module, "last-state", x), (with_output(-1, joined), states), module)
    close(run(module, "last-state:lengths", x), (with_output(ends, joined), states), module)
    close(run(module, "last-step", x), (with_output(-1, last), states), module)


@pytest.mark.parametrize("packed", [True, False])
def test_halves_and_orders_of_directions(packed: bool) -> None:
    rnn = nn.LSTM(I, H, 2, batch_first=True, bidirectional=True)
    module = Packed(rnn) if packed else rnn
    x = inputs()
    outputs, (h, c) = module(x)
    halves = torch.cat([outputs[..., H:], outputs[..., :H]], dim=-1)
    sides, turned = [1, 0, 3, 2], [3, 2, 1, 0]
    close(run(module, "halves", x), (halves, (h[sides], c[sides])), module)
    close(run(module, "halves:outputs", x), (halves, (h, c)), module)
    close(run(module, "halves:states", x), (outputs, (h[sides], c[sides])), module)
    close(run(module, "states:order", x), (outputs, (h[turned], c[turned])), module)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.MultiheadAttention])
def test_batch_and_time_are_swapped(kind: Any) -> None:
    module: Any = kind(4, 2, batch_first=True)
    other = copy.deepcopy(module)
    other.batch_first = False
    x = torch.randn(B, T, 4)
    given = (x, x, x) if kind is nn.MultiheadAttention else (x,)
    close(run(module, "batch-first", *given), other(*given))
    assert module.batch_first is True


def test_the_other_nonlinearity() -> None:
    x = torch.randn(T, B, I)
    for one, other in itertools.permutations(["tanh", "relu"]):
        for kind, given in ((nn.RNN, x), (nn.RNNCell, x[0])):
            module = kind(I, H, nonlinearity=one)
            there = kind(I, H, nonlinearity=other)
            there.load_state_dict(module.state_dict())
            close(run(module, f"nonlinearity:{other}", given), there(given))


def test_packed_sequences_that_are_given() -> None:
    module, x = nn.GRU(I, H, batch_first=True), inputs()
    given = pack_padded_sequence(x, [*LENGTHS], batch_first=True, enforce_sorted=False)
    zeros = pad_packed_sequence(given, batch_first=True)[0]
    with altered(module, "lengths"):
        found, states = module(given)
        outputs, lengths = pad_packed_sequence(found, batch_first=True)
    close((outputs, states), module(zeros))
    assert lengths.tolist() == list(LENGTHS)
