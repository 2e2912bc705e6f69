"""Each alteration changes something where it is offered, draws the same, and is gone afterwards."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnn_torch.alterations import alterations, altered
from shared.errors import InvalidInput
from shared.protocol.program import Alteration
from tests.support.altered_models import close, float64

__all__ = ["float64"]
pytestmark = pytest.mark.usefixtures("float64")
LENGTHS = (3, 4, 2, 4)  # four examples of up to four steps: batch and time can be swapped
PHASES = {"forward", "loss", "gradients", "buffers", "evaluation"}


class Words(nn.Module):
    """Packed layers, norms, dropout, tied weights, an own initial state."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(6, 8, padding_idx=0)
        self.norm, self.drop = nn.LayerNorm(8), nn.Dropout(0.5)
        self.gru = nn.GRU(8, 4, 2, batch_first=True, bidirectional=True, dropout=0.5)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.first = nn.Parameter(torch.randn(2, 1, 1, 8))
        self.batch = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 6)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        outputs: Any
        x = self.drop(self.norm(self.embedding(x)))
        packed = pack_padded_sequence(x, [*LENGTHS], batch_first=True, enforce_sorted=False)
        outputs, final = self.gru(packed)
        x, _ = pad_packed_sequence(outputs, batch_first=True, padding_value=0.5)
        first = tuple(self.first.expand(2, 1, len(LENGTHS), 8))
        x, (h, c) = self.lstm(x, first)
        state = F.elu(torch.cat([final[-2], final[-1]], -1)) * h[-1] + F.relu(c[-1])
        return self.head(F.gelu(self.batch(x[:, -1] + state)))


