"""The module that a program of a pair begins with, and a fresh copy of it for each run."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from rnn_torch.nests import to_array
from rnn_torch.plain import copied
from shared.errors import InvalidInput
from shared.protocol.bound_mapping import COUNTER
from shared.protocol.program import calling

DROPOUT = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip


def source(module: Any, dtype: torch.dtype) -> Callable[[], nn.Module]:
    """Returns the function that makes a fresh copy of a module, or calls its factory again in the
    same state of random numbers."""
    if isinstance(module, nn.Module):
        _check_parameters(module)
        try:
            original = copied(module).to(dtype)
        except InvalidInput as error:
            raise InvalidInput(
                f"module: expected one that can be copied, or a function that makes it: {error}"
            ) from error
        return lambda: copied(original)
    expected = "a torch.nn.Module, or a function without arguments that makes one"
    if not callable(module) or (isinstance(module, type) and not issubclass(module, nn.Module)):
        raise InvalidInput(f"module: expected {expected}, got {type(module).__name__}")
    state = torch.get_rng_state()

    def made() -> nn.Module:
        with torch.random.fork_rng(), calling("module", expected):
            torch.set_rng_state(state)
            found = module()
        if not isinstance(found, nn.Module):
            raise InvalidInput(
                f"module: expected a function that makes a torch.nn.Module, got {found!r} from it"
            )
        _check_parameters(found)
        return found.to(dtype)

    return made


def _check_parameters(module: nn.Module) -> None:
    for param, tensor in module.named_parameters():
        if nn.parameter.is_lazy(tensor) or tensor.is_meta:
            raise InvalidInput(f"module: expected parameters with values, got none in {param}")
        if tensor.is_complex():
            raise InvalidInput(f"module: expected real parameters, got {tensor.dtype} in {param}")


def check_without_dropout(module: nn.Module) -> None:
    """Raises InvalidInput if something draws dropout masks."""
    for name, part in module.named_modules():
        rate = 0.0
        if isinstance(part, DROPOUT):
            rate = part.p
        elif isinstance(part, (nn.RNNBase, nn.MultiheadAttention)):
            rate = part.dropout if getattr(part, "num_layers", 2) > 1 else 0.0
        if part.training and rate > 0:
            raise InvalidInput(
                f"module: expected dropout to be off (eval() or a rate of 0), or "
                f'dropout="replay", since no two frameworks draw the same; got a rate of '
                f"{rate} in {name or 'it'}"
            )


def buffers(module: nn.Module) -> dict[str, np.ndarray]:
    """Returns the buffers of numbers, by name, but for those that only count batches."""
    return {
        name: to_array(buffer)
        for name, buffer in module.named_buffers()
        if not buffer.is_complex() and not name.endswith(COUNTER)
    }
