"""What came up while a module trained: lengths, states, rows, modes, calls."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.rnn import pack_sequence

import rnn_torch
from rnn_torch.observation import Observation, gaps, observed
from shared.protocol.gaps import Gap, summary


def said(seen: Observation) -> list[str]:
    return [gap.described for gap in gaps(seen)]


def steps(module: nn.Module, *calls: Any) -> Observation:
    """Observes a step for each call, of the arguments in a tuple."""
    seen = Observation()
    for args in calls:
        with observed(module, into=seen):
            module(*args)
    return seen


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def batch(steps: int, count: int = 3) -> torch.Tensor:
    return torch.randn(count, steps, 2)


def packed(*lengths: int) -> Any:
    return pack_sequence([torch.randn(length, 2) for length in lengths], enforce_sorted=False)


LAYERS = [
    partial(nn.LSTM, 2, 3, batch_first=True),
    partial(rnn_torch.GRU, 2, 3, batch_first=True, bidirectional=True),
]


@pytest.mark.parametrize("make", LAYERS)
def test_lengths_of_a_layer(make: Any) -> None:
    layer = make()
    assert said(steps(layer, (batch(3),), (batch(4),))) == []
    assert said(steps(layer, (packed(3, 5),), (packed(2, 5),))) == []
    assert said(steps(layer, (packed(3, 5),), (packed(4),))) == []
    assert said(steps(layer, (batch(1),), (batch(1),))) == [
        "the module: every sequence had 1 step, so nothing recurrent was exercised"
    ]
    one_length = "the module: every sequence had 4 steps"
    assert said(steps(layer, (batch(4),), (batch(4),))) == [one_length]
    padding = (
        "the module: no sequence was shorter than the longest of its batch, so padding was not "
        "exercised"
    )
    assert said(steps(layer, (packed(4, 4),), (packed(4),))) == [one_length, padding]
    assert said(steps(layer, (packed(4, 4),), (packed(3, 3),))) == [padding]
    alone = "the module: every batch had 1 sequence"
    assert said(steps(layer, (batch(4, 1),), (batch(3, 1),))) == [alone]
    assert said(steps(layer, (batch(4)[0],), (batch(3)[0],))) == [alone]


def test_what_a_layer_got_is_in_fields() -> None:
    layer = nn.GRU(2, 3)
    seen = steps(layer, (torch.randn(4, 5, 2),), (packed(2, 6, 2),))
    one = seen.sequences[""]
    assert one.steps == {4, 6}
    assert one.lengths == {2, 4, 6}
    assert one.batch_sizes == {5, 3}
    assert (one.packed, one.shorter, one.cell, one.calls) == (True, True, False, {1})
    with observed(layer, into=seen):
        layer(input=torch.randn(2, 5, 2), hx=torch.zeros(1, 5, 3))
        layer(torch.randn(1, 5, 2))
    assert one.calls == {1, 2}
    assert one.steps == {1, 2, 4, 6}
    assert (one.state_given, one.state_nonzero, seen.steps) == (True, False, 3)


def test_states_that_are_given() -> None:
    zeros, ones = torch.zeros(1, 3, 3), torch.ones(1, 3, 3)
    layer = nn.LSTM(2, 3, batch_first=True)
    always_zero = "the module: its initial state was always zero"
    calls = [(batch(3), (zeros, zeros)), (batch(4), (zeros, zeros))]
    assert said(steps(layer, *calls)) == [always_zero]
    assert summary(gaps(steps(layer, *calls))) == ""
    assert said(steps(layer, *calls, (batch(4), (zeros, ones)))) == []
    # With a state even one step uses W_hh, as when a decoder is called word by word.
    assert said(steps(layer, (batch(1), (ones, zeros)))) == []
    (gap,) = gaps(steps(layer, (batch(1), (zeros, zeros))))
    assert gap == Gap("one-step", "", 1, 1)


class Loop(nn.Module):
    """A cell over time."""

    def __init__(self, cell: nn.Module):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        h = None
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return h


@pytest.mark.parametrize(
    "make",
    [partial(nn.LSTMCell, 2, 3), partial(rnn_torch.GRUCell, 2, 3), partial(nn.RNNCell, 2, 3)],
)
def test_a_cell_needs_a_state(make: Any) -> None:
    seen = steps(Loop(make()), (batch(3),), (batch(5),))
    assert said(seen) == []
    assert seen.sequences["cell"].calls == {3, 5}
    (gap,) = gaps(steps(Loop(make()), (batch(1),)))
    assert gap.described == ("cell: its state was always zero, so nothing recurrent was exercised")
    assert summary([gap]) == "not exercised: the recurrence of cell"


class Words(nn.Module):
    def __init__(self, padding: int | None = None, bag: bool = False):
        super().__init__()
        kind = nn.EmbeddingBag if bag else nn.Embedding
        self.head = nn.Linear(4, 7, bias=False)
        self.words = kind(7, 4, padding_idx=padding)
        self.words.weight = self.head.weight

    def forward(self, tokens):
        return self.head(self.words(tokens))


@pytest.mark.parametrize("bag", [False, True])
def test_rows_are_those_that_were_read(bag: bool) -> None:
    """By the name that the parameters know the weight by."""
    half, rest = torch.tensor([[1, 2], [2, 0]]), torch.tensor([[3, 4], [5, 6]])
    seen = steps(Words(bag=bag), (half,), (half,))
    assert said(seen) == ["head.weight: 4 of 7 rows were read by no batch"]
    assert seen.embeddings["head.weight"].read.tolist() == [True] * 3 + [False] * 4
    assert said(steps(Words(bag=bag), (half,), (rest,))) == []
    assert said(steps(Words(1, bag), (half,), (rest,))) == []
    assert said(steps(Words(3, bag), (half,))) == [
        "head.weight: 3 of 7 rows were read by no batch",
        "head.weight: row 3, that of padding, was read by no batch",
    ]


class Modes(nn.Module):
    def __init__(self, **changes: Any):
        super().__init__()
        self.drop = nn.Dropout(changes.get("rate", 0.5), inplace=changes.get("inplace", False))
        self.norm = nn.BatchNorm1d(2, track_running_stats=changes.get("track", True))
        self.rnn = nn.LSTM(2, 2, 2, dropout=changes.get("rate", 0.5))

    def forward(self, x):
        return self.rnn(self.norm(self.drop(x)).unsqueeze(1).expand(-1, len(x), -1))


NORM_IDLE = (
    "norm was in evaluation mode at every step, so a batch's own statistics were not exercised"
)


@pytest.mark.parametrize("inplace", [False, True])
def test_modes_of_dropout_and_norms(inplace: bool) -> None:
    x, y = torch.ones(64, 2), torch.ones(63, 2)
    one = Modes(inplace=inplace)
    assert said(steps(one, (x.clone(),), (y.clone(),))) == []
    off = [
        "drop: dropout was off at every step", "rnn: dropout was off at every step", NORM_IDLE
    ]  # fmt: skip
    one.eval()
    seen = steps(one, (x.clone(),), (y.clone(),))
    assert sorted(said(seen)) == sorted(off)
    assert seen.norms == {"norm": {False}}
    one.train()
    with observed(one, into=seen):
        one(x.clone())
    assert said(seen) == []
    assert seen.dropouts["drop"].rate == 0.5
    # A rate of zero is nothing to exercise, nor is a norm without statistics.
    assert said(steps(Modes(rate=0.0, track=False).eval(), (x,), (y,))) == []


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout1d])
def test_dropout_that_dropped_nothing(kind: Any) -> None:
    rare = kind(1e-9)
    assert said(steps(rare, (torch.ones(2, 3, 3),))) == [
        "the module: dropout was on and never dropped anything"
    ]
    assert said(steps(rare, (torch.zeros(2, 3, 3),))) != []  # its own zeros are not drops
    assert said(steps(kind(0.9), (torch.ones(2, 30, 3),))) == []
    assert said(steps(nn.AlphaDropout(0.5), (torch.ones(2),))) == []


def test_dropout_inside_of_torchs_own_modules() -> None:
    """Also where no hooks may be."""
    layer, x = nn.TransformerEncoderLayer(2, 1, 3, 0.25), torch.ones(40, 3, 2)
    assert said(steps(layer, (x,), (x,))) == []
    seen = steps(layer.eval(), (x,))
    assert said(seen) == [
        f"{part}: dropout was off at every step"
        for part in ("self_attn", "dropout", "dropout1", "dropout2")
    ]
    assert {one.rate for one in seen.dropouts.values()} == {0.25}
    assert said(steps(nn.TransformerEncoderLayer(2, 1, 3, 0.0).eval(), (x,))) == []


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
        self.by_hand = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
        self.spare = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
        self.mix = nn.MultiheadAttention(2, 1)

    def forward(self, x):
        for part in [*self.stages[:2], *self.by_hand]:
            x = part(x)
        return self.mix(x, x, x)[0]


def test_modules_that_were_never_called() -> None:
    """The outermost of each; what holds modules is called in its parts. Attention reads the weights
    of its last layer without calling it."""
    found = gaps(steps(Parts(), (torch.ones(3, 2),)))
    assert [(gap.kind, gap.name, gap.count) for gap in found] == [
        ("never-called", "stages.2", 2),
        ("never-called", "spare", 4),
    ]
    assert found[1].described == "spare was never called"
    frozen = Parts().requires_grad_(False)
    assert [gap.count for gap in gaps(steps(frozen, (torch.ones(3, 2),)))] == [0, 0]
    tanh = nn.Sequential(nn.Tanh())
    assert said(steps(tanh, (torch.ones(1),))) == []


class Holder(nn.Module):
    """Holds what others read."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)


