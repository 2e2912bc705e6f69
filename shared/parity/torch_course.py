"""Reads from torch's steps what its rules do not say: clipping, and who has no gradient."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from shared.parity.clipping import UNCLIPPED, Clipping, clip
from shared.parity.courses import Course, Run
from shared.parity.fitting import rounded
from shared.protocol.trace import Trace
from shared.protocol.update_rule import UpdateRule

TORCH = 1e-6
"""What `torch.nn.utils.clip_grad_norm_` adds to the norm."""
SAME = 1e-11
"""Largest error of a gradient that was clipped as supposed, as a share of the largest element."""
LIMITS = (
    Clipping("norm", epsilon=TORCH), Clipping("value"), Clipping("tensor", epsilon=TORCH),
    Clipping("largest", epsilon=TORCH), Clipping("norm"), Clipping("tensor"),
)  # fmt: skip


def torch_course(
    run: Run,
    traces: Sequence[Trace],
    rules: Sequence[UpdateRule],
    rates: Sequence[Mapping[str, float]],
    accumulate: int,
) -> Course | None:
    """Returns torch's course; None if it prepares its gradients in a way that is not known."""
    course = Course(tuple(rules), rates, accumulate=accumulate)
    course = replace(course, skipped=_skipped(course, run, traces))
    clipping = _clipping(course, run, traces)
    return None if clipping is None else replace(course, clipping=clipping)


def _skipped(course: Course, run: Run, traces: Sequence[Trace]) -> frozenset[tuple[int, str]]:
    """Returns where torch has no gradient: it leaves such a parameter as it is, while a gradient of
    zeros would decay it and count as a step."""
    found = set()
    for step, trace in enumerate(traces):
        first = course.window(step)
        if first is None:
            continue
        shown = any(name.startswith("clipped/") for name in trace)
        for name in run.names:
            zero = all(run.is_zero(name, batch) for batch in range(first, step + 1))
            absent = shown and f"clipped/{name}" not in trace
            if zero and (absent or not run.moves(name, step)):
                found.add((step, name))
    return frozenset(found)


def _clipping(course: Course, run: Run, traces: Sequence[Trace]) -> Clipping | None:
    """Returns what makes the clipped gradients of the others, at all steps."""
    pairs = list(_pairs(course, run, traces))
    if _error(UNCLIPPED, course, run, pairs) <= SAME:
        return UNCLIPPED
    found = []
    for order, kind in enumerate(LIMITS):
        limit = _limit(kind, course, run, pairs)
        short = rounded(limit, SAME)
        clipping = replace(kind, limit=short)
        if _error(clipping, course, run, pairs) <= SAME:
            # A single step cannot tell the forms apart; a limit that somebody wrote can.
            found.append((len(f"{short!r}") > 8, order, clipping))
    return min(found, key=lambda one: one[:2])[2] if found else None


_Pairs = list[tuple[int, int, dict[str, np.ndarray], dict[str, np.ndarray]]]


def _pairs(
    course: Course, run: Run, traces: Sequence[Trace]
) -> Iterator[tuple[int, int, dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Yields, for each update, its first and last batch, and its gradients before and after
    clipping."""
    for step, trace in enumerate(traces):
        first = course.window(step)
        names = [name for name in run.names if f"clipped/{name}" in trace]
        if first is not None and names:
            raw = {name: run.gradient(name, first, step, course) for name in names}
            clipped = {n: np.asarray(trace[f"clipped/{n}"], np.float64).reshape(-1) for n in names}
            yield first, step, raw, clipped


def _error(clipping: Clipping, course: Course, run: Run, pairs: _Pairs) -> float:
    """Returns the largest error of a clipped gradient, as a share of its step's largest."""
    worst = 0.0
    for first, step, raw, clipped in pairs:
        factors = clipping.factors(run.norms(first, step, course))
        scale = max((np.abs(c).max(initial=0.0) for c in clipped.values()), default=0.0) or 1.0
        for name, array in raw.items():
            error = np.abs(clip(clipping, array, factors[name]) - clipped[name])
            worst = max(worst, float(error.max(initial=0.0)) / float(scale))
    return worst


def _limit(kind: Clipping, course: Course, run: Run, pairs: _Pairs) -> float:
    """Returns the limit that the tensor shows which is scaled down most."""
    best = (1.0, 0.0)
    for first, step, raw, clipped in pairs:
        norms = run.norms(first, step, course)
        for name, array in raw.items():
            if kind.kind == "value":
                most = float(np.abs(clipped[name]).max(initial=0.0))
                changed = not np.array_equal(array, clipped[name])
                best = min(best, (0.0 if changed else 1.0, -most))
            elif array.any():
                share = float(array @ clipped[name] / (array @ array))
                best = min(best, (share, -share * (kind.norm(name, norms) + kind.epsilon)))
    return -best[1]
