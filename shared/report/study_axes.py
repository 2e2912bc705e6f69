"""The combinations of a study as lines over parallel axes: an axis for each option, and the score.

A place on an axis is a number from 0, below, to 1, above.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from shared.runs.scores import lower_is_better
from shared.runs.study import Study, ranked

WIDE = 10
"""Ratio of the largest to the smallest number from which on an axis is logarithmic."""
COLORS = ((26, 127, 212), (150, 150, 160), (235, 120, 20))
"""Colours of the best, the middle and the worst score, as red, green and blue."""


class Axis(NamedTuple):
    """An axis of numbers, or of names."""

    low: float = 0
    high: float = 0
    log: bool = False
    names: tuple[str, ...] = ()
    """Values that are no numbers, evenly spaced; none if they are numbers."""

    def at(self, value: str | float) -> float:
        """Returns the place of a value."""
        if self.names:
            return self.names.index(str(value)) / max(1, len(self.names) - 1)
        if self.low == self.high:
            return 0.5
        if self.log:
            return math.log(float(value) / self.low) / math.log(self.high / self.low)
        return (float(value) - self.low) / (self.high - self.low)

    def ticks(self, count: int = 5) -> list[dict[str, Any]]:
        """Returns texts at evenly spaced places; of a single number one."""
        if self.low == self.high:
            return [{"at": 0.5, "text": f"{self.low:.3g}"}]
        places = [i / (count - 1) for i in range(count)]
        if self.log:
            values = [self.low * (self.high / self.low) ** place for place in places]
        else:
            values = [self.low + (self.high - self.low) * place for place in places]
        return [
            {"at": place, "text": f"{value:.3g}"}
            for place, value in zip(places, values, strict=True)
        ]


def axes(study: Study) -> list[dict[str, Any]]:
    """Returns what is written at each axis: its name, and texts at places."""
    found: list[dict[str, Any]] = []
    for name, words in study.space.items():
        axis = _axis(study, name)
        if _is_range(words):
            ticks = axis.ticks()
        else:
            values = axis.names or tuple(_values(study, name))
            ticks = [{"at": axis.at(value), "text": value} for value in values]
        found.append({"name": name, "ticks": ticks})
    return [*found, {"name": f"validation {study.by}", "ticks": _score_axis(study).ticks()}]


def placed(study: Study) -> list[dict[str, Any]]:
    """Returns each combination as places on the axes, the best last; None where a score is
    missing because a run failed."""
    options = {name: _axis(study, name) for name in study.space}
    score = _score_axis(study)
    order = ranked(study)
    means = {one.combination.number: one.mean for one in order}
    best = order[0].combination.number
    found = [
        {
            "number": one.number,
            "at": [axis.at(one.values[name]) for name, axis in options.items()]
            + [score.at(means[one.number]) if one.number in means else None],
            "color": _color(study, score.at(means[one.number])) if one.number in means else None,
            "score": means.get(one.number),
            "values": [f"{name} {value}" for name, value in one.values.items()],
            "best": one.number == best,
        }
        for one in study.combinations
    ]
    return sorted(found, key=lambda line: line["best"])


def colors(study: Study) -> dict[int, str]:
    """Returns the colour of each finished combination, by its number."""
    score = _score_axis(study)
    return {one.combination.number: _color(study, score.at(one.mean)) for one in ranked(study)}


def _is_range(words: Sequence[str]) -> bool:
    return len(words) == 1 and ".." in words[0]


def _values(study: Study, name: str) -> list[str]:
    return list(dict.fromkeys(one.values[name] for one in study.combinations))


def _axis(study: Study, name: str) -> Axis:
    """Returns the axis of an option."""
    words, values = study.space[name], _values(study, name)
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return Axis(names=(*values,))
    if not all(map(math.isfinite, numbers)):
        return Axis(names=(*values,))
    if _is_range(words):
        low, high = (float(end) for end in words[0].removeprefix("log:").split(".."))
        return Axis(low, high, words[0].startswith("log:"))
    return _spanning(numbers)


def _score_axis(study: Study) -> Axis:
    return _spanning([one.mean for one in ranked(study)])


def _spanning(numbers: Sequence[float]) -> Axis:
    low, high = min(numbers), max(numbers)
    return Axis(low, high, low > 0 and high >= WIDE * low)


def _color(study: Study, place: float) -> str:
    """Returns the colour of a place on the axis of the score."""
    bad = place if lower_is_better(study.by) else 1 - place
    half = min(int(2 * bad), 1)
    first, second = COLORS[half], COLORS[half + 1]
    mixed = (round(a + (2 * bad - half) * (b - a)) for a, b in zip(first, second, strict=True))
    return f"rgb({','.join(map(str, mixed))})"
