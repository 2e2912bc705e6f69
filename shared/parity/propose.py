"""Proposes which tensor of a model in torch is where in its port, and checks it by running both.

    names = propose(theirs, ours, sample)        # prints the table
    names.load(ours, theirs.state_dict())

Modules are paired by their kind, their names and their order. If the outputs then differ, or a
tensor may be in several places, `shared/parity/settle.py` finds out.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from shared.errors import InvalidInput, OutputsDiffer
from shared.parity.by_hand import joined
from shared.parity.candidates import all_slots
from shared.parity.idle import with_idle
from shared.parity.pairing import pair_units
from shared.parity.remarks import IN_FLOAT32, caution, completed
from shared.parity.settle import LOOSE, Evaluate, Models, check, settle
from shared.parity.slots import (
    NO_TWIN,
    STATE,
    Slot,
    check_size,
    known_slots,
    with_one_bias,
    with_zeros,
)
from shared.protocol.backend import part_of
from shared.protocol.checks import named
from shared.protocol.layer import Shape
from shared.protocol.mapping import WeightMap
from shared.protocol.nests import mapped
from shared.protocol.places import Place, read_place
from shared.protocol.state_dict import listed
from shared.protocol.units import Unit
from shared.protocol.weights import Weights
from shared.system.randomness import generator


def propose(
    theirs: Any,
    ours: Any,
    sample: Any,
    *,
    params: Any = None,
    ours_sample: Any = None,
    known: Mapping[str, Place] | None = None,
    show: bool = True,
) -> WeightMap:
    """Finds the mapping of torch's names to places in the port.

    Both models compute in evaluation mode, in float64, with random weights. They stay as they are.

    Args:
        theirs: a `torch.nn.Module`.
        ours: its port: a `flax.nnx.Module`, or a function `model(params, *inputs)`.
        sample: inputs for both: an array, a tuple of arguments, a dict of keyword arguments, in any
            nesting as `compare_programs` takes it. Every parameter should have an
            effect on the outputs: several sequences of several steps, for instance.
        params: pytree of the function's parameters, for its shapes; None with a module.
        ours_sample: the same inputs as the port takes them, where they differ, such as images
            with the channels last.
        known: places that are known, for what cannot be settled.
        show: print the table.

    Returns:
        A mapping with which both have the same outputs.

    Raises:
        InvalidInput: models that differ, whatever the mapping; tensors that have no place or no
            effect, by name.

    Warns:
        OutputsDiffer: with the mapping the outputs agree nearly, but not as rounding explains.
    """
    if not hasattr(theirs, "named_modules"):
        raise InvalidInput(f"theirs: expected a torch.nn.Module, got {named(theirs)}")
    inputs = _inputs("sample", sample)
    of_ours = inputs if ours_sample is None else _inputs("ours_sample", ours_sample)
    torchs, functional = part_of("torch", "units"), part_of("torch", "functional")
    plain, omitted = part_of("torch", "plain").plain(theirs)
    tied = torchs.tied(plain)
    weights = {n: array for n, array in functional.state(plain).items() if n not in tied}
    evaluate, less = _port(ours, params, of_ours)
    tree = ours if params is None else params
    arrays, optional = _arrays(tree)
    units = part_of("jax", "units").units(tree)
    found = _slots(torchs.units(plain), units, weights, arrays, optional, known or {}, tied)
    call = functional.evaluation(plain, inputs)
    models = Models(call, evaluate, with_zeros(weights, found), arrays)
    names = _settled(models, found, optional)
    buffers = {name for name, _ in plain.named_buffers()}
    ignored = {name for name, place in (known or {}).items() if place is None}
    names = completed(names, models, tied, omitted, buffers, ignored)
    names = replace(names, caution=caution(names.deviation or 0.0, less))
    if show:
        print(names)
    _warn(names)
    return names


def _warn(names: WeightMap) -> None:
    """Says that the outputs agree only nearly, if rounding to float32 does not explain it."""
    if names.caution and not names.caution.startswith(IN_FLOAT32):
        said = f"the outputs agree within a relative {names.deviation:.1e} only: {names.caution}"
        warnings.warn(said, OutputsDiffer, stacklevel=3)


def _arrays(tree: Any) -> tuple[Weights, list[str]]:
    """Returns the port's arrays by path, parameters as zeros and state with its values; and the
    paths of state."""
    jaxs = part_of("jax", "arrays")
    optional = jaxs.optional(tree)
    arrays = {
        path: np.array(array, np.float64) if path in optional else np.zeros(array.shape)
        for path, array in jaxs.arrays(tree).items()
    }
    return arrays, optional


def _port(ours: Any, params: Any, inputs: Any) -> tuple[Evaluate, list[str]]:
    """Returns the port as a function of its arrays, and where it leaves float64. One that cannot be
    called in float64, such as a scan whose state begins in float32, computes in float32."""
    evaluation = part_of("jax", "functional").evaluation
    try:
        return evaluation(ours, params, inputs)
    except InvalidInput:
        evaluate, _ = evaluation(ours, params, inputs, np.float32)
        return evaluate, ["float32: with float64 it cannot be called"]


def _slots(
    theirs: Sequence[Unit],
    ours: Sequence[Unit],
    weights: Weights,
    arrays: Weights,
    optional: Sequence[str],
    known: Mapping[str, Place],
    tied: Mapping[str, str],
) -> list[Slot]:
    """Returns the slots of all tensors that have places in the port.

    Raises:
        InvalidInput: a known name that torch has not; a parameter with no place; a port with more
            or fewer parameters.
    """
    for name in known:
        if name not in weights:
            raise InvalidInput(f"known: expected one of {listed(list(weights), 12)}, got {name}")
    shapes = {path: array.shape for path, array in arrays.items()}
    their_shapes = {name: array.shape for name, array in weights.items()}
    pairs = pair_units(theirs, ours, shapes, their_shapes)
    found = all_slots(theirs, ours, shapes, their_shapes, pairs)
    roles = {slot.name: slot.role for slot in found}
    found = [slot for slot in found if slot.name not in known]
    for name, place in known.items():
        found += known_slots(name, place, shapes, their_shapes[name], roles.get(name, ""))
    needed = sum(array.size for path, array in arrays.items() if path not in optional)
    found = with_one_bias(found, needed)
    order = {name: number for number, name in enumerate(weights)}
    found.sort(key=lambda slot: (order[slot.name], slot.rows.start))
    matched = {j for j, _ in pairs.values()}
    lonely = [f"{u.path} of torch" for i, u in enumerate(theirs) if i not in pairs]
    lonely += [f"{u.path} of the port" for j, u in enumerate(ours) if j not in matched]
    check_size(found, arrays, optional, lonely, tied)
    if sum(math.prod(s.shape) for s in found if s.role not in STATE) >= needed:
        found = [_of_state(s, shapes, optional) for s in found]
    # A buffer without a place is one that the port has in its code, or in other state.
    kept = [s for s in found if s.role not in STATE or s.places not in ((), NO_TWIN)]
    for slot in kept:
        if not slot.places:
            of = theirs[slot.unit]
            raise InvalidInput(
                f"{slot.name}: expected a module like {of.path} in the port ({of.kind} with "
                f"{', '.join(of.tensors)}), or an array of shape {slot.shape} as it is or "
                "transposed, got none: say with known= where it is, None for nowhere"
            )
    return kept


def _of_state(slot: Slot, shapes: Mapping[str, Shape], optional: Sequence[str]) -> Slot:
    """Returns a slot; that of a buffer with those places alone that are no parameters: what torch's
    parameters fill is not for it."""
    if slot.role != "buffer" or slot.reasons == ("known",):
        return slot
    places = tuple(
        several
        for several in slot.places
        if all(read_place(place, shapes).path in optional for place in several)
    )
    return slot._replace(
        places=places, owners=(-1,) * len(places), reasons=(_BUFFER,) * len(places)
    )


_BUFFER = "a buffer: by its shape and its effect"


def _settled(models: Models, found: Sequence[Slot], optional: Sequence[str]) -> WeightMap:
    """Returns the mapping with which both models agree: the likeliest, or what `settle` finds.

    Raises:
        InvalidInput: there is none, or the sample does not tell.
    """
    rng = generator(0, "propose")
    looked_for = [slot for slot in found if slot.places != NO_TWIN]
    choice = [0] * len(looked_for)
    try:
        names = _mapping(found, looked_for, choice, models.shapes)
        bound = names.bind(models.shapes, optional=optional)
        off, idle = check(models, looked_for, bound.to_port, rng)
        agree = off <= LOOSE
    except InvalidInput:
        agree, idle = False, []
    if not agree:
        choice, idle = settle(models, looked_for, rng)
    choice = with_idle(models.shapes, looked_for, choice, idle)
    names = _mapping(found, looked_for, choice, models.shapes)
    bound = names.bind(models.shapes, optional=optional)
    off, _ = check(models, looked_for, bound.to_port, rng, effects=False)
    if off > LOOSE:
        raise InvalidInput(
            f"theirs, ours: expected the same outputs with other random weights, got a deviation "
            f"of {off:.1e} (relative)"
        )
    return replace(names, deviation=off)


def _mapping(
    found: Sequence[Slot],
    looked_for: Sequence[Slot],
    choice: Sequence[int],
    shapes: Mapping[str, Shape],
) -> WeightMap:
    """Returns the mapping in which each slot has the place of its choice."""
    chosen = {(slot.name, slot.rows.start): k for slot, k in zip(looked_for, choice, strict=True)}
    blocks: dict[str, list[str | None]] = {}
    reasons: dict[str, str] = {}
    for slot in found:
        k = chosen.get((slot.name, slot.rows.start), 0)
        blocks.setdefault(slot.name, []).extend(slot.places[k] or [None])
        if slot.places[k] or slot.name not in reasons:
            reasons[slot.name] = slot.reasons[k]
    places: dict[str, Place] = {}
    for name, several in blocks.items():
        whole = [place for place in several if place is not None]
        if len(whole) < len(several):
            places[name] = several if whole else None
            if whole:
                reasons[name] += "; where there is no twin: must be zero"
        else:
            places[name] = joined(whole, shapes)
    return WeightMap(places, reasons=reasons)


def _inputs(what: str, sample: Any) -> Any:
    return mapped(lambda _, part: _array(what, part), sample)


def _array(what: str, part: Any) -> np.ndarray:
    try:
        array = np.asarray(part.detach().cpu() if hasattr(part, "detach") else part)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise InvalidInput(f"{what}: expected arrays of real numbers, got: {error}") from error
    if array.dtype.kind not in "fiub" or not array.size:
        raise InvalidInput(
            f"{what}: expected arrays of real numbers, got {array.dtype} of shape {array.shape}"
        )
    return array
