"""What the values of one side are of the other's: a multiple, the negative, the same elsewhere."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from shared.parity.facts import LETTERS, TWO, Facts, Pattern, axes_of, quantities, roots, tensor_of

SAME = 1e-9
"""Largest error, as a share of the largest element, with which a relation holds. Innocent
differences of 1e-13 change nothing."""
SMALL = 16
"""Longest permutation that is written out."""


def not_finite(a: np.ndarray, b: np.ndarray, differs: np.ndarray, facts: Facts) -> Pattern | None:
    """Tells which side has NaN or infinite values where they differ."""
    bad = [~np.isfinite(side.astype(float)) & differs for side in (a, b)]
    if not (bad[0] | bad[1]).any():
        return None
    name = (
        "both" if bad[0].any() and bad[1].any() else facts.first if bad[0].any() else facts.second
    )
    place = [int(i) for i in np.argwhere(bad[0] | bad[1])[0]]
    count = int((bad[0] | bad[1]).sum())
    have, values = ("have" if name == "both" else "has"), ("values" if count > 1 else "value")
    about = f"{name} {have} {count} {values} that {'are' if count > 1 else 'is'} not finite"
    return Pattern("not-finite", f"{about}, the first at {place}", {"side": name, "first": place})


def relation(
    name: str, a: np.ndarray, b: np.ndarray, differs: np.ndarray, facts: Facts
) -> Pattern | None:
    """Returns the first relation that holds: everywhere, or for the elements that differ."""
    x, y = a.astype(float), b.astype(float)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    found = _simple(name, x, y, x.shape, facts, "")
    if found is None and not differs.all():
        found = _simple(name, x[differs], y[differs], x.shape, facts, " where they differ")
    return found or _per_slice(name, x, y, facts) or _moved(name, x, y, facts)


def _close(x: np.ndarray, y: np.ndarray) -> bool:
    scale = max(np.abs(x).max(initial=0.0), np.abs(y).max(initial=0.0))
    return bool((np.abs(x - y) <= SAME * scale).all())


def _simple(
    name: str, x: np.ndarray, y: np.ndarray, shape: tuple, facts: Facts, where: str
) -> Pattern | None:
    """Zeros of one side, the other sign, a factor, an offset."""
    fields: dict[str, Any] = {"everywhere": not where}
    for side, values, others in ((facts.first, x, y), (facts.second, y, x)):
        if np.abs(values).max(initial=0.0) <= 1e-12 * np.abs(others).max(initial=0.0):
            about = f"{side} has zeros{where}, the other has not"
            return Pattern("zeros", about, fields | {"side": side})
    if _close(x, -y):
        return Pattern("sign", f"{facts.first} has the opposite sign{where}", fields)
    factor = float((x * y).sum() / (y * y).sum())
    if _close(x, factor * y) and not math.isclose(factor, 1, rel_tol=SAME):
        squared = name.startswith("moments/") and "sq" in name.partition("/")[2].partition(".")[0]
        of = _names_of(abs(factor), quantities(name, facts), squared)
        of = of or _names_of(abs(factor), roots(name, shape, facts), squared)
        if of or not _uniform(y):
            about = f"{facts.first} is {factor:.6g} times {facts.second}{where}{_told(of)}"
            return Pattern("factor", about, fields | {"factor": factor, "of": of})
    offset = float(np.mean(x - y))
    if not _uniform(y) and _close(x - offset, y) and abs(offset) > SAME * np.abs(y).max():
        about = f"{facts.first} is {facts.second} {'+' if offset > 0 else '-'} {abs(offset):.6g}"
        return Pattern("offset", about + where, fields | {"offset": offset})
    return None


def _uniform(y: np.ndarray) -> bool:
    """Tells whether all elements are one number, of which every number is a multiple."""
    return bool(np.ptp(y) <= 1e-6 * np.abs(y).max(initial=0.0))


def _names_of(factor: float, known: Iterable[tuple[str, float]], squared: bool) -> list[str]:
    """Returns what a factor may be, two at most."""
    found: dict[str, None] = {}
    for what, value in known:
        for power in (2, 1) if squared else (1,):
            told = f"the square of {what}" if power == 2 else what
            size = value**power
            if math.isclose(factor, size, rel_tol=SAME):
                found["twice" if told == TWO else f"{size:.6g} is {told}"] = None
            elif math.isclose(factor * size, 1, rel_tol=SAME):
                found["half" if told == TWO else f"1/{size:.6g}, where {size:.6g} is {told}"] = None
    return list(found)[:2]


def _told(of: Sequence[str]) -> str:
    """Returns what a factor may be as the end of a sentence: ": 2 is the number of time steps, or
    simply twice". Twice alone says no more than the number."""
    if not of or of[0] in ("twice", "half"):
        return ""
    if len(of) == 1:
        return f": {of[0]}"
    number, second = of[0].partition(" is ")[0], of[1]
    second = f"simply {second}" if second in ("twice", "half") else second
    return f": {of[0]}, or {second.removeprefix(f'{number} is ')}"


