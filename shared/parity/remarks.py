"""What a proposed mapping says beside its places: buffers, ties, and how near the outputs were."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from shared.parity.settle import TOLERANCE, Models
from shared.protocol.bound_mapping import COUNTER, digest
from shared.protocol.exchange import Omission
from shared.protocol.mapping import WeightMap

ROUNDED = 2e-5
"""Largest deviation that rounding to float32 explains."""
_SAID = {"computed": "computed by", "frozen": "frozen", "drops": "dropped in training by"}
"""What of torch's tensors a port does not have, for the table."""
IN_FLOAT32 = "a part of the port computes in "


def caution(deviation: float, less: Sequence[str]) -> str:
    """Returns why outputs may deviate so much, if it is more than rounding in float64."""
    if deviation <= TOLERANCE:
        return ""
    if less and deviation < ROUNDED:
        return f"{IN_FLOAT32}{less[0]}"
    return (
        "another epsilon, another form of an activation, or a buffer that torch has in float32; "
        "compare_programs finds where"
    )


def completed(
    names: WeightMap,
    models: Models,
    tied: Mapping[str, str],
    omitted: Sequence[Omission],
    buffers: Collection[str],
    ignored: Collection[str],
) -> WeightMap:
    """Returns the mapping with what torch's state dict has beside the tensors that were looked
    for: further names, buffers that the port has in its code.

    Args:
        buffers: names of torch's buffers.
        ignored: those that play no part, as `known` says.
    """
    places, reasons = dict(names.places), dict(names.reasons)
    constants = {}
    for name, array in models.weights.items():
        if name not in places:
            counts = name.endswith(COUNTER)
            constants[name] = "" if counts or name in ignored else digest(array)
            reasons[name] = "a counter" if counts else "a buffer that the port has in its code"
            reasons[name] = "known" if name in ignored else reasons[name]
    for name, first in tied.items():
        if first in places:
            places[name] = places[first]
            reasons[name] = f"tied to {first}"
        else:
            constants[name], reasons[name] = constants[first], reasons[first]
    for one in omitted:
        if one.name in reasons and one.kind in _SAID:
            reasons[one.name] += f"; in torch {_SAID[one.kind]} {one.by}".rstrip()
    return replace(
        names,
        places=places,
        constants=constants,
        reasons=reasons,
        buffers=frozenset(name for name in places if name in buffers),
    )
