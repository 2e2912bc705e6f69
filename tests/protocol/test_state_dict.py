"""Recurrent layers in state dicts and files: recognised by their shapes, read back as written."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn

from rnn_torch.files import read_torch, write_torch
from shared.errors import InvalidInput
from shared.protocol import LayerConfig
from shared.protocol.state_dict import find_layer, read_safetensors
from shared.system.tensor_files import write_tensors


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("hidden", [1, 4])
def test_a_layer_is_recognised_by_its_shapes(
    cell: str, bias: bool, bidirectional: bool, hidden: int
) -> None:
    arguments: dict[str, Any] = {"num_layers": 3, "bias": bias, "bidirectional": bidirectional}
    layer = getattr(nn, cell)(5, hidden, **arguments)
    tensors = {f"a.b.{name}": tensor.numpy() for name, tensor in layer.state_dict().items()}
    found = find_layer(tensors)
    kind: Any = cell.lower()
    assert found.config == LayerConfig(kind, 5, hidden, **arguments)
    assert found.prefix == "a.b."
    assert list(found.tensors) == list(layer.state_dict())


def test_a_prefix_may_hold_anything(tmp_path: Path) -> None:
    tensors = {f"a\nweight_ih_l0.{k}": t.numpy() for k, t in nn.GRU(3, 4).state_dict().items()}
    assert find_layer(tensors).prefix == "a\nweight_ih_l0."
    empty = {k: t.numpy() for k, t in nn.GRU(3, 4).state_dict().items()}
    assert find_layer(tensors | empty, prefix="").prefix == ""


def test_files_of_torch_and_safetensors_hold_the_same(tmp_path: Path) -> None:
    tensors = {
        "weight_ih_l0": np.arange(6, dtype=np.float32).reshape(3, 2).T,  # not contiguous
        "weight_hh_l0": np.asarray([[1.5]], ml_dtypes.bfloat16),
    }
    write_torch(tmp_path / "a.pt", tensors)
    write_tensors(tmp_path / "a.safetensors", tensors)
    for read, name in ((read_torch, "a.pt"), (read_safetensors, "a.safetensors")):
        found, others = read(tmp_path / name)
        assert others == []
        for key, array in tensors.items():
            assert found[key].dtype == array.dtype
            assert np.array_equal(found[key], array)


def test_only_recurrent_tensors_are_read(tmp_path: Path) -> None:
    """A model's other tensors may be of kinds that NumPy lacks, and large."""
    eights = torch.ones(2).to(torch.float8_e4m3fn)
    whole = nn.LSTM(3, 4).state_dict()
    torch.save({"x": eights} | dict(whole), tmp_path / "a.pt")
    tensors, others = read_torch(tmp_path / "a.pt")
    assert others == ["x"]
    assert set(tensors) == set(whole)
    with pytest.raises(InvalidInput, match="expected a safetensors file"):
        read_safetensors(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("tensors", "got"),
    [
        (None, "NoneType"),
        ([1], "list"),
        ({"weight_ih_l0": 3}, "3 as 'weight_ih_l0'"),
        ({1: np.ones(2)}, r"array\(\[1., 1.\]\) as 1"),
    ],
    ids=str,
)
def test_what_is_no_state_dict_is_refused(tensors: Any, got: str) -> None:
    with pytest.raises(InvalidInput, match=f"^expected arrays by name, got {got}$"):
        find_layer(tensors)
