"""Proposes which tensor of a model in torch is where in its port, and checks it by running both.

    names = propose(theirs, ours, sample)        # prints the table
    names.load(ours, theirs.state_dict())

Modules are paired by their kind, their names and their order. If the outputs then differ, or a
tensor may be in several places, `shared/parity/settle.py` finds out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.parity.by_hand import joined
from shared.parity.candidates import all_slots
from shared.parity.idle import with_idle
from shared.parity.pairing import pair_units
from shared.parity.settle import LOOSE, Evaluate, Models, check, settle
from shared.parity.slots import (
    NO_TWIN,
    Slot,
    check_size,
    known_slots,
    with_one_bias,
    with_zeros,
)
from shared.protocol.backend import part_of
from shared.protocol.bound_mapping import COUNTER, digest
from shared.protocol.checks import named
from shared.protocol.exchange import Omission
from shared.protocol.layer import Shape
from shared.protocol.mapping import WeightMap
from shared.protocol.places import Place
from shared.protocol.state_dict import listed
from shared.protocol.units import BUFFER, Unit
from shared.protocol.weights import Weights
from shared.system.randomness import generator

_SAID = {"computed": "computed by", "frozen": "frozen", "drops": "dropped in training by"}
"""What of torch's tensors a port does not have, for the table."""


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
        sample: inputs for both, an array or a tuple of arrays. Every parameter should have an
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
    """
    if not hasattr(theirs, "named_modules"):
        raise InvalidInput(f"theirs: expected a torch.nn.Module, got {named(theirs)}")
    inputs = _inputs("sample", sample)
    of_ours = inputs if ours_sample is None else _inputs("ours_sample", ours_sample)
    torchs, functional = part_of("torch", "units"), part_of("torch", "functional")
    plain, omitted = part_of("torch", "plain").plain(theirs)
    tied = torchs.tied(plain)
    weights = {n: array for n, array in functional.state(plain).items() if n not in tied}
    evaluate = _port(ours, params, of_ours)
    tree = ours if params is None else params
    jaxs = part_of("jax", "arrays")
    arrays = {path: np.zeros(array.shape) for path, array in jaxs.arrays(tree).items()}
    optional = jaxs.optional(tree)

    units = part_of("jax", "units").units(tree)
    found = _slots(torchs.units(plain), units, weights, arrays, optional, known or {}, tied)
    models = Models(
        functional.evaluation(plain, inputs),
        evaluate,
        with_zeros(weights, found),
        arrays,
    )
    names = _settled(models, found, optional)
    names = _complete(names, weights, tied, omitted)
    if show:
        print(names)
    return names


def _port(ours: Any, params: Any, inputs: Sequence[np.ndarray]) -> Evaluate:
    """Returns the port as a function of its arrays: in float64, or if it cannot be called so, such
    as a scan whose state begins in float32, in float32."""
    evaluation = part_of("jax", "functional").evaluation
    try:
        return evaluation(ours, params, inputs)
    except InvalidInput:
        return evaluation(ours, params, inputs, np.float32)


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
    found = [
        slot for slot in all_slots(theirs, ours, shapes, their_shapes) if slot.name not in known
    ]
    for name, place in known.items():
        found += known_slots(name, place, shapes, their_shapes[name])
    found = with_one_bias(found, sum(arrays[path].size for path in arrays if path not in optional))
    order = {name: number for number, name in enumerate(weights)}
    found.sort(key=lambda slot: (order[slot.name], slot.rows.start))
    pairs = pair_units(theirs, ours, shapes, their_shapes)
    matched = {j for j, _ in pairs.values()}
    lonely = [f"{u.path} of torch" for i, u in enumerate(theirs) if i not in pairs]
    lonely += [f"{u.path} of the port" for j, u in enumerate(ours) if j not in matched]
    check_size(found, arrays, optional, lonely, tied)
    buffers = {unit.path for unit in theirs if unit.kind == BUFFER}
    kept = [slot for slot in found if slot.places or slot.name not in buffers]
    for slot in kept:
        if not slot.places:
            raise InvalidInput(
                f"{slot.name}: expected an array of shape {slot.shape} in the port, or one that "
                "holds it transposed, got none that fits: say with known= where it is, None for "
                "nowhere"
            )
    return kept


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
            f"of {off:.1e}, relative to the largest output"
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


def _complete(
    names: WeightMap,
    weights: Weights,
    tied: Mapping[str, str],
    omitted: Sequence[Omission],
) -> WeightMap:
    """Returns the mapping with what torch's state dict has beside the tensors that were looked
    for: further names, buffers that the port has in its code."""
    places, reasons = dict(names.places), dict(names.reasons)
    constants = {}
    for name, array in weights.items():
        if name not in places:
            counts = name.endswith(COUNTER)
            constants[name] = "" if counts else digest(array)
            reasons[name] = "a counter" if counts else "a buffer that the port has in its code"
    for name, first in tied.items():
        if first in places:
            places[name] = places[first]
            reasons[name] = f"tied to {first}"
        else:
            constants[name], reasons[name] = constants[first], reasons[first]
    for one in omitted:
        if one.name in reasons and one.kind in _SAID:
            reasons[one.name] += f"; in torch {_SAID[one.kind]} {one.by}".rstrip()
    return replace(names, places=places, constants=constants, reasons=reasons)


def _inputs(what: str, sample: Any) -> list[np.ndarray]:
    several = sample if isinstance(sample, (tuple, list)) else (sample,)
    arrays = [np.asarray(part.detach().cpu() if hasattr(part, "detach") else part)
              for part in several]  # fmt: skip
    for array in arrays:
        if array.dtype.kind not in "fiub" or not array.size:
            raise InvalidInput(
                f"{what}: expected arrays of real numbers, got {array.dtype} of shape {array.shape}"
            )
    return arrays