class Held(nn.Module):
    def __init__(self):
        super().__init__()
        self.values, self.unused = Holder(), nn.ModuleList([nn.Tanh()])

    def forward(self, x):
        return x * self.values.scale


def test_what_cannot_be_called_was_not_forgotten() -> None:
    assert said(steps(Held(), (torch.ones(2),))) == ["unused.0 was never called"]


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        # Whoever reads this weight in training mode changes what it is made of.
        self.words = spectral_norm(nn.Embedding(5, 4))
        self.drop = nn.Dropout(0.3)
        self.rnn = nn.LSTM(4, 4, 2, dropout=0.4, batch_first=True)
        self.mix = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.norm, self.head = nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, tokens):
        return self.head(self.norm(self.mix(self.rnn(self.drop(self.words(tokens)))[0])[:, -1]))


@pytest.mark.parametrize("training", [True, False])
def test_numbers_are_the_same_bit_for_bit(training: bool) -> None:
    """Also where torch takes another way through a module that has hooks: frozen, in evaluation."""
    whole = Whole().double().train(training).requires_grad_(training)
    tokens = torch.randint(0, 5, (6, 7))

    def run(module: nn.Module, watched: bool) -> list[torch.Tensor]:
        torch.manual_seed(1)
        found = []
        for _ in range(2):
            if watched:
                with observed(module):
                    outputs = module(tokens)
            else:
                outputs = module(tokens)
            if training:
                outputs.sum().backward()
            found += [outputs.detach(), torch.rand(1)]
        state = module.state_dict().values()
        return [*found, *state, *(p.grad for p in module.parameters() if p.grad is not None)]

    plain, seen = run(copy.deepcopy(whole), False), run(copy.deepcopy(whole), True)
    assert len(plain) == len(seen)
    assert all(torch.equal(a, b) for a, b in zip(plain, seen, strict=True))
