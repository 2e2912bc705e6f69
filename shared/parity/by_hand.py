"""Where a port that writes its cells or its attention by hand may have each gate, or queries, keys
and values: in arrays of their own, or in parts of larger ones, in any order."""

from collections.abc import Iterator, Mapping, Sequence

from shared.parity.slots import Slot
from shared.protocol.layer import GATES, Shape
from shared.protocol.places import read_place
from shared.protocol.units import ATTENTION, Unit


def block_slots(
    number: int,
    unit: Unit,
    role: str,
    their_shapes: Mapping[str, Shape],
    loose: Sequence[Unit],
    shapes: Mapping[str, Shape],
) -> Iterator[Slot]:
    """Yields the gates of a recurrent tensor, or queries, keys and values, each by itself."""
    name = str(unit.tensors[role])
    shape = their_shapes[name]
    blocks = 3 if unit.kind == ATTENTION else GATES[unit.kind.lower()]  # pyright: ignore
    if role == "weight_hr" or (unit.kind == ATTENTION and not role.startswith("in_proj")):
        blocks = 1
    widths = [their_shapes[str(unit.tensors[r])][1] for r in ("weight_ih", "weight_hh")
              if r in unit.tensors]  # fmt: skip
    size = shape[0] // blocks
    for k in range(blocks):
        block = (size, *shape[1:])
        places: dict[tuple[str, ...], None] = {}
        for place in (place for other in loose for place in other.tensors.values()):
            path = str(place).removesuffix(".T")
            turns = (True,) if str(place).endswith(".T") else (True, False)
            for turned in turns if len(shape) == 2 else (False,):
                cuts = _cuts(path, shapes[path], turned, block, blocks, k, role, widths)
                places |= {(text,): None for text in cuts}
        yield Slot(
            name,
            role,
            number,
            slice(k * size, (k + 1) * size),
            block,
            tuple(places),
            (-1,) * len(places),
            (f"{unit.kind} by hand: by its effect",) * len(places),
        )


def _cuts(
    path: str,
    shape: Shape,
    turned: bool,
    block: Shape,
    blocks: int,
    k: int,
    role: str,
    widths: Sequence[int],
) -> Iterator[str]:
    """Yields the parts of an array that may hold the k-th of several blocks of rows."""
    end = ".T" if turned else ""
    if len(shape) != len(block):
        return
    rows, *columns = shape[::-1] if turned else shape
    size = block[0]
    if rows not in (size, size * blocks):
        return
    order = (
        [k, *(j for j in range(blocks) if j != k)] if rows == size * blocks and blocks > 1 else []
    )
    cuts = [f"{j * size}:{(j + 1) * size}" for j in order]
    if not columns:
        yield from [f"{path}[{cut}]" for cut in cuts] if order else [path]
        return
    spans = [":"] if columns[0] == block[1] else []
    if not spans and len(widths) == 2 and columns[0] == sum(widths):
        # The input and the state one after the other, in either order.
        first, second = f"0:{block[1]}", f"{columns[0] - block[1]}:{columns[0]}"
        spans = [first, second] if role == "weight_ih" else [second, first]
    for span in spans:
        for cut in cuts or [":"]:
            if cut == span == ":":
                yield f"{path}{end}"
            else:
                yield f"{path}[{span}, {cut}].T" if turned else f"{path}[{cut}, {span}]"


def joined(places: Sequence[str], shapes: Mapping[str, Shape]) -> str | list[str]:
    """Returns the place of a tensor whose blocks are in these places: one if they lie one after the
    other in an array, else all of them."""
    if len(places) == 1:
        return places[0]
    parts = [read_place(place, shapes) for place in places]
    first = parts[0]
    if any((p.path, p.turned) != (first.path, first.turned) or p.axes or not p.cut for p in parts):
        return list(places)
    axis = 1 if first.turned and len(first.cut) > 1 else 0
    along = [part.cut[axis] for part in parts]
    across = {str(part.cut[1 - axis]) if len(part.cut) > 1 else "" for part in parts}
    size = shapes[first.path][axis]
    step = size // len(parts)
    if along != [slice(k * step, (k + 1) * step) for k in range(len(parts))] or len(across) > 1:
        return list(places)
    if step * len(parts) != size:
        return list(places)
    if len(first.cut) == 1 or first.cut[1 - axis] == slice(None):
        return first.path + (".T" if first.turned else "")
    span = f"{first.cut[1 - axis].start}:{first.cut[1 - axis].stop}"
    return f"{first.path}[{span}, :].T" if first.turned else f"{first.path}[:, {span}]"