def _per_slice(name: str, x: np.ndarray, y: np.ndarray, facts: Facts) -> Pattern | None:
    """A factor for each example, row or column."""
    for axis, what in enumerate(axes_of(name, x.shape, facts)):
        others = tuple(i for i in range(x.ndim) if i != axis)
        if x.ndim < 2 or x.shape[axis] < 2 or x.size // x.shape[axis] < 2:
            continue
        squares = (y * y).sum(others, keepdims=True)
        factors = (x * y).sum(others, keepdims=True) / np.where(squares > 0, squares, 1)
        if not _close(x, factors * y) or _uniform(factors):
            continue
        if all(_uniform(part) for part in np.moveaxis(y, axis, 0)):
            continue
        numbers, of = factors.ravel(), ""
        if what == "examples" and facts.lengths is not None:
            lengths = np.asarray(facts.lengths, float)
            ways = {
                "its length": lengths,
                "one over its length": 1 / lengths,
                "its length as a share of the time steps": lengths / (facts.steps or 1),
                "the time steps over its length": (facts.steps or 1) / lengths,
            }
            of = next((n for n, v in ways.items() if _close(numbers, v)), "")
        one = what.removesuffix("s") if what != "axis" else f"slice of axis {axis}"
        about = f"{facts.first} is {facts.second} times a factor for each {one}"
        fields = {"axis": axis, "factors": numbers.tolist(), "of": of}
        return Pattern("factors", about + (f": {of}" if of else ""), fields)
    return None


def _moved(name: str, x: np.ndarray, y: np.ndarray, facts: Facts) -> Pattern | None:
    """The same values at other places."""
    flat = np.sort(x, None), np.sort(y, None)
    if _uniform(y) or x.size < 3:
        return None
    axes = axes_of(name, x.shape, facts)
    if not _close(*flat):
        return _shifted(x, y, axes, facts)
    found = _blocks(name, x, y, axes, facts) or _along(x, y, axes) or _turned(x, y)
    return found or Pattern("permutation", "the same values at other places", {})


def _blocks(
    name: str, x: np.ndarray, y: np.ndarray, axes: list[str], facts: Facts
) -> Pattern | None:
    """Whole gates or directions in another order."""
    letters = LETTERS.get(facts.blocks.get(tensor_of(name), 1), "")
    if letters and axes[0] == "rows" and len(x) % len(letters) == 0:
        mine, theirs = np.split(x, len(letters)), np.split(y, len(letters))
        for order in itertools.permutations(range(len(letters))):
            if all(_close(mine[i], theirs[j]) for i, j in enumerate(order)):
                gates = "".join(letters[j] for j in order)
                about = f"the gates stand in the order {' '.join(gates)}, not {' '.join(letters)}"
                return Pattern("permutation", about, {"gates": gates, "axis": 0})
    wide = axes[-1] in ("features", "columns") and x.shape[-1] == 2 * (facts.hidden or 0)
    if wide and facts.hidden and _close(x, np.roll(y, facts.hidden, -1)):
        about = f"the halves of the directions are swapped along axis {x.ndim - 1}"
        return Pattern("permutation", about, {"axis": x.ndim - 1, "directions": True})
    return None


def _along(x: np.ndarray, y: np.ndarray, axes: list[str]) -> Pattern | None:
    """Slices of one axis in another order."""
    for axis, size in enumerate(x.shape):
        if size < 2:
            continue
        what = f"along axis {axis}" + (f", the {axes[axis]}" if axes[axis] != "axis" else "")
        if _close(x, np.flip(y, axis)):
            order = list(range(size))[::-1]
            fields = {"axis": axis, "order": order, "reversed": True}
            return Pattern("permutation", f"reversed {what}", fields)
        for by in (1, -1):
            if _close(x, np.roll(y, by, axis)):
                order = np.roll(np.arange(size), by).tolist()
                about = f"rolled by one {'forward' if by > 0 else 'back'} {what}"
                return Pattern("permutation", about, {"axis": axis, "order": order, "rolled": by})
        rows = [np.moveaxis(side, axis, 0).reshape(size, -1) for side in (x, y)]
        weights = np.random.default_rng(0).standard_normal(rows[0].shape[1])
        ranks = [np.argsort(side @ weights, kind="stable") for side in rows]
        if _close(rows[0][ranks[0]], rows[1][ranks[1]]):
            order = np.empty(size, int)
            order[ranks[0]] = ranks[1]
            told = f": {order.tolist()}" if size <= SMALL else ""
            fields = {"axis": axis, "order": order.tolist()}
            return Pattern("permutation", f"in another order {what}{told}", fields)
    return None


def _turned(x: np.ndarray, y: np.ndarray) -> Pattern | None:
    """Axes swapped, in place or read in another order."""
    if not 2 <= x.ndim <= 5:
        return None
    for order in list(itertools.permutations(range(x.ndim)))[1:]:
        turned = y.transpose(order)
        # A reshape where a transpose was meant has the shape, and the values elsewhere.
        reshaped = turned.shape != x.shape
        if not _close(x, turned.reshape(x.shape)):
            continue
        moved = [i for i, j in enumerate(order) if i != j]
        if x.ndim == 2:
            about = "transposed"
        elif len(moved) == 2:
            about = f"axes {moved[0]} and {moved[1]} are swapped"
        else:
            about = f"the axes are in the order {list(order)}"
        about += ", and read in the old shape" if reshaped else ""
        return Pattern("permutation", about, {"axes": list(order), "reshaped": reshaped})
    return None


def _shifted(x: np.ndarray, y: np.ndarray, axes: list[str], facts: Facts) -> Pattern | None:
    """The same time steps one place further, with something else at the end."""
    for axis, what in enumerate(axes):
        if what != "steps" or x.shape[axis] < 3:
            continue
        mine, theirs = (np.moveaxis(side, axis, 0) for side in (x, y))
        for by, pair in ((1, (mine[1:], theirs[:-1])), (-1, (mine[:-1], theirs[1:]))):
            if _close(*pair) and not _uniform(pair[1]):
                way = "later" if by > 0 else "earlier"
                about = f"{facts.first} is one time step {way} than {facts.second}"
                return Pattern("shifted", about, {"axis": axis, "by": by})
    return None
