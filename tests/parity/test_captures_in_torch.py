"""What submodules in PyTorch are given and return is recorded, and nothing is changed by it."""

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from rnn_torch.captures import captured, current, kinds

B, T, F, H = 2, 3, 4, 5


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def shown(calls: Any) -> list[tuple]:
    return [(c.path, c.number, *map(list, (c.inputs, c.outputs))) for c in calls]


class Slotted(nn.Module):
    __slots__ = ("scale",)

    def __init__(self) -> None:
        super().__init__()
        self.scale = 2.0
        self.drop = nn.Dropout(0.5)

    def forward(self, x, *, mask=None, again: bool = False):
        x = self.drop(self.scale * x)
        return {"kept": x if mask is None else x * mask, "again": again, "none": None}


class Original(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(F, H, batch_first=True, bidirectional=True)
        self.norm = nn.BatchNorm1d(2 * H)
        self.slotted = Slotted()
        self.cells = nn.ModuleList([nn.GRUCell(2 * H, 2 * H)])
        self.act = nn.ReLU(inplace=True)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        packed, (h, _) = self.rnn(packed)
        h = self.slotted(self.norm(torch.cat([h[0], h[1]], -1)), mask=h[0, :, :1])["kept"]
        for _ in range(2):
            h = self.cells[0](h, h)
        return self.act(h - 0.1), packed


def test_torchs_submodules() -> None:
    torch.manual_seed(0)
    module = Original().double()
    x, lengths = torch.tensor(numbers(B, T, F)), torch.tensor([1, 3])
    with captured(module) as calls:
        out, _ = module(x, lengths)
    assert shown(calls) == [
        ("rnn", 1, ["inputs.0.padded", "inputs.0.lengths"],
         ["outputs.0.padded", "outputs.0.lengths", "outputs.1.0", "outputs.1.1"]),
        ("norm", 1, ["inputs.0"], ["outputs"]),
        ("slotted.drop", 1, ["inputs.0"], ["outputs"]),
        ("slotted", 1, ["inputs.0", "inputs.mask"], ["outputs.kept"]),
        ("cells.0", 1, ["inputs.0", "inputs.1"], ["outputs"]),
        ("cells.0", 2, ["inputs.0", "inputs.1"], ["outputs"]),
        ("act", 1, ["inputs.0"], ["outputs"]),
        ("", 1, ["inputs.0", "inputs.1"],
         ["outputs.0", "outputs.1.padded", "outputs.1.lengths"]),
    ]  # fmt: skip
    assert kinds(module)["cells.0"] == "GRUCell"
    rnn, act = calls[0], calls[6]
    assert rnn.inputs["inputs.0.lengths"].tolist() == [1, 3]
    assert torch.equal(rnn.inputs["inputs.0.padded"][1], x[1])
    assert not rnn.outputs["outputs.0.padded"][0, 1:].any()
    assert torch.equal(calls[4].outputs["outputs"], calls[5].inputs["inputs.0"])
    # As it was before the module changed it in place, and as the caller got it.
    assert (act.inputs["inputs.0"] < 0).any()
    assert torch.equal(act.outputs["outputs"], out)
    assert not any(
        t.requires_grad for c in calls for t in (*c.inputs.values(), *c.outputs.values())
    )
    out.data.zero_()
    assert act.outputs["outputs"].any()


def test_torch_computes_the_same_bit_for_bit() -> None:
    def run(capture: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        module = Original().double()
        x = torch.tensor(numbers(B, T, F))
        if capture:
            with captured(module):
                out, packed = module(x, torch.tensor([1, 3]))
        else:
            out, packed = module(x, torch.tensor([1, 3]))
        (out.square().sum() + packed.data.sum()).backward()
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        return [out, packed.data, *module.buffers(), *gradients, torch.rand(2)]

    assert all(torch.equal(a, b) for a, b in zip(run(True), run(False), strict=True))


def double(_: nn.Module, __: Any, out: Any) -> Any:
    return out + out


class Catching(nn.Module):
    """Asks for the path that runs, also after an error that it catches."""

    def __init__(self) -> None:
        super().__init__()
        self.asks: list[str] = []
        self.wrong = nn.Sequential(nn.Linear(2, 2))
        self.right = nn.Linear(F, F)
        self.right.register_forward_hook(lambda *_: self.asks.append(current()))
        self.right.register_forward_hook(double)

    def forward(self, x):
        with contextlib.suppress(RuntimeError):
            self.wrong(x)
        return self.right(x)


def test_torchs_hooks_are_removed_whatever_happens() -> None:
    module = Catching().double()
    x = torch.tensor(numbers(B, F))
    hooks = [len(part._forward_hooks) for part in module.modules()]
    with captured(module) as calls:
        out = module(x)
        assert current() == ""
    assert [call.path for call in calls] == ["right", ""]
    assert module.asks == ["right"]
    # What the user's own hooks made of it.
    assert torch.equal(calls[0].outputs["outputs"], out)
    module.asks.clear()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), captured(module):
        module(x[:, :3])
    assert current() == ""
    assert [len(part._forward_hooks) for part in module.modules()] == hooks
    assert not any(part._forward_pre_hooks for part in module.modules())


def test_a_compiled_module_is_left_out() -> None:
    module = nn.Sequential(torch.jit.script(nn.Linear(F, H)), nn.Tanh())
    with captured(module) as calls:
        module(torch.ones(B, F))
    assert [call.path for call in calls] == ["1", ""]
