"""What tests of alterations share: models, and the comparison with a port that is written so."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnn_torch.alterations import alterations, altered

LENGTHS = (2, 5, 3, 1)


@pytest.fixture
def float64() -> Iterator[None]:
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


class Packed(nn.Module):
    """A recurrent layer over sequences of several lengths."""

    def __init__(self, rnn: Any, value: float = 0.0, total: int | None = None):
        super().__init__()
        self.rnn, self.value, self.total = rnn, value, total

    def forward(self, x: Tensor) -> Any:
        packed = pack_padded_sequence(x, [*LENGTHS], batch_first=True, enforce_sorted=False)
        outputs, states = self.rnn(packed)
        padded, lengths = pad_packed_sequence(
            outputs, batch_first=True, padding_value=self.value, total_length=self.total
        )
        assert lengths.tolist() == list(LENGTHS)
        return padded, states


def kernels(module: nn.Module, end: str = "") -> list[Tensor]:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [getattr(module, f"{name}{end}") for name in names]


def run(module: nn.Module, name: str, *inputs: Any) -> Any:
    with altered(module, name):
        return module(*inputs)


def names(module: nn.Module, kind: str) -> list[str]:
    return [one.name for one in alterations(module) if one.name.startswith(kind)]


def leaves(value: Any) -> list[Tensor]:
    if torch.is_tensor(value):
        return [value]
    return [leaf for part in value for leaf in leaves(part)]


def close(found: Any, expected: Any, module: nn.Module | None = None) -> None:
    """Raises unless both are the same within 1e-10, with the gradients of the parameters if there
    is a module, and neither is zero."""
    mine, theirs = leaves(found), leaves(expected)
    assert len(mine) == len(theirs)
    if module is not None:
        parameters = [*module.parameters()]
        for side in (mine, theirs):
            total = torch.stack([(one**3 + one).sum() for one in side]).sum()
            side += torch.autograd.grad(total, parameters, allow_unused=True, retain_graph=True)
    for one, other in zip(mine, theirs, strict=True):
        if other is None or one is None:
            assert one is other
            continue
        assert other.any()
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
