"""Computes in one precision, also with tensors that a model or a loss holds from before.

Zeros that a forward pass makes have the default dtype. A table of constants, the class weights of a
loss or a mask in a global variable have the dtype that they were made with, float32 as a rule. Both
count in float64 here, and nobody's tensors are changed.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rnn_torch import private
from shared.errors import InvalidInput

VIEWS = ("T", "mT", "H", "mH", "data", "real", "imag")
"""Attributes of a tensor that are tensors."""


class Held:
    """Twins in another precision of tensors that code holds; kept from step to step, so that what
    is written into one is there at the next."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.twins: dict[int, tuple[Tensor, Tensor]] = {}
        """By their memory: of each storage a tensor that keeps it, and all of it in the precision.
        Two tensors that share memory have twins that do."""
        self.made: dict[int, weakref.ref[Tensor]] = {}

    def twin(self, tensor: Tensor) -> Tensor:
        """Returns the tensor in the precision, if it was made before this step."""
        if self.dtype != torch.float64 or not tensor.is_floating_point():
            return tensor
        if tensor.dtype == self.dtype:
            return tensor
        made = self.made.get(id(tensor))
        if made is not None and made() is tensor:
            return tensor
        if tensor.requires_grad and tensor.is_leaf:
            raise InvalidInput(
                "expected all that is trained to be in the module that was given, got a parameter "
                f"of shape {tuple(tensor.shape)} from elsewhere (the loss, a closure, a global)"
            )
        if tensor.layout != torch.strided:
            return tensor.detach().to(self.dtype)
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in self.twins:
            size = memory.nbytes() // tensor.element_size()
            whole = tensor.detach().as_strided((size,), (1,), 0)
            self.twins[memory.data_ptr()] = tensor, whole.to(self.dtype)
        _, twin = self.twins[memory.data_ptr()]
        return twin.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())

    def note(self, results: Any) -> None:
        """Notes tensors that the code made itself: they stay as it made them."""
        for one in _tensors(results):
            if one.is_floating_point() and one.dtype != self.dtype:
                self.made[id(one)] = weakref.ref(one)


class _Twins(TorchFunctionMode):
    def __init__(self, held: Held) -> None:
        super().__init__()
        self.held = held

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Looking at a tensor, at its shape or its dtype, is no computing with it.
        name = getattr(func, "__name__", "")
        if name == "__get__" and getattr(func.__self__, "__name__", "") in VIEWS:
            return func(*map(self._twins, args), **(kwargs or {}))
        if name in ("__get__", "__set__", "__delete__", "__hash__", "__repr__", "dim", "size"):
            return func(*args, **(kwargs or {}))
        found = [self._twins(value) for value in args]
        named = {key: self._twins(value) for key, value in (kwargs or {}).items()}
        result = func(*found, **named)
        self.held.note(result)
        return result

    def _twins(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.held.twin(value)
        if type(value) in (tuple, list):
            return type(value)(self._twins(one) for one in value)
        return value


@contextmanager
def in_precision(held: Held) -> Iterator[None]:
    """Makes this the default dtype inside, and lets functions see twins of what is held."""
    before = torch.get_default_dtype()
    held.made.clear()
    torch.set_default_dtype(held.dtype)
    try:
        with _Twins(held):
            yield
    finally:
        torch.set_default_dtype(before)


def _tensors(results: Any) -> list[Tensor]:
    leaves = [results] if private.tree_leaves is None else private.tree_leaves(results)
    return [one for one in leaves if isinstance(one, Tensor)]
