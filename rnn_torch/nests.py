"""Nests of arrays as tensors, and back (see `shared/protocol/nests.py`)."""

from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from shared.protocol.nests import Packed, mapped, parts


def to_tensors(nest: Any, dtype: torch.dtype, device: torch.device | None = None) -> Any:
    """Returns a nest with tensors in place of arrays: real numbers in this dtype, and a packed
    sequence as torch has it."""

    def tensor(_: str, array: np.ndarray) -> Tensor:
        found = torch.tensor(array, device=device)
        return found.to(dtype) if found.is_floating_point() else found

    def packed(one: Packed) -> PackedSequence:
        return PackedSequence(one.data, one.batch_sizes.cpu(), *one[2:])  # they are there always

    return mapped(tensor, nest, packed=packed)


def copies(name: str, value: Any) -> dict[str, Tensor]:
    """Returns copies of the tensors of a nest; a packed sequence as (padded, lengths)."""
    nest = mapped(lambda _, leaf: leaf, value, packed=_padded)
    return {n: tensor.detach().clone() for n, tensor in parts(name, nest, Tensor).items()}


def _padded(packed: Packed) -> tuple[Tensor, Tensor]:
    sequence = PackedSequence(*packed)
    return nn.utils.rnn.pad_packed_sequence(sequence, batch_first=True)


def to_array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # which NumPy does not know by itself
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16).copy()
    return tensor.numpy().copy()
