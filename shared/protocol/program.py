"""One program of a pair: a model with its loss and optimizer, in either framework."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from shared.errors import InvalidInput
from shared.protocol.trace import Trace
from shared.protocol.weights import Weights

Inputs = Sequence[np.ndarray]
"""Arguments that the model is called with, one array or several."""


class Example(NamedTuple):
    """One batch."""

    inputs: Inputs
    targets: np.ndarray


class Program(Protocol):
    """A model with its loss and optimizer, in either framework."""

    name: str

    def begin(self, weights: Weights) -> None:
        """Takes over weights by their names in PyTorch, and starts afresh.

        The optimizer forgets what it knew, and other state is reset to that of the new program.
        """
        ...

    def load(self, weights: Weights) -> None:
        """Takes over weights, but keeps the optimizer and other state as they are."""
        ...

    def weights(self) -> Weights: ...

    def step(self, example: Example) -> Trace:
        """Takes an optimizer step and shows it; without an optimizer, up to the gradients.

        Layers come in the order in which they ran, if that is known.
        """
        ...

    def hints(self, example: Example) -> list[str]:
        """Returns hints from a look at the program itself after its last step, such as arithmetic
        in float32."""
        ...


def parts(name: str, value: Any, tensor: type | tuple[type, ...]) -> dict[str, Any]:
    """Returns the tensors of an output by name: "lstm" if it is one, else "lstm.0", "lstm.1.0", ….

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
    if isinstance(value, Mapping):
        items: Any = value.items()
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        items = zip(value._fields, value, strict=True)  # pyright: ignore[reportAttributeAccessIssue]
    elif isinstance(value, (tuple, list)):
        items = enumerate(value)
    elif is_dataclass(value):
        items = ((field.name, getattr(value, field.name)) for field in fields(value))
    else:
        raise InvalidInput(f"{name}: expected tensors, got {type(value).__name__}")
    found: dict[str, Any] = {}
    for key, part in items:
        inner = parts(f"{name}.{key}" if name else str(key), part, tensor)
        for twice in found.keys() & inner.keys():
            raise InvalidInput(f"{twice}: expected one tensor of that name, got two")
        found |= inner
    return found


@contextmanager
def calling(what: str, expected: str = "a result") -> Iterator[None]:
    """Wraps the user's own code: an error of any kind becomes one line and remains its cause."""
    try:
        yield
    except InvalidInput:
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")
        message = f"{what}: expected {expected}, got {type(error).__name__}: {reason}"
        raise InvalidInput(message[:400]) from error
