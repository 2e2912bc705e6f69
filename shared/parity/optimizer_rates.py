"""The learning rates of a port, found from its updates, and how they relate to torch's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from shared.parity.courses import Course, Part, Run, predicted
from shared.parity.fitting import is_short, rounded
from shared.parity.optimizer_changes import Change

Rates = list[dict[str, float]]
"""By step and parameter."""
IN_FLOAT32 = 6e-7
"""Largest relative error of a learning rate that was computed in float32: ten roundings."""
CLOSE = 1e-5
"""Relative error within which a rate is taken for another one, to be confirmed by the updates."""


def rate_changes(course: Course, run: Run, parts: Sequence[Part]) -> Iterator[Change]:
    """Yields learning rates that may be the port's: each as a change of torch's, the most special
    first.

    Args:
        parts: each of one param group.
    """
    found = _found(course, run, parts)
    if not found:
        return
    ratios = {
        (t, n): rate / course.rates[t][n] for (t, n), rate in found.items() if course.rates[t][n]
    }
    mixed: Rates = [
        {**rates, **{n: found[t, n] for n in rates if (t, n) in found}}
        for t, rates in enumerate(course.rates[: run.steps])
    ]

    def change(name: str, about: str, rates: Sequence[Mapping[str, float]], cost: int) -> Change:
        return Change(name, about, lambda c: replace(c, rates=rates), cost=cost)

    if ratios:
        yield from _constant_ratio(course, run, ratios, change)
    yield from _offsets(course, run, found, mixed, change)
    yield from _constant_rates(course, run, found, change)
    single = [{n: float(np.float32(r)) for n, r in rates.items()} for rates in course.rates]
    yield change("schedule-float32", "learning rates are rounded to float32", single, 0)
    differing = [
        (t, n)
        for (t, n), rate in found.items()
        if abs(rate - course.rates[t][n]) > IN_FLOAT32 * abs(course.rates[t][n])
    ]
    if ratios and not differing:
        most = max(abs(ratio - 1) for ratio in ratios.values())
        about = f"learning rates are computed in float32 (up to {most:.1e} from torch's)"
        yield change("schedule-float32", about, mixed, 2)
    if differing:
        t, name = min(differing)
        about = (
            f"learning rates are others than torch's, first at step {t + 1}: {found[t, name]:.6g}, "
            f"not {course.rates[t][name]:.6g}"
        )
        yield change("schedule", about, mixed, 3)


def _found(course: Course, run: Run, parts: Sequence[Part]) -> dict[tuple[int, str], float]:
    """Returns the learning rate of each update: by least squares, as the update is proportional to
    it. What does not move at a rate of 1 shows nothing."""
    one = replace(course, rates=[dict.fromkeys(rates, 1.0) for rates in course.rates])
    groups = [rule.names for rule in course.rules]
    found = {}
    for step, changes in enumerate(predicted(one, run, parts)):
        for names in groups:
            held = [i for i, part in enumerate(parts) if part.names[0] in names]
            squares = sum(float(changes[i] @ changes[i]) for i in held)
            if squares > 0 and np.isfinite(squares):
                moved = [(parts[i].after[step] - parts[i].before[step], changes[i]) for i in held]
                rate = sum(float(a @ p) for a, p in moved) / squares
                found |= {(step, name): rate for name in names}
    return found


def _constant_ratio(
    course: Course, run: Run, ratios: Mapping[tuple[int, str], float], change: Any
) -> Iterator[Change]:
    # The first is as good as any if the ratio is constant, which the updates must confirm.
    ratio = float(np.median(list(ratios.values())))
    if not ratio:
        return
    for number, cost in ((rounded(ratio), 1), (ratio, 2)):
        if cost == 1 and not is_short(number):
            continue
        rates = [{n: number * r for n, r in rates.items()} for rates in course.rates]
        about = f"the learning rate is {number:.6g} times torch's{_meaning(number, course)}"
        yield change("learning-rate", about, rates, cost)
    inverse = 1 / rounded(1 / ratio)
    if inverse != rounded(ratio) and is_short(rounded(1 / ratio)):
        rates = [{n: inverse * r for n, r in rates.items()} for rates in course.rates]
        about = f"the learning rate is 1/{1 / inverse:g} times torch's"
        yield change("learning-rate", about + _meaning(inverse, course), rates, 1)


def _meaning(ratio: float, course: Course) -> str:
    """Says what a ratio may come from."""
    rule = course.rules[0]
    known = {
        "with the other sign": -1.0,
        "the number of accumulated batches": float(course.accumulate),
        "1 / the number of accumulated batches": 1 / course.accumulate,
        "1 - momentum, as if it were an average": 1 - rule.momentum if rule.momentum else 1.0,
        "1 / (1 - momentum)": 1 / (1 - rule.momentum) if rule.momentum else 1.0,
    }
    said = [name for name, value in known.items() if value != 1 and abs(ratio / value - 1) < 1e-9]
    return f" ({said[0]})" if said else ""


def _offsets(
    course: Course, run: Run, found: Mapping[tuple[int, str], float], mixed: Rates, change: Any
) -> Iterator[Change]:
    """Yields torch's schedule some steps earlier or later. Rates that this leaves open, at the
    ends, are those that were found."""
    matched = []
    for late in sorted(range(-run.steps, run.steps), key=abs):
        rates = [
            {**mixed[t], **course.rates[t - late]} if 0 <= t - late < len(course.rates) else None
            for t in range(run.steps)
        ]
        told = {
            (t, n): abs(found[t, n] - r[n]) / abs(course.rates[t][n] or 1.0)
            for t, r in enumerate(rates)
            if r is not None
            for n in r
            if (t, n) in found and abs(r[n] - course.rates[t][n]) > CLOSE * abs(course.rates[t][n])
        }
        # What is left open must not be more than what is told.
        enough = rates.count(None) <= len({t for t, _ in told})
        if not late or not told or max(told.values()) > CLOSE or not enough:
            continue
        where = "late" if late > 0 else "early"
        about = f"the learning rate schedule is {abs(late)} step{'s' * (abs(late) > 1)} {where}"
        exact = [mixed[t] if r is None else r for t, r in enumerate(rates)]
        matched.append(change("schedule-offset", about, exact, 0))
        if max(told.values()) <= IN_FLOAT32:
            about += ", and computed in float32"
            matched.append(change("schedule-offset", about, mixed, 1))
    yield from matched


def _constant_rates(
    course: Course, run: Run, found: Mapping[tuple[int, str], float], change: Any
) -> Iterator[Change]:
    first = dict(course.rates[0])
    if any(dict(rates) != first for rates in course.rates[: run.steps]):
        about = "the learning rate stays what it is at the first step: no schedule"
        yield change("schedule-constant", about, [first] * run.steps, 0)
    apart = {
        t for t, rates in enumerate(course.rates[: run.steps]) if len(set(rates.values())) > 1
    }  # fmt: skip
    for name in dict.fromkeys(rule.names[0] for rule in course.rules if rule.names and apart):
        rates = [dict.fromkeys(rates, rates[name]) for rates in course.rates]
        about = f"all parameters have the learning rate of {name}; in torch, groups differ"
        yield change("group-rates", about, rates, 0)
    known = [{found[t, n] for n in course.rates[t] if (t, n) in found} for t in sorted(apart)]
    if known and all(known):
        one = [float(np.median(list(rates))) for rates in known]
        number = rounded(one[0])
        if max(abs(rate / number - 1) for rate in one) < CLOSE:
            rates = [dict.fromkeys(rates, number) for rates in course.rates]
            about = f"all parameters have a learning rate of {number:g}; in torch, groups differ"
            yield change("group-rates", about, rates, 1)
