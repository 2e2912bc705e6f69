"""A tensor of any framework as an array of NumPy."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.protocol.backend import part_of


def to_array(name: str, tensor: Any) -> np.ndarray:
    """Returns a tensor of any framework in NumPy.

    Raises:
        InvalidInput: no tensor.
    """
    if hasattr(tensor, "detach"):
        try:
            return part_of("torch", "exchange").to_numpy(tensor)
        except (TypeError, RuntimeError, NotImplementedError) as error:  # sparse, quantised, …
            kind = f"{tensor.layout}, {tensor.dtype}, on {tensor.device}"
            raise InvalidInput(f"{name}: expected plain values, got {kind}") from error
    if isinstance(tensor, Mapping):
        raise InvalidInput(
            f"{name}: expected an array, got {type(tensor).__name__}: if the tensors are in it, "
            f"pass that, checkpoint[{name!r}]"
        )
    if not hasattr(tensor, "dtype"):
        raise InvalidInput(
            f"{name}: expected an array, got {type(tensor).__name__}; of a checkpoint, pass the "
            "state dict alone"
        )
    return np.asarray(tensor)
