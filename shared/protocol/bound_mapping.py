"""A mapping for a port whose arrays are known: every place read and checked, values taken over."""

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.protocol.layer import Shape
from shared.protocol.places import Part, Place, from_part, part_shape, to_part
from shared.protocol.row_blocks import read_places, split_rows, whole, with_zeros
from shared.protocol.state_dict import listed
from shared.protocol.weights import Weights

NEEDS_LIKE = "expected the module's own state dict beside it, state_dict(ours, like=…), got none"
_BIAS = re.compile(r"(?P<before>.*)bias_(?P<side>ih|hh)(?P<after>(_l\d+(_reverse)?)?)", re.S)
_PARTS = re.compile(r"(_g|_v|_orig|_raw|original\d?)$")
"""Endings of the names of what a wrapper keeps in parts."""
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
                    f"its code, got other values; if it plays no part: propose(known={{{name!r}: "
                    "None})"
                )
        for name, parts in self.parts.items():
            if None not in parts or name not in weights:
                continue
            for number, (part, block) in enumerate(self._blocks(name, weights[name]), 1):
                if part is None and block.any() and not name.endswith(COUNTER):
                    which = f" for block {number} of {len(parts)}" if len(parts) > 1 else ""
                    raise InvalidInput(
                        f"{name}: has no twin in the port{which}, expected zeros, got other "
                        f"values; {_way_out(name)}"
                    )

    def with_one_bias(self, weights: Mapping[str, np.ndarray]) -> Weights:
        """Returns a state dict in which a recurrent bias without a twin is added to the other one
        of its layer. The result computes the same. What is no part of a sum, b_in and b_hn of a
        GRU, stays where it is."""
        changed = dict(weights)
        for name, parts in self.parts.items():
            match = _BIAS.fullmatch(name)
            if match is None or None not in parts or name not in weights:
                continue
            of = {"ih": "hh", "hh": "ih"}[match["side"]]
            other = f"{match['before']}bias_{of}{match['after']}"
            matrix = weights.get(f"{match['before']}weight_hh{match['after']}")
            if other not in weights or matrix is None:
                continue
            sums = len(matrix) // 3 * 2 if len(matrix) == 3 * matrix.shape[1] else len(matrix)
            changed[name], changed[other] = changed[name].copy(), changed[other].copy()
            start = 0
            for part, block in self._blocks(name, weights[name]):
                rows = slice(start, min(start + len(block), sums))
                start += len(block)
                if part is None and rows.start < rows.stop:
                    changed[other][rows] += changed[name][rows]
                    changed[name][rows] = 0
        return changed

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
            if any(_PARTS.search(other) for other in weights):
                meant = (
                    "; a wrapper such as weight norm computes it there: remove that first, with "
                    "torch.nn.utils.parametrize.remove_parametrizations or its like"
                )
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
        found: dict[str, list[tuple[Any, np.ndarray]]] = {}
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
            if not _is_real(weights[name].dtype):
                raise InvalidInput(f"{name}: expected real numbers, got {weights[name].dtype}")
            for part, block in self._blocks(name, weights[name]):
                if part is None:
                    continue
                shape = self.shapes[part.path]
                try:
                    values = to_part(part, block, part_shape(part, shape))
                except InvalidInput as error:
                    raise InvalidInput(f"names: {name}: {error}") from error
                found.setdefault(part.path, []).append((part.cut, values))
        return {p: whole(self.shapes[p], found[p]) for p in self.shapes if p in found}

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
                blocks = with_zeros(name, blocks, shapes[name], dtype)
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
        left = [p for p, t in filled.items() if t.size and not t.any() and p not in self.optional]
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


def _is_real(dtype: np.dtype) -> bool:
    return dtype.kind in "fiub" or dtype.name in ("bfloat16",) or dtype.name.startswith("float8")


def _way_out(name: str) -> str:
    if _BIAS.fullmatch(name):
        return "with one_bias=True, load adds it to the other bias, which computes the same"
    return "give the port such a parameter, or make it zero in torch"


def digest(array: np.ndarray) -> str:
    """Returns a checksum of values, whatever their dtype."""
    values = np.ascontiguousarray(array, complex if array.dtype.kind == "c" else float)
    return hashlib.sha256(repr(array.shape).encode() + values.tobytes()).hexdigest()[:16]


def _memory(tensor: Any) -> Any:
    """Returns where a tensor lies in memory; None if it does not tell."""
    if not getattr(tensor, "size", 0):
        return None
    if hasattr(tensor, "data_ptr"):
        return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()
    if isinstance(tensor, np.ndarray):
        return tensor.__array_interface__["data"][0], tensor.shape, tensor.strides
    return None
