"""A nest of arrays as one argument of a compiled function, whatever dataclasses are in it."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from shared.protocol.nests import Packed, leaves, mapped, structure


class _Form:
    """What a nest is without its arrays. Two nests of one form share a compiled function."""

    def __init__(self, value: Any) -> None:
        self.template = mapped(lambda name, _: name, value)
        self._structure = structure(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Form) and self._structure == other._structure

    def __hash__(self) -> int:
        return hash(self._structure)


@jax.tree_util.register_pytree_node_class
class Nest:
    """Tuples, lists, dicts, named tuples, dataclasses and None, with arrays as leaves."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def tree_flatten(self) -> tuple[list[Any], _Form]:
        return leaves(self.value), _Form(self.value)

    @classmethod
    def tree_unflatten(cls, form: _Form, arrays: Sequence[Any]) -> "Nest":
        found = iter(arrays)
        return cls(mapped(lambda *_: next(found), form.template))


def cast(nest: Any, dtype: np.dtype) -> Any:
    """Returns a nest with its real numbers in this dtype, and a packed sequence as (padded,
    lengths). Integers keep their dtype, whatever JAX makes of them."""

    def array(_: str, values: np.ndarray) -> np.ndarray:
        return values.astype(dtype) if values.dtype.kind == "f" else values

    return mapped(array, nest, packed=Packed.padded)
