"""Batches as training loops have them: lists, data loaders and generators of (inputs, targets)."""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.protocol.nests import leaves, mapped
from shared.protocol.program import Example, calling

MOST = 1000
"""Batches that are taken where nobody says how many."""


def read_examples(batches: Any, steps: int | None) -> list[Example]:
    """Returns the batches of a comparison as nests of arrays.

    Args:
        batches: any iterable of (inputs, targets).
        steps: how many are needed at most; None takes all.

    Raises:
        InvalidInput: none, more than `MOST` where steps is None, or values that are no finite
            numbers.
    """
    if steps is not None and (
        not isinstance(steps, (int, np.integer)) or isinstance(steps, bool) or steps < 1
    ):
        raise InvalidInput(f"steps: expected a positive number, got {steps}")
    if batches is not None and not isinstance(batches, Iterable):
        raise InvalidInput(
            f"batches: expected (inputs, targets) of each step, got {type(batches).__name__}"
        )
    taken = itertools.islice(batches or (), steps or MOST + 1)
    with calling("batches", "(inputs, targets) of each step"):
        examples = [_example(i, batch) for i, batch in enumerate(taken)]
    if not examples:
        raise InvalidInput("batches: expected (inputs, targets) at least once, got none")
    if len(examples) > MOST and steps is None:
        raise InvalidInput(f"steps: expected how many of more than {MOST} batches, got None")
    return examples


def read_inputs(what: str, nest: Any) -> Any:
    """Returns a nest with arrays of finite numbers as leaves.

    Raises:
        InvalidInput: something else in it, or nothing.
    """
    found = _arrays(what, nest)
    if not leaves(found):
        raise InvalidInput(f"{what}: expected arrays, got none")
    return found


def _example(i: int, batch: Any) -> Example:
    what = f"batches[{i}]"
    if not isinstance(batch, (tuple, list)):
        raise InvalidInput(f"{what}: expected (inputs, targets), got {type(batch).__name__}")
    if len(batch) != 2:
        raise InvalidInput(
            f"{what}: expected (inputs, targets), got {len(batch)} parts; inputs of several parts "
            "are a tuple: ((x, lengths), targets)"
        )
    return Example(read_inputs(what, batch[0]), _arrays(what, batch[1]))


def _arrays(what: str, nest: Any) -> Any:
    return mapped(_numbers, _with_lists_as_arrays(what, nest), what)


def _with_lists_as_arrays(what: str, nest: Any) -> Any:
    """Returns a nest in which lists of numbers, and lists of these, are arrays."""
    if isinstance(nest, list):
        if nest and all(map(_is_number_or_list, nest)):
            return _numbers(what, nest)
        return [_with_lists_as_arrays(what, part) for part in nest]
    if type(nest) is tuple:
        return tuple(_with_lists_as_arrays(what, part) for part in nest)
    if type(nest) is dict:
        return {key: _with_lists_as_arrays(what, part) for key, part in nest.items()}
    return nest


def _is_number_or_list(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_number_or_list, value))
    return isinstance(value, (int, float))


def _numbers(what: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InvalidInput(f"{what}: expected arrays, got: {error}") from error
    if array.dtype.kind not in "fiub":
        raise InvalidInput(f"{what}: expected real numbers, got {array.dtype}")
    if array.dtype.itemsize > 8:
        raise InvalidInput(f"{what}: expected numbers of 64 bits at most, got {array.dtype}")
    if not array.size:
        raise InvalidInput(f"{what}: expected elements, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidInput(f"{what}: expected finite numbers, got {array[~np.isfinite(array)][0]}")
    return array