class Speech(nn.Module):
    """Convolutions, other norms, attention, cells in a loop, transposed convolutions."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(4, 4, 3, stride=2, padding=1)
        self.norms = nn.Sequential(nn.GroupNorm(2, 4), nn.InstanceNorm1d(4), nn.RMSNorm(4))
        self.back = nn.ConvTranspose1d(4, 4, 2)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.reader, self.cell = nn.LSTMCell(4, 4), nn.RNNCell(4, 4)
        self.first = nn.Parameter(torch.randn(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.norms(self.convolution(x[..., :8])), 0.05) + self.back(x[..., 1:4])
        weights = F.softmax(x, dim=2)
        mask, padding = torch.ones(4, 4).triu(1).bool(), torch.zeros(4, 4).bool()
        padding[:, -1] = True
        x = self.attention(x, x, weights, padding, attn_mask=mask)[0]
        h, c, s = (one.expand(4, 4) for one in self.first)
        for now in x.unbind(1):
            h, c = self.reader(now, (h, c))
            s = self.cell(F.dropout(h, 0.5, self.training), s)
        return F.silu(s.mean(1, keepdim=True)) + c


def ready(kind: Any) -> tuple[Any, Tensor, Any]:
    """A module, its inputs and a loss of it, which are the same every time."""
    torch.manual_seed(0)
    module = kind()
    for one in module.parameters():
        nn.init.uniform_(one, -1.0, 1.0)
    if kind is Words:
        x, targets = (
            torch.tensor([[1, 2, 3, 0], [4, 5, 1, 2], [3, 0, 0, 0], [5, 1, 4, 3]]),
            [1, 0, 2, 1],
        )
        weight = torch.rand(6)
        return module, x, lambda out: F.cross_entropy(
            out, torch.tensor(targets), weight, ignore_index=0, label_smoothing=0.1
        ) + out.log_softmax(1).square().mean()  # fmt: skip
    return module, torch.randn(4, 4, 8), lambda out: F.mse_loss(out, out.detach() + 1.5)


def taken(module: Any, parameters: list[Any], x: Tensor, loss: Any) -> dict[str, list[Tensor]]:
    """Returns what a step computes, by phase, and the state of the random generator after it."""
    torch.manual_seed(3)
    module.train()
    module.zero_grad()
    out = module(x)
    value = loss(out)
    if value.requires_grad:
        value.backward()
    gradients = [torch.zeros(1) if p.grad is None else p.grad for p in parameters]
    buffers = [buffer.clone() for buffer in module.buffers()]
    draws = torch.get_rng_state()
    module.eval()
    with torch.no_grad():
        last = module(x)
    return {"forward": [out], "loss": [value], "gradients": gradients, "buffers": buffers,
            "evaluation": [last], "draws": [draws]}  # fmt: skip


def differing(one: dict[str, list[Tensor]], other: dict[str, list[Tensor]]) -> set[str]:
    return {
        phase
        for phase in one
        for a, b in zip(one[phase], other[phase], strict=True)
        if not torch.equal(a, b)
    }


def inside(module: nn.Module) -> Any:
    """What a module holds: every attribute by its identity, and the elements of dicts and lists."""
    found: list[Any] = []
    for path, part in module.named_modules():
        for key, value in vars(part).items():
            if key == "_flat_weight_refs":
                continue
            items = value.items() if isinstance(value, dict) else ()
            parts = [*items, *enumerate(value if isinstance(value, list) else ())]
            found.append((path, key, id(value), [(k, id(v)) for k, v in parts]))
    return found, torch._C._len_torch_function_stack()


SILENT = {
    Words: {
        "initial-state:zero:gru", "initial-state:detached:gru",  # it is given none
        "batch-first:gru",  # it is packed
        "last-step:lstm", "last-output:padded:lstm", "last-state:lstm",  # it is not
        "elu-alpha:1", "log-softmax-axis:-1", "log-softmax-axis:1",  # it does so
        "stop-gradient-input:embedding",
    },
    Speech: {
        "softmax-axis:-1", "log-softmax-axis:-1", "log-softmax-axis:-2", "log-softmax-axis:0",
        "log-softmax-axis:1", "convolution-padding:same-start", "convolution-padding:causal",
        "stop-gradient-input:convolution", "stop-gradient-input:back",
    },
}  # fmt: skip
"""What changes nothing, though no one can tell from the modules alone."""


@pytest.mark.parametrize("kind", [Words, Speech])
@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"])
def test_each_alteration_shows_where_it_says_and_leaves_no_trace(kind: Any, every: int) -> None:
    module, x, loss = ready(kind)
    parameters, start = [*module.parameters()], ready(kind)[0].state_dict()
    plain, before, silent = taken(module, parameters, x, loss), inside(module), set()
    for one in alterations(module)[::every]:
        assert set(one.phases) <= PHASES
        module.load_state_dict(start)
        with altered(module, one.name):
            found = differing(plain, taken(module, parameters, x, loss))
        check_phases(one, found)
        if not found and one.phases != ("loss",):  # most losses are others
            silent.add(one.name)
        assert inside(module) == before, one.name
    module.load_state_dict(start)
    assert not differing(plain, taken(module, parameters, x, loss))
    if every == 1:
        assert silent == SILENT[kind]
    assert silent <= SILENT[kind]


def check_phases(one: Alteration, differ: set[str]) -> None:
    assert "draws" not in differ or one.name.startswith(("lengths", "batch-first")), one.name
    if differ:
        first = next(
            p for p in ("forward", "loss", "gradients", "buffers", "evaluation") if p in differ
        )
        assert first in one.phases, (one, differ)


def test_an_exception_inside_leaves_no_trace() -> None:
    module, x, loss = ready(Words)
    parameters = [*module.parameters()]
    plain = taken(module, parameters, x, loss)
    before = inside(module)
    for one in alterations(module)[::12]:
        with pytest.raises(KeyError), altered(module, one.name):
            raise KeyError
        assert inside(module) == before, one.name
    module.load_state_dict(ready(Words)[0].state_dict())
    assert not differing(plain, taken(module, parameters, x, loss))


def test_an_exception_in_a_submodule_leaves_no_trace() -> None:
    module, x, _ = ready(Words)
    before = inside(module)
    for name in ("reset-gate", "states:initial", "dropout-scale"):
        with pytest.raises(IndexError), altered(module, name):
            module(x + 6)
        assert inside(module) == before, name


def test_names_are_unique_and_another_is_refused() -> None:
    for kind in (Words, Speech):
        found = [one.name for one in alterations(kind())]
        assert len(set(found)) == len(found)
    message = r"alteration: expected one of alterations\(module\), got gelu"
    with pytest.raises(InvalidInput, match=message), altered(nn.Linear(2, 2), "gelu"):
        pass


def test_nothing_is_offered_that_cannot_matter() -> None:
    losses = {one.name for one in alterations(nn.Tanh())}
    assert {name.partition(":")[0] for name in losses} == {
        "reduction", "kl-mean", "ignore-index", "weights", "pos-weight", "label-smoothing",
        "squared-error", "huber", "kl-log-target", "ctc-mean", "ctc-lengths", "ctc-infinity",
        "ctc-blank", "log-softmax-axis",
    }  # fmt: skip

    def more(module: nn.Module, **settings: bool) -> list[str]:
        return [o.name for o in alterations(module, **settings) if o.name not in losses]

    assert more(nn.Linear(3, 3)) == []
    assert more(nn.RNN(3, 3)) == [
        "initial-state:zero", "initial-state:detached", "batch-first", "nonlinearity:relu",
    ]  # fmt: skip
    assert more(nn.RNNCell(3, 3)) == [
        "initial-state:zero", "initial-state:detached", "state:zero", "state:detached",
        "nonlinearity:relu",
    ]  # fmt: skip
    assert "lengths" in more(nn.RNN(3, 3), packed=True)
    assert "reverse-padding" not in more(nn.RNN(3, 3), packed=True)
    assert "states" in more(nn.LSTM(3, 3))
    assert "halves" not in more(nn.GRU(3, 3, 2))
    assert "halves" in more(nn.GRU(3, 3, bidirectional=True))
    assert "reset-gate" not in more(nn.LSTM(3, 3, bidirectional=True))
    assert more(nn.Sequential(nn.Tanh(), nn.Linear(2, 2))) == [
        "stop-gradient:0", "stop-gradient:1", "stop-gradient-input:0", "stop-gradient-input:1",
    ]  # fmt: skip


def test_a_batch_norm_that_runs_twice_has_its_gradients() -> None:
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.norm(x).tanh())

    module, x = Twice(), torch.randn(5, 3)
    expected = torch.autograd.grad(module(x).pow(3).sum(), [*module.parameters()])
    for name in ("batch-norm-variance", "batch-norm-momentum:0.9"):
        with altered(module, name):
            close(torch.autograd.grad(module(x).pow(3).sum(), [*module.parameters()]), expected)
