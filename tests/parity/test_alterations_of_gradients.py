"""Alterations of gradients: outputs and inputs without gradient, tied weights untied."""

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnn_torch.alterations import altered
from tests.support.altered_models import close, float64, names, run

__all__ = ["float64"]
pytestmark = pytest.mark.usefixtures("float64")


class Tied(nn.Module):
    def __init__(self, names: bool):
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.body = nn.LSTM(4, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.names = names
        if names:
            self.head.weight = self.embedding.weight
        else:
            del self.head

    def forward(self, x: Tensor, stop: str = "") -> Tensor:
        def at(place: str, value: Tensor) -> Tensor:
            return value.detach() if stop == place else value

        embedded = at("embedding", F.embedding(x, at("rows", self.embedding.weight)))
        if not stop:
            embedded = self.embedding(x)
        hidden = at("body", self.body(embedded)[0])
        if self.names and not stop:
            return self.head(hidden)
        return hidden @ at("head", self.embedding.weight).T


@pytest.mark.parametrize("by_name", [True, False])
def test_tied_weights_untied_and_gradients_stopped(by_name: bool) -> None:
    module, x = Tied(by_name), torch.tensor([[1, 2], [3, 1]])
    cases = {"stop-gradient:body": "body", "stop-gradient-input:body": "embedding"}
    cases["stop-gradient:embedding"] = "embedding"
    if by_name:
        cases |= {"untied:embedding.weight": "rows", "untied:head.weight": "head"}
        cases["stop-gradient-input:head"] = "body"
    else:
        cases["untied:embedding.weight"] = "head"
    for name, stop in cases.items():
        close(run(module, name, x), module(x, stop), module)
    found = names(module, "untied")
    assert found == [name for name in cases if name.startswith("untied")]
    with altered(module, found[-1]), torch.no_grad():  # loaded meanwhile, as a program does
        module.embedding.weight.mul_(2.0)
        loaded = module(x)
    close(loaded, module(x))


def test_nothing_is_untied_that_is_not_tied() -> None:
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(6, 4), nn.Linear(4, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.embedding(x))

    assert names(Plain(), "untied") == []


class Output(NamedTuple):
    values: Tensor
    more: dict[str, list[Tensor]]


@dataclass(frozen=True)
class Input:
    values: Tensor
    number: int


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale, self.part = nn.Parameter(torch.randn(3)), Part()

    def forward(self, x: Tensor) -> Tensor:
        out = self.part(Input(x * self.scale, 2), last=x - self.scale)
        assert isinstance(out, Output)
        return out.values * out.more["last"][0]


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3))

    def forward(self, given: Input, *, last: Tensor) -> Output:
        return Output(self.weight * given.values + given.number, {"last": [last * self.weight]})


def test_gradients_stop_in_any_nesting() -> None:
    module, x = Nested(), torch.randn(3)
    out = module(x)
    found = run(module, "stop-gradient:part", x)
    close(found, out)
    assert not found.requires_grad
    found = run(module, "stop-gradient-input:part", x)
    close(found, out)
    other = (module.part.weight * (x * module.scale).detach() + 2) * (
        (x - module.scale).detach() * module.part.weight
    )
    close(found, other, module)
    assert "stop-gradient" not in names(module, "stop-gradient")  # not of the whole
