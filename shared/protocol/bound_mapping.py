"""A mapping for a port whose arrays are known: every place read and checked, values taken over."""

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.protocol.layer import Shape
from shared.protocol.places import Part, Place, from_part, part_shape, read_place, to_part
from shared.protocol.state_dict import listed
from shared.protocol.weights import Weights

NEEDS_LIKE = "expected the module's own state dict beside it, state_dict(ours, like=…), got none"
COUNTER = "num_batches_tracked"
"""What counts steps in a batch normalisation, which plays no part in what it computes."""


class BoundMap:
    """A mapping with its places read, see `WeightMap.bind`."""

    def __init__(
        self,
        places: Mapping[str, Place],
        constants: Mapping[str, str],
        shapes: Mapping[str, Shape],
        optional: Sequence[str],
        aliases: Mapping[str, str],
    ):
        self.places = places
        self.constants = constants
        self.shapes = dict(shapes)
        self.optional = set(optional)
        known = self.shapes | {alias: shapes[path] for alias, path in aliases.items()}
        self.parts: dict[str, list[Part | None]] = {
            name: [
                None if part is None else part._replace(path=aliases.get(part.path, part.path))
                for part in read_places(name, place, known)
            ]
            for name, place in places.items()
        }
        self.tied: dict[str, str] = {}
        """Name → the name before it that has the same place: one tensor in torch."""
        self._check_places()

    def check_tensors(self, weights: Mapping[str, np.ndarray]) -> None:
        """Raises InvalidInput unless a state dict has the tensors that the mapping names, and
        nothing but zeros where there is no twin."""
        self.check_names(weights)
        for name, said in self.constants.items():
            if said and name in weights and digest(weights[name]) != said:
                raise InvalidInput(
                    f"{name}: expected the buffer that the port was checked with, which has it in "
                    "its code, got other values"
                )
        for name, parts in self.parts.items():
            if None not in parts or name not in weights:
                continue
            for number, (part, block) in enumerate(self._blocks(name, weights[name]), 1):
                if part is None and block.any() and not name.endswith(COUNTER):
                    which = f" for block {number} of {len(parts)}" if len(parts) > 1 else ""
                    raise InvalidInput(
                        f"{name}: has no twin in the port{which}, expected zeros, got other "
                        "values; give the port such a parameter, or make it zero in torch"
                    )

    def check_names(self, weights: Mapping[str, Any]) -> None:
        """Raises InvalidInput unless a state dict and the mapping have the same names."""
        for name in self.parts:
            if name in weights or self._twins(name) & weights.keys():
                continue
            close = difflib.get_close_matches(name, weights, 1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            before = {other.removesuffix(name) for other in weights if other.endswith(name)}
            if len(before) == 1 and all(other.startswith(tuple(before)) for other in weights):
                meant = f" (with prefix={before.pop()!r} it is there)"
            raise InvalidInput(f"names: expected {name} among torch's tensors, got none{meant}")
        known = {*self.parts, *self.constants}
        for name in weights:
            if name not in known and not name.endswith(COUNTER):
                raise InvalidInput(f"names: expected a place for {name} (None if there is none)")

    def check_tied(self, tensors: Mapping[str, Any]) -> None:
        """Raises InvalidInput if a tensor has two names in torch, and two places in the port: both
        would then train by themselves."""
        seen: dict[Any, str] = {}
        for name, tensor in tensors.items():
            other = seen.setdefault(_memory(tensor) or name, name)
            if other == name or name not in self.parts or other not in self.parts:
                continue
            if self.places[name] != self.places[other]:
                raise InvalidInput(
                    f"{other}, {name}: expected one place for what is one tensor in torch, got "
                    f"{self.places[other]} and {self.places[name]}"
                )

    def to_port(self, weights: Mapping[str, np.ndarray]) -> Weights:
        """Returns the port's arrays, by path.

        Raises:
            InvalidInput: a tensor of another shape than its place; different values of tensors that
                are one.
        """
        found: Weights = {}
        for name in self.parts:
            if name not in weights:
                continue
            other = self.tied.get(name, name)
            if other != name and other in weights:
                if not np.array_equal(weights[name], weights[other], equal_nan=True):
                    raise InvalidInput(
                        f"{other}, {name}: expected the same values, since the port has one array "
                        f"for both, {self.places[name]}; got different ones"
                    )
                continue
            for part, block in self._blocks(name, weights[name]):
                if part is None:
                    continue
                shape = self.shapes[part.path]
                try:
                    values = to_part(part, block, part_shape(part, shape))
                except InvalidInput as error:
                    raise InvalidInput(f"names: {name}: {error}") from error
                array = found.setdefault(part.path, np.zeros(shape, values.dtype))
                array[part.cut] = values
        return {path: found[path] for path in self.shapes if path in found}

    def to_torch(self, arrays: Mapping[str, Any], shapes: Mapping[str, Shape]) -> Weights:
        """Returns torch's tensors: the way back of `to_port`.

        Args:
            arrays: path → array. A tensor whose places are not all there is left out.
            shapes: of torch's tensors, for those without a twin.

        Raises:
            InvalidInput: a shape that is needed and missing.
        """
        weights: Weights = {}
        dtype = next((np.asarray(array).dtype for array in arrays.values()), np.dtype(float))
        for name, parts in self.parts.items():
            if any(part is not None and part.path not in arrays for part in parts):
                continue
            blocks = [
                None if part is None else from_part(part, np.asarray(arrays[part.path])[part.cut])
                for part in parts
            ]
            if None in parts:
                if name not in shapes:
                    raise InvalidInput(f"{name} has no twin in the port: {NEEDS_LIKE}")
                blocks = _with_zeros(name, blocks, shapes[name], dtype)
            found = [block for block in blocks if block is not None]
            weights[name] = np.concatenate(found) if len(found) > 1 else found[0]
        return weights

    def _check_places(self) -> None:
        """Raises InvalidInput unless every element of the port has one twin."""
        filled = {path: np.zeros(shape, bool) for path, shape in self.shapes.items()}
        first: dict[Any, str] = {}
        for name, parts in self.parts.items():
            place = self.places[name]
            written = tuple(place) if isinstance(place, (list, tuple)) else place
            if place is not None and first.setdefault(written, name) != name:
                self.tied[name] = first[written]
                continue
            for part in parts:
                if part is None:
                    continue
                if filled[part.path][part.cut].any():
                    raise InvalidInput(f"names: {name}: {part.path} has a twin already")
                filled[part.path][part.cut] = True
        partly = [path for path, taken in filled.items() if taken.any() and not taken.all()]
        if partly:
            raise InvalidInput(f"names: expected a twin for all of {listed(partly)}, got some")
        left = [p for p, taken in filled.items() if not taken.any() and p not in self.optional]
        if left:
            raise InvalidInput(f"names: expected a twin for {', '.join(left)}, got none")

    def _twins(self, name: str) -> set[str]:
        """Returns all names of the tensor that has this name."""
        first = self.tied.get(name, name)
        return {first, *(other for other, of in self.tied.items() if of == first)}

    def _blocks(self, name: str, tensor: np.ndarray) -> list[tuple[Part | None, np.ndarray]]:
        """Cuts a tensor's rows into the blocks that have a place each."""
        parts = self.parts[name]
        if len(parts) == 1:
            return [(parts[0], tensor)]
        known: list[int | None] = []
        for part in parts:
            shape = None if part is None else part_shape(part, self.shapes[part.path])
            plain = part is not None and part.axes is None
            known.append(shape[-1 if part and part.turned else 0] if plain and shape else None)
        rows = split_rows(name, known, tensor.shape)
        return list(zip(parts, np.split(tensor, np.cumsum(rows)[:-1]), strict=True))


def digest(array: np.ndarray) -> str:
    """Returns a checksum of values, whatever their dtype."""
    values = np.ascontiguousarray(array, np.float64)
    return hashlib.sha256(repr(array.shape).encode() + values.tobytes()).hexdigest()[:16]


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


def _with_zeros(
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


def _memory(tensor: Any) -> Any:
    """Returns where a tensor lies in memory; None if it does not tell."""
    if not getattr(tensor, "size", 0):
        return None
    if hasattr(tensor, "data_ptr"):
        return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()
    if isinstance(tensor, np.ndarray):
        return tensor.__array_interface__["data"][0], tensor.shape, tensor.strides
    return None
