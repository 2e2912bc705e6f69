"""What the tests of the torch layers share: torch's layer and ours with the same weights."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

import rnn_torch
from tests.support.compare_arrays import check_all_close

NAMES = ["RNN", "LSTM", "GRU"]
STACKED: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "batch_first": True}


def pair(name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """Theirs and ours, of the same weights, in float64."""
    options = {"dtype": torch.float64} | options
    theirs = getattr(nn, name)(*args, **options)
    ours = getattr(rnn_torch, name)(*args, **options)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def tensors(result: Any) -> dict[str, np.ndarray]:
    """What a call returned, by position."""
    output, state = result
    output = output.data if isinstance(output, PackedSequence) else output
    parts = [output, *(state if isinstance(state, tuple) else (state,))]
    return {str(i): part.detach().to(torch.float64).numpy() for i, part in enumerate(parts)}


def check_same(ours: Any, theirs: Any, relative: float = 1e-10) -> None:
    check_all_close(tensors(ours), tensors(theirs), relative=relative)


def randn(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator)
