"""Places of tensors that have no effect on the outputs: running the models does not tell them."""

from collections.abc import Mapping, Sequence

import numpy as np

from shared.errors import InvalidInput
from shared.parity.slots import Slot
from shared.protocol.layer import Shape
from shared.protocol.places import Part, read_place
from shared.protocol.state_dict import listed


def with_idle(
    shapes: Mapping[str, Shape], found: Sequence[Slot], choice: Sequence[int], idle: Sequence[int]
) -> list[int]:
    """Returns the choice with places for slots that have no effect on the outputs. A known one is
    taken. A bias is where the other tensors of its module are, or in the only place left: that of
    attention's keys has no effect at all.

    Raises:
        InvalidInput: there is none.
    """
    filled = {path: np.zeros(shape, bool) for path, shape in shapes.items()}
    owners: dict[int, set[int]] = {}
    for i, slot in enumerate(found):
        if i not in idle:
            owners.setdefault(slot.unit, set()).add(slot.owners[choice[i]])
            for part in _parts(slot.places[choice[i]], shapes):
                filled[part.path][part.cut] = True
    complete, lost = list(choice), []
    for i in idle:
        slot = found[i]
        of = owners.get(slot.unit, set())
        own = [k for k, j in enumerate(slot.owners) if j >= 0 and of == {j}]
        single = len(slot.shape) < 2
        free = [
            k
            for k, places in enumerate(slot.places)
            if not any(filled[p.path][p.cut].any() for p in _parts(places, shapes))
        ]
        if slot.reasons == ("known",) or 0 in slot.shape:
            complete[i] = 0
        elif single and (own or len(free) == 1):
            complete[i] = (own or free)[0]
        else:
            lost.append(slot.name)
    if lost:
        raise InvalidInput(
            f"{listed(list(dict.fromkeys(lost)))}: expected an effect on the sample's outputs, got "
            "none: take a sample on which there is one (more steps, other tokens), or say with "
            "known= where it is"
        )
    return complete


def _parts(places: Sequence[str], shapes: Mapping[str, Shape]) -> list[Part]:
    return [read_place(place, shapes) for place in places]
