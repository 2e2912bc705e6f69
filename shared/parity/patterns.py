"""The pattern of a difference: which elements differ, and what the other side makes of them.

    for pattern in patterns("gradients/rnn.weight_ih_l0", a, b, differs, facts):
        print(pattern.about)        # only the rows of gate g

`a` are the values of the port, `b` those of the original. Relations of values (a factor, a sign, a
permutation) are in `shared/parity/relations.py`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from shared.parity.facts import LETTERS, Facts, Pattern, axes_of, tensor_of
from shared.parity.relations import not_finite, relation

MOST = 3
"""Patterns that are told of one difference."""


def patterns(
    name: str, a: np.ndarray, b: np.ndarray, differs: np.ndarray, facts: Facts
) -> list[Pattern]:
    """Returns what is most telling of a difference, three patterns at most; none if there is none.

    Args:
        name: of the tensor in a trace, such as "gradients/rnn.weight_ih_l0".
        a, b: values of the port and of the original, of one shape.
        differs: which elements do by more than the tolerance, of the same shape.
    """
    if not differs.any():
        return []
    found = [not_finite(a, b, differs, facts)]
    if found[0] is None:
        found += [relation(name, a, b, differs, facts)]
    found += _places(name, differs, facts)
    return [pattern for pattern in found if pattern is not None][:MOST]


def _places(name: str, differs: np.ndarray, facts: Facts) -> list[Pattern]:
    """Returns where the elements that differ are, if they are not everywhere."""
    axes = axes_of(name, differs.shape, facts)
    found = [_padding(differs, axes, facts)]
    if found[0] is not None:
        return [found[0]]
    for i, (what, size) in enumerate(zip(axes, differs.shape, strict=True)):
        others = tuple(j for j in range(differs.ndim) if j != i)
        hit = np.flatnonzero(differs.any(others))
        if 0 < len(hit) < size:
            found.append(_on_axis(name, what, i, hit, size, facts))
    return [pattern for pattern in found if pattern is not None]


def _on_axis(
    name: str, what: str, axis: int, hit: np.ndarray, size: int, facts: Facts
) -> Pattern | None:
    if what == "rows":
        return _rows(name, hit, size, facts)
    if what in ("columns", "features"):
        return _columns(what, hit, size, facts)
    if what == "steps":
        return _steps(hit, size)
    if what == "examples":
        return _examples(hit, size, facts)
    about = f"only at {ranges(hit)} of axis {axis}"
    return Pattern("axis", about, {"axis": axis, "positions": hit.tolist()})


def _rows(name: str, hit: np.ndarray, size: int, facts: Facts) -> Pattern:
    blocks = facts.blocks.get(tensor_of(name), 1)
    letters = LETTERS.get(blocks, "")
    if letters and size % blocks == 0:
        width = size // blocks
        gates = "".join(letters[i] for i in sorted({int(row) // width for row in hit}))
        if len(gates) < blocks:
            whole = len(hit) == width * len(gates)
            several = len(gates) > 1
            of = f"gate{'s' if several else ''} {' and '.join(gates)}"
            about = f"only {'the' if whole else 'some'} rows of {of}"
            return Pattern("gates", about, {"gates": gates, "whole": whole, "rows": hit.tolist()})
    about = f"only row{'s' if len(hit) > 1 else ''} {ranges(hit)} of {size}"
    return Pattern("rows", about, {"rows": hit.tolist()})


def _columns(what: str, hit: np.ndarray, size: int, facts: Facts) -> Pattern:
    half = facts.hidden
    if half and size == 2 * half and (hit.max() < half or hit.min() >= half):
        reverse = bool(hit.min() >= half)
        way = "reverse" if reverse else "forward"
        about = f"only the {what} of the {way} direction"
        return Pattern("direction", about, {"reverse": reverse, "positions": hit.tolist()})
    about = f"only {what[:-1]}{'s' if len(hit) > 1 else ''} {ranges(hit)} of {size}"
    return Pattern(what, about, {"positions": hit.tolist()})


def _steps(hit: np.ndarray, size: int) -> Pattern:
    first, last = int(hit[0]), int(hit[-1])
    fields = {"steps": hit.tolist(), "first": first, "last": last}
    if len(hit) == 1 and first in (0, size - 1):
        which = "first" if first == 0 else "last"
        return Pattern("steps", f"only the {which} time step", fields)
    if last == size - 1 and len(hit) == size - first:
        about = f"only from time step {first} on (of {size}, counted from 0)"
        return Pattern("steps", about, fields)
    about = f"only time step{'s' if len(hit) > 1 else ''} {ranges(hit)} of {size}, counted from 0"
    return Pattern("steps", about, fields)


def _examples(hit: np.ndarray, size: int, facts: Facts) -> Pattern:
    fields: dict[str, Any] = {"examples": hit.tolist()}
    if facts.lengths is not None and len(facts.lengths) == size:
        lengths = np.asarray(facts.lengths)
        longest = int(lengths.max())
        for which, of in (("shorter than", lengths < longest), ("of", lengths == longest)):
            if np.array_equal(np.flatnonzero(of), hit):
                about = f"only sequences {which} {longest} steps"
                return Pattern("lengths", about, fields | {"longest": longest})
    about = f"only example{'s' if len(hit) > 1 else ''} {ranges(hit)} of {size}"
    return Pattern("examples", about, fields)


def _padding(differs: np.ndarray, axes: Sequence[str], facts: Facts) -> Pattern | None:
    """Tells whether only padding differs, or only the last step of each sequence."""
    if facts.lengths is None or "examples" not in axes or "steps" not in axes:
        return None
    at = np.moveaxis(differs, (axes.index("examples"), axes.index("steps")), (0, 1))
    lengths = np.asarray(facts.lengths)
    if len(at) != len(lengths):
        return None
    hit = at.reshape(len(at), len(at[0]), -1).any(-1)
    steps = np.arange(len(at[0]))
    if not (hit & (steps < lengths[:, None])).any():
        return Pattern("padding", "only positions of padding", {})
    ends = steps == lengths[:, None] - 1
    if not (hit & ~ends).any() and lengths.min() < lengths.max():
        return Pattern("ends", "only the last step of each sequence", {})
    return None


def ranges(positions: Sequence[int] | np.ndarray, most: int = 6) -> str:
    """Returns positions as text: "3, 7-9"."""
    cuts = np.split(np.asarray(positions), np.flatnonzero(np.diff(positions) > 1) + 1)
    told = [str(c[0]) if len(c) == 1 else f"{c[0]}-{c[-1]}" for c in cuts[:most]]
    return ", ".join(told) + (f" and {len(cuts) - most} more" if len(cuts) > most else "")


def growth_pattern(
    deviations: Sequence[float],
    tolerance: float,
    sizes: Sequence[int] | None = None,
    batches: int | None = None,
) -> Pattern | None:
    """Finds the rhythm in which a tensor differs: only at the last batch of each epoch, from a step
    on, at every k-th step. None if it differs at no step, at all, or without a rhythm.

    Args:
        deviations: of each step, from the first.
        sizes: how many examples the batch of each step has.
        batches: how many there are in an epoch.
    """
    beyond = np.array([not value <= tolerance for value in deviations], bool)
    steps = np.flatnonzero(beyond) + 1
    n = len(beyond)
    if not len(steps) or len(steps) == n:
        return None
    first = int(steps[0])
    fields: dict[str, Any] = {"first": first, "steps": steps.tolist()}
    small = np.zeros(n, bool) if sizes is None else np.asarray(sizes[:n]) < max(sizes)
    if small.any() and np.array_equal(small, beyond):
        return Pattern("small-batches", "only at batches with fewer examples than others", fields)
    every = np.arange(1, n + 1)
    if batches and 1 < batches < n and np.array_equal(beyond, every % batches == 0):
        return Pattern("last-batch", "only at the last batch of each epoch", fields)
    periods = range(2, n // 2 + 1)
    k = next((k for k in periods if np.array_equal(beyond, every % k == 0)), None)
    if k is not None:
        return Pattern("every", f"at every {_ordinal(k)} step", fields | {"every": k})
    if len(steps) < n - first + 1:
        return None
    if small.any() and first == int(np.flatnonzero(small)[0]) + 1:
        about = f"from step {first} on, the first batch with fewer examples than others"
    elif batches and first > 1 and (first - 1) % batches == 0:
        about = f"from step {first} on, the first of epoch {(first - 1) // batches + 1}"
    elif batches and first % batches == 0:
        about = f"from step {first} on, the last of epoch {first // batches}"
    else:  # which the verdict says by itself
        return None
    return Pattern("from", about, fields)


def _ordinal(k: int) -> str:
    return {2: "second", 3: "third"}.get(k, f"{k}th")
