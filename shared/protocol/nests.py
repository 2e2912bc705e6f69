"""Nests of arrays, as training loops hand them around: tuples, lists, dicts, named tuples and
dataclasses in any nesting, with None where there is nothing.

A packed sequence of PyTorch is `Packed` here, which either framework takes in its own way.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np

from shared.errors import InvalidInput


class Packed(NamedTuple):
    """Sequences of several lengths without padding, as `torch.nn.utils.rnn.PackedSequence`."""

    data: Any
    """(sum of lengths, …): step after step, of each step the sequences that are that long."""
    batch_sizes: Any
    """(T,): how many sequences each step has."""
    sorted_indices: Any
    """(B,): which sequence stands first, second, …; None if they are sorted."""
    unsorted_indices: Any
    """(B,): the way back."""

    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the sequences with zeros behind them, (B, T, …), and their lengths, (B,)."""
        data, sizes = np.asarray(self.data), np.asarray(self.batch_sizes)
        found = np.zeros((sizes[0], len(sizes), *data.shape[1:]), data.dtype)
        lengths = np.zeros(sizes[0], np.int64)
        for t, (end, size) in enumerate(zip(np.cumsum(sizes), sizes, strict=True)):
            found[:size, t] = data[end - size : end]
            lengths[:size] += 1
        if self.unsorted_indices is None:
            return found, lengths
        back = np.asarray(self.unsorted_indices)
        return found[back], lengths[back]


def is_packed(value: Any) -> bool:
    """Tells whether this is a `Packed` or PyTorch's own."""
    return isinstance(value, tuple) and getattr(value, "_fields", ()) == Packed._fields


def children(value: Any) -> list[tuple[str, Any]] | None:
    """Returns the parts of a tuple, list, dict, named tuple or dataclass with their names:
    positions, keys or fields. Returns None for anything else, which is a leaf."""
    if isinstance(value, Mapping):
        return [(str(key), part) for key, part in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(value, (tuple, list)):
        return [(str(i), part) for i, part in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    return None


def mapped(
    function: Callable[[str, Any], Any],
    value: Any,
    name: str = "",
    packed: Callable[[Packed], Any] = lambda packed: packed,
) -> Any:
    """Returns a nest of the same form, with a function of each leaf's name and value in place of
    the leaf. None stays None.

    Args:
        name: what the nest is called; the names of the leaves begin with it: "targets.0".
        packed: makes something else of a packed sequence whose leaves are replaced already.
    """
    if value is None:
        return None
    found = children(value)
    if found is None:
        return function(name, value)
    parts = [mapped(function, part, below(name, key), packed) for key, part in found]
    if is_packed(value):
        return packed(Packed(*parts))
    if isinstance(value, Mapping):
        return dict(zip(value, parts, strict=True))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*parts)
    if isinstance(value, (tuple, list)):
        return list(parts) if isinstance(value, list) else tuple(parts)
    found = copy.copy(value)
    for field, part in zip(fields(value), parts, strict=True):
        object.__setattr__(found, field.name, part)  # also of a frozen one
    return found


def parts(name: str, value: Any, tensor: type | tuple[type, ...]) -> dict[str, Any]:
    """Returns the tensors of a nest by name: "lstm" if it is one, else "lstm.0", "lstm.1.0", ….

    The names come from the positions of a tuple or list, the keys of a dict, the fields of a named
    tuple or dataclass.

    Args:
        tensor: the type that counts as a tensor.

    Raises:
        InvalidInput: something else than tensors, or two of one name.
    """
    if value is None:
        return {}
    if isinstance(value, tensor):
        return {name: value}
    found = children(value)
    if found is None:
        raise InvalidInput(f"{name}: expected tensors, got {type(value).__name__}")
    return together(parts(below(name, key), part, tensor) for key, part in found)


def together(named: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns all in one; two of one name are refused.

    Raises:
        InvalidInput: there are two.
    """
    found: dict[str, Any] = {}
    for one in named:
        for twice in found.keys() & one.keys():
            raise InvalidInput(f"{twice}: expected one tensor of that name, got two")
        found |= one
    return found


def below(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def arguments(inputs: Any) -> tuple[tuple, dict[str, Any]]:
    """Returns the arguments that a model is called with: those of a tuple or list by position,
    those of a dict by keyword; anything else is one argument."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    if type(inputs) in (tuple, list):
        return tuple(inputs), {}
    return (inputs,), {}


def structure(value: Any) -> Any:
    """Returns what a nest is without its leaves, to be compared and hashed."""
    found = children(value)
    if found is None:
        return None if value is None else "leaf"
    return type(value), tuple((key, structure(part)) for key, part in found)


def leaves(value: Any) -> list[Any]:
    """Returns the leaves of a nest, without None."""
    found = children(value)
    if found is None:
        return [] if value is None else [value]
    return [leaf for _, part in found for leaf in leaves(part)]


def has_packed(value: Any) -> bool:
    """Tells whether there is a packed sequence in a nest."""
    return is_packed(value) or any(has_packed(part) for _, part in children(value) or ())
