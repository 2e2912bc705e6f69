"""What is looked for in a port: a tensor of torch, or a block of its rows such as one gate."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from shared.errors import InvalidInput
from shared.parity.pairing import blocks, torch_shape
from shared.protocol.layer import Shape
from shared.protocol.places import Place
from shared.protocol.row_blocks import read_places, split_rows
from shared.protocol.state_dict import listed
from shared.protocol.weights import Weights

NO_TWIN = ((),)
"""Places of a slot without a twin."""
STATE = ("running_mean", "running_var", "buffer")
"""Roles of what is no parameter."""


class Slot(NamedTuple):
    """A tensor of torch, or a block of its rows."""

    name: str
    role: str
    """Its name within the module."""
    unit: int
    """Number of torch's module."""
    rows: slice
    shape: Shape
    places: tuple[tuple[str, ...], ...]
    """Where it may be; several places are its blocks. The likeliest is first. None at all, `()`,
    stands for no twin: the values are zero."""
    owners: tuple[int, ...]
    """Number of the port's module of each place, if it is of the same kind; else -1."""
    reasons: tuple[str, ...]
    """Why, for each of the places."""

    @property
    def where(self) -> Any:
        """Index of the block in its tensor, also in one that has no rows."""
        return self.rows if self.shape else ()


def known_slots(
    name: str, place: Place, shapes: Mapping[str, Shape], shape: Shape, role: str
) -> list[Slot]:
    """Returns the slots of a tensor whose place is known: one for each block if some have none."""
    read_places(name, place, shapes)
    several = blocks(place)
    pieces = [(one,) for one in several] if None in several else [several]
    sizes = [None if None in piece else (torch_shape(piece, shapes) or (None,))[0]
             for piece in pieces]  # fmt: skip
    rows = split_rows(name, sizes, shape) if len(pieces) > 1 else [(shape or (1,))[0]]
    found, start = [], 0
    for piece, size in zip(pieces, rows, strict=True):
        cut = slice(start, start := start + size)
        places = tuple(one for one in piece if one is not None)
        whole = (size, *shape[1:]) if shape else shape
        found.append(Slot(name, role, -1, cut, whole, (places,), (-1,), ("known",)))
    return found


def with_one_bias(found: Sequence[Slot], elements: int) -> list[Slot]:
    """Returns the slots of a port that has fewer biases than torch, which has two for each gate: as
    many of bias_hh have no twin as the port lacks elements."""
    sizes = [math.prod(slot.shape) if slot.places != NO_TWIN else 0 for slot in found]
    lacking = sum(sizes) - elements
    by_hand = [
        i
        for i, slot in enumerate(found)
        if slot.role == "bias_hh" and set(slot.owners) <= {-1} and sizes[i]
    ]
    # All of them, or of a GRU those of r and z: in its candidate, b_hn is no part of a sum.
    first = [i for i in by_hand if found[i].rows.start < 2 * found[i].shape[0]]
    for dropped in (by_hand, first):
        if lacking > 0 and sum(sizes[i] for i in dropped) == lacking:
            no_twin = {"places": NO_TWIN, "owners": (-1,), "reasons": ("no twin: must be zero",)}
            return [s._replace(**no_twin) if i in dropped else s for i, s in enumerate(found)]
    return list(found)


def with_zeros(weights: Weights, found: Sequence[Slot]) -> Weights:
    """Returns the weights with zeros where there is no twin."""
    changed = {name: array.copy() for name, array in weights.items()}
    for slot in found:
        if slot.places == NO_TWIN:
            changed[slot.name][slot.where] = 0
    return changed


def check_size(
    found: Sequence[Slot],
    arrays: Weights,
    optional: Sequence[str],
    lonely: Sequence[str],
    tied: Mapping[str, str],
) -> None:
    """Raises InvalidInput if one side has parameters that the other has not.

    Args:
        optional: paths of the port's state, which is no parameter.
        lonely: modules without one that is like them, for the message.
        tied: further names of torch's tensors → their first names, for the message.
    """
    looked_for = [slot for slot in found if slot.places != NO_TWIN]
    sizes = [math.prod(slot.shape) for slot in looked_for]
    least = sum(n for n, slot in zip(sizes, looked_for, strict=True) if slot.role not in STATE)
    needed = sum(array.size for path, array in arrays.items() if path not in optional)
    # A pytree may hold what torch has as buffers, and does not say so.
    if least <= needed <= (least if optional else sum(sizes)):
        return
    why = f"; nothing is like {listed(lonely, 6)}" if lonely else ""
    if tied:
        why += f"; tied in torch: {listed([f'{name} = {of}' for name, of in tied.items()])}"
    raise InvalidInput(
        f"theirs, ours: expected as many numbers in the parameters of both, got {least} in torch "
        f"and {needed} in the port{why}"
    )
