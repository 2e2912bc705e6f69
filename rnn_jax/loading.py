"""The tensors of a module by name: read, and loaded all or nothing."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnn_jax.arrays import placed
from rnn_jax.ties import tied
from shared.errors import InvalidInput
from shared.protocol.checks import check_tensors
from shared.protocol.layer import Shape


def read(module: nnx.Module, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """Returns the parameters of these names."""
    return {name: np.asarray(getattr(module, name)[...]) for name in shapes}


def load(module: nnx.Module, shapes: Mapping[str, Shape], tensors: Mapping[str, Any]) -> None:
    """Gives the parameters of these names the values of tensors, cast to the parameters' dtype.

    Raises:
        InvalidInput: a tensor is missing, unexpected, of another shape or not of real numbers, or
            two of them differ that are one parameter; the module then stays as it was.
    """
    check_tensors(shapes, tensors)
    arrays = {}
    for name, tensor in tensors.items():
        old = getattr(module, name).get_value()  # of nnx.eval_shape: a shape and a dtype alone
        arrays[name] = placed(_array(name, tensor).astype(old.dtype), old)
    for name, earlier in tied(module, shapes).items():
        if np.asarray(arrays[name]).tobytes() != np.asarray(arrays[earlier]).tobytes():
            raise InvalidInput(
                f"{earlier}, {name}: expected equal values, for they are one parameter, got two"
            )
    for name, array in arrays.items():
        getattr(module, name).set_value(array)


def _array(name: str, tensor: Any) -> np.ndarray:
    """Returns a tensor of any framework in NumPy."""
    if hasattr(tensor, "detach"):  # torch; NumPy has no bfloat16, which float32 contains
        tensor = tensor.detach().cpu()
        tensor = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
    array = np.asarray(tensor)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise InvalidInput(f"{name}: expected real numbers, got {array.dtype}")
    return array
