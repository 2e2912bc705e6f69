"""A model as a function of its weights, by their names in the state dict, in evaluation mode."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from rnn_torch.exchange import to_numpy, to_tensor
from shared.errors import InvalidInput
from shared.protocol.program import calling, parts
from shared.protocol.weights import Weights

Evaluate = Callable[[Weights], list[np.ndarray]]


def evaluation(module: nn.Module, inputs: Sequence[np.ndarray]) -> Evaluate:
    """Returns the function weights → outputs in float64, one after the other.

    Args:
        module: as `rnn_torch.plain` makes it; a copy is computed with.
        inputs: what it is called with.
    """
    with calling("theirs", "a module that can be copied"):
        module = copy.deepcopy(module).double().eval()
    tensors = [to_tensor(np.asarray(array)) for array in inputs]
    tensors = [t.double() if t.is_floating_point() else t for t in tensors]

    def evaluate(weights: Weights) -> list[np.ndarray]:
        values = {name: to_tensor(array) for name, array in weights.items()}
        with torch.no_grad(), calling("theirs"):
            arguments = tuple(tensor.clone() for tensor in tensors)
            outputs = torch.func.functional_call(module, values, arguments)
        found = list(parts("outputs", _without_packing(outputs), torch.Tensor).values())
        if not found:
            raise InvalidInput("theirs: expected outputs to compare, got none")
        return [to_numpy(tensor) for tensor in found]

    return evaluate


def state(module: nn.Module) -> Weights:
    """Returns the state dict in NumPy, real numbers in float64."""
    found = {name: to_numpy(tensor) for name, tensor in module.state_dict().items()}
    return {
        name: array.astype(np.float64) if array.dtype.kind not in "iub" else array
        for name, array in found.items()
    }


def _without_packing(outputs: Any) -> Any:
    """Returns outputs with the rows alone of what is packed."""
    if isinstance(outputs, torch.nn.utils.rnn.PackedSequence):
        return outputs.data
    if type(outputs) in (tuple, list):
        return [_without_packing(part) for part in outputs]
    return outputs
