"""Layer of torch for the tests of scripts/convert.py, and how they call it."""

import subprocess
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

STACKED: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
Convert = Callable[..., subprocess.CompletedProcess]


def lstm(**options: Any) -> nn.LSTM:
    torch.manual_seed(0)
    return nn.LSTM(3, 4, **(STACKED | options))
