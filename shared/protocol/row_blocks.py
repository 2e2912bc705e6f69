"""A tensor of torch in blocks of its rows, each with a place of its own in a port."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.protocol.layer import Shape
from shared.protocol.places import Part, read_place


def read_places(name: str, place: Any, shapes: Mapping[str, Shape]) -> list[Part | None]:
    """Reads the places of a tensor: a part of the port for each block, None for one without a twin.

    Raises:
        InvalidInput: a place that is not there, or is not written as one.
    """
    several = [place] if isinstance(place, str) or place is None else place
    if not isinstance(several, (list, tuple)) or not several:
        raise InvalidInput(f"names: {name}: expected a place or several, got {place}")
    for one in several:
        if one is not None and not isinstance(one, str):
            raise InvalidInput(f"names: {name}: expected a place or several, got {one!r} in it")
    try:
        return [None if one is None else read_place(one, shapes) for one in several]
    except InvalidInput as error:
        raise InvalidInput(f"names: {name}: {error}") from error


def split_rows(name: str, known: Sequence[int | None], shape: Shape) -> list[int]:
    """Returns how many rows each block has. What is not known is divided into equal parts."""
    whole, unknown = shape[0] if shape else 0, known.count(None)
    left = whole - sum(size for size in known if size is not None)
    if left < 0 or (left % unknown if unknown else left):
        raise InvalidInput(
            f"names: {name}: expected rows for {len(known)} equal blocks, got {whole}"
        )
    return [left // unknown if size is None else size for size in known]


def with_zeros(
    name: str, blocks: Sequence[np.ndarray | None], shape: Shape, dtype: np.dtype
) -> list[np.ndarray | None]:
    """Returns the blocks of a tensor of this shape, with zeros for those without a twin."""
    if len(blocks) == 1:
        return [np.zeros(shape, dtype)]
    rows = split_rows(name, [None if block is None else len(block) for block in blocks], shape)
    return [
        np.zeros((size, *shape[1:]), dtype) if block is None else block
        for block, size in zip(blocks, rows, strict=True)
    ]


def whole(shape: Shape, parts: Sequence[tuple[Any, np.ndarray]]) -> np.ndarray:
    """Returns an array made of its parts, in the dtype that holds all of them."""
    array = np.zeros(shape, np.result_type(*(values.dtype for _, values in parts)))
    for cut, values in parts:
        array[cut] = values
    return array
