"""Which submodule of a port belongs to which of the original, and the first that differs.

    found = pairs(places, paths(mine, my_kinds), paths(theirs, their_kinds))
    divergence = first_divergence(mine, theirs, found, tolerance=1e-9)
    print(divergence.about)     # inside encoder.norm (LayerNorm): inputs agree, outputs differ

The original runs in PyTorch, and its paths are those that are named.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from shared.parity.captured_tensors import Compared, compared
from shared.protocol.program import Call

Paths = Mapping[str, str]
"""Path of a submodule → its class, empty if unknown; in the order in which they ran."""
_DIMENSIONS = re.compile(r"[123]d$")
_BY_CLASS = re.compile(r"(?:.*\.)?([A-Z]\w*)_\d+")
"""A path as flax.linen makes it of a class: Dropout_0."""


def paths(calls: Sequence[Call], kinds: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns the paths that were called, but for those that show nothing, inside of a scan."""
    named = ((call.path, _BY_CLASS.fullmatch(call.path)) for call in calls if call.outputs)
    return {path: (kinds or {}).get(path, found[1] if found else "") for path, found in named}


def pairs(
    places: Mapping[str, Iterable[str]],
    mine: Paths,
    theirs: Paths,
    tied: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Returns path in the original → path in the port, for those that belong together beyond doubt.

    A submodule belongs to the one that has the twins of exactly its tensors. Where several have the
    same tensors, one around the other, the outer belongs to the outer. One without tensors belongs
    to the one of the same path, or to the only one of its class between the same two neighbours.

    Args:
        places: torch's name of each tensor → the paths of the port's arrays that hold it.
        tied: names of a tensor that has another name before → that other name.
    """
    known = {n: frozenset(p) for n, p in places.items() if n not in (tied or {})}
    known = {name: _without_collection(found, mine) for name, found in known.items() if found}
    their_sets = {path: frozenset(n for n in known if _is_below(n, path)) for path in theirs}
    arrays = frozenset().union(*known.values())
    my_sets: dict[str, frozenset[str]] = {}
    for path in mine:
        held = frozenset(place for place in arrays if _is_below(place, path))
        names = frozenset(name for name, found in known.items() if found & held)
        # Unless a tensor is there only in part: rows of q, k and v in one array, for instance.
        my_sets[path] = names if held and all(known[n] <= held for n in names) else frozenset()
    found: dict[str, str] = {}
    for names in dict.fromkeys(their_sets.values()):
        if names:
            chains = ([p for p in side if side[p] == names] for side in (their_sets, my_sets))
            found |= _along(*chains)
    bare = {path: kind for path, kind in theirs.items() if not their_sets[path]}
    my_bare = {p: k for p, k in mine.items() if not any(_is_below(a, p) for a in arrays)}
    same = {path: path for path in bare if path in my_bare}
    bare = {path: kind for path, kind in bare.items() if path not in same}
    my_bare = {path: kind for path, kind in my_bare.items() if path not in same}
    found |= same | _between(bare, my_bare, found, theirs, mine)
    return {path: found[path] for path in theirs if path in found}


def _is_below(name: str, path: str) -> bool:
    return not path or name.startswith(f"{path}.")


def _without_collection(found: frozenset[str], mine: Paths) -> frozenset[str]:
    """Returns places without "params." in front, where modules do not have it in their paths."""
    owners = [path for path in mine if path]

    def short(place: str) -> str:
        rest = place.partition(".")[2]
        if any(_is_below(place, path) for path in owners):
            return place
        return rest if any(_is_below(rest, path) for path in owners) else place

    return frozenset(map(short, found))


def _along(theirs: Sequence[str], mine: Sequence[str]) -> dict[str, str]:
    """Pairs modules with the same tensors by depth; where one side has more of them, only those of
    one name, and the whole models."""
    theirs, mine = sorted(theirs, key=_depth), sorted(mine, key=_depth)
    steps = (step for side in (theirs, mine) for step in itertools.pairwise(side))
    if not all(_is_below(inner, outer) for outer, inner in steps):
        return {}
    if len(theirs) == len(mine):
        return dict(zip(theirs, mine, strict=True))
    last = [[path.rpartition(".")[2] for path in side] for side in (theirs, mine)]
    return {
        path: mine[last[1].index(name)]
        for path, name in zip(theirs, last[0], strict=True)
        if last[0].count(name) == last[1].count(name) == 1
    }


def _depth(path: str) -> int:
    return path.count(".") + 1 if path else 0


def _between(
    bare: Paths, my_bare: Paths, found: Mapping[str, str], theirs: Paths, mine: Paths
) -> dict[str, str]:
    """Pairs modules without tensors that are the only one of their kind between two neighbours."""
    back = {own: path for path, own in found.items()}

    def by_gap(order: Paths, known: Mapping[str, str], kinds: Paths) -> dict:
        last, gaps = "", {}
        for path in order:
            if path in known:
                last = known[path]
            elif kinds.get(path):
                gaps.setdefault((last, _DIMENSIONS.sub("", kinds[path].lower())), []).append(path)
        return gaps

    theirs_in = by_gap(theirs, {path: path for path in found}, bare)
    mine_in = by_gap(mine, back, my_bare)
    return {
        paths[0]: mine_in[gap][0]
        for gap, paths in theirs_in.items()
        if len(paths) == len(mine_in.get(gap, ())) == 1
    }


class Divergence(NamedTuple):
    """The first place in the original's forward pass at which the port has other values."""

    path: str
    """Of the submodule, in the original."""
    twin: str
    """Its path in the port."""
    number: int
    """Which of its calls, from 1."""
    inside: bool
    """True if its inputs agree or cannot be compared, and its outputs differ; False if its inputs
    differ."""
    inputs_agree: bool
    after: str | None
    """The last submodule before whose outputs, or whose inputs if it is around this one, agree."""
    tensor: str
    deviation: float
    about: str


class _Event(NamedTuple):
    call: Call
    ends: bool
    """True for its outputs, False for its inputs."""


def first_divergence(
    mine: Sequence[Call],
    theirs: Sequence[Call],
    found: Mapping[str, str],
    tolerance: float,
    kinds: Mapping[str, str] | None = None,
) -> Divergence | None:
    """Finds the first call of the original, inner ones before outer ones, whose outputs differ from
    its twin's, or whose inputs do. What differs only inside of a call whose outputs agree is passed
    over: a port may compute the same in another way.

    Args:
        mine, theirs: calls of the port and of the original, as `captured` lists them.
        found: see `pairs`.
        tolerance: largest deviation that counts as equal.
        kinds: classes of the original's submodules, by path.
    """
    twins = {(call.path, call.number): call for call in mine}
    events = _events(theirs)
    state: list[Compared | None] = []
    for event in events:
        twin = twins.get((found.get(event.call.path, "\0"), event.call.number))
        sides = None if twin is None else (twin.outputs if event.ends else twin.inputs)
        own = event.call.outputs if event.ends else event.call.inputs
        state.append(None if sides is None else compared(own, sides, tolerance))
    innocent: set[int] = set()
    for i, event in enumerate(events):
        one = state[i]
        if event.ends and one is not None and one.agree:
            innocent |= set(range(_begin(events, i), i))
    agreed: int | None = None
    for i, one in enumerate(state):
        if one is None or (one.differ and i in innocent):
            continue
        if one.differ:
            return _divergence(events, i, agreed, state, found, one, kinds or {})
        if one.agree:
            agreed = i
    return None


def _events(calls: Sequence[Call]) -> list[_Event]:
    """Returns beginnings and ends of calls in their order, from calls in the order of their ends. A
    call begins before the first one below it since its last end."""
    events: list[_Event] = []
    last: dict[str, int] = {}
    for call in calls:
        start = last.get(call.path, -1) + 1
        below = (i for i in range(start, len(events)) if _within(events[i].call.path, call.path))
        at = next(below, len(events))
        events.insert(at, _Event(call, False))
        last = {path: end + (end >= at) for path, end in last.items()}
        last[call.path] = len(events)
        events.append(_Event(call, True))
    return events


def _within(path: str, outer: str) -> bool:
    return path != outer and _is_below(path, outer)


def _begin(events: Sequence[_Event], end: int) -> int:
    call = events[end].call
    return next(i for i, event in enumerate(events) if event.call is call)


def _divergence(
    events: Sequence[_Event],
    at: int,
    agreed: int | None,
    state: Sequence[Compared | None],
    found: Mapping[str, str],
    one: Compared,
    kinds: Mapping[str, str],
) -> Divergence:
    call, ends = events[at]
    given = state[_begin(events, at)] if ends else None
    agree = given is not None and given.agree
    before = None if agreed is None else events[agreed]
    this = _named(call, kinds)
    short = _short(call)
    if ends and before is not None and before.ends and _within(before.call.path, call.path):
        about = (
            f"inside {this}, after {_named(before.call, kinds)}: outputs of "
            f"{_short(before.call)} agree, outputs of {short} differ"
        )
    elif ends:
        about = f"inside {this}: {'inputs agree, ' if agree else ''}outputs differ"
    elif before is None:
        about = f"before {this}: its inputs differ"
    elif before.ends:
        about = (
            f"between {_named(before.call, kinds)} and {this}: outputs of {_short(before.call)} "
            f"agree, inputs of {short} differ"
        )
    else:
        about = (
            f"inside {_named(before.call, kinds)}, before {this}: inputs of "
            f"{_short(before.call)} agree, inputs of {short} differ"
        )
    after = None if before is None else before.call.path
    return Divergence(
        call.path, found[call.path], call.number, ends, agree, after, one.name, one.deviation, about
    )


def _short(call: Call) -> str:
    return call.path or "the model"


def _named(call: Call, kinds: Mapping[str, str]) -> str:
    kind = f" ({kinds[call.path]})" if kinds.get(call.path) else ""
    return f"{_short(call)}{kind}" + (f", call {call.number}" if call.number > 1 else "")
