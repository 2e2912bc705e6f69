"""A model as a function of its weights, by their names in the state dict, in evaluation mode."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from rnn_torch.exchange import to_numpy, to_tensor
from rnn_torch.held import Held, in_precision
from rnn_torch.nests import to_tensors
from shared.errors import InvalidInput
from shared.protocol.nests import arguments, parts
from shared.protocol.program import calling
from shared.protocol.weights import Weights

Evaluate = Callable[[Weights], Weights]


def evaluation(module: nn.Module, inputs: Any) -> Evaluate:
    """Returns the function weights → outputs by name, in float64. Random numbers stay where they
    are.

    Args:
        module: as `rnn_torch.plain` makes it. Each call computes with a copy of its own, so that
            what a module keeps from call to call is not there.
        inputs: what it is called with, a nest of arrays (`shared.protocol.nests.arguments`).

    Raises:
        InvalidInput: a module that cannot be copied, or that draws random numbers.
    """
    with calling("theirs", "a module that can be copied"):
        original = copy.deepcopy(module).double().eval()
    seeds = itertools.count()

    def evaluate(weights: Weights) -> Weights:
        copied = copy.deepcopy(original)
        held = dict(copied.named_parameters()) | dict(copied.named_buffers())
        # Zeros that a forward pass makes, and constants that it holds, are in float64, too.
        precision = in_precision(Held(torch.float64))
        with torch.no_grad(), torch.random.fork_rng(devices=[]), precision, calling("theirs"):
            torch.manual_seed(next(seeds))
            for name, array in weights.items():
                held[name].copy_(to_tensor(array))
            given, named = arguments(to_tensors(inputs, torch.float64))
            outputs = copied(*given, **named)
        found = parts("outputs", _without_packing(outputs), torch.Tensor)
        return {name: to_numpy(tensor) for name, tensor in found.items()}

    once, twice = evaluate({}), evaluate({})
    if any(not np.array_equal(once[name], twice[name], equal_nan=True) for name in once):
        raise InvalidInput(
            "theirs: expected the same outputs from two calls in evaluation mode, got others: it "
            "draws random numbers"
        )
    return evaluate


def state(module: nn.Module) -> Weights:
    """Returns the state dict in NumPy, real numbers in float64.

    Raises:
        InvalidInput: complex parameters, or values that are not there.
    """
    for name, parameter in module.named_parameters():
        if parameter.is_complex() or parameter.is_meta:
            got = "none" if parameter.is_meta else str(parameter.dtype)
            raise InvalidInput(f"{name}: expected real values, got {got}")
    found = {name: to_numpy(tensor) for name, tensor in module.state_dict().items()}
    return {
        name: array if array.dtype.kind in "iubc" else array.astype(np.float64)
        for name, array in found.items()
    }


def _without_packing(outputs: Any) -> Any:
    """Returns outputs with the rows alone of what is packed."""
    if isinstance(outputs, torch.nn.utils.rnn.PackedSequence):
        return outputs.data
    if type(outputs) in (tuple, list):
        return [_without_packing(part) for part in outputs]
    return outputs


def real(name: str, loss: Any) -> torch.Tensor:
    """Returns the loss of a program, which must be one real number."""
    got = type(loss).__name__
    if torch.is_tensor(loss):
        if not loss.dim() and loss.is_floating_point():
            return loss
        got = f"{str(loss.dtype).removeprefix('torch.')} of shape {tuple(loss.shape)}"
    raise InvalidInput(f"{name}: loss: expected one real number as a tensor, got {got}")
