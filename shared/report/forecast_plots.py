"""Forecasts beside the truth and the last value, and their errors by the step of the horizon."""

import re
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shared.report.shown import POINTS, Shown, cloud, finish, quantity
from shared.report.style import line_width, new_figure, plain
from shared.runs.scores import LONG
from shared.tasks.task import Series

FORECAST = 180
"""Number of times of a forecast that are shown, the last ones of the test part."""
PANELS = 4
"""Series that are drawn: the first groups in the order of their names, of each group all targets
before the next one's."""
LAST, SEASONAL = "last value", "seasonal last value"
"""Baselines whose forecasts follow from the values themselves."""
STEPS = {
    "us": "microsecond", "ms": "millisecond", "s": "second", "m": "minute", "h": "hour",
    "d": "day", "bd": "day", "w": "week", "mo": "month", "q": "quarter", "y": "year",
}  # fmt: skip


class Forecasts(NamedTuple):
    """Forecasts of one series in the data's units, of N times after each other."""

    times: np.ndarray
    """(N + h - 1,) times of the first step of each, and of what follows the last one."""
    truth: np.ndarray
    """(N + h - 1,) values at these times."""
    predicted: np.ndarray
    """(N, h)"""
    last: np.ndarray
    """(N,) values before."""
    run: np.ndarray
    """(N,) number of the stretch without a jump."""

    def lines(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the last times and values, so that no line is drawn over a jump.

        Args:
            values: (N + h - 1,)
        """
        before = max(0, len(values) - FORECAST)
        jumps = np.flatnonzero(np.diff(self.run)) + 1 - before
        jumps = jumps[jumps > 0]
        times, found = self.times[before:], values[before:]
        return np.insert(times, jumps, times[jumps]), np.insert(found, jumps, np.nan)

    def at_step(self, values: np.ndarray, step: int) -> np.ndarray:
        """Places forecasts of one step of the horizon at the times they are for, (N + h - 1,), NaN
        where there is none.

        Args:
            values: (N,)
            step: from 0.
        """
        place = np.arange(len(values)) + step
        there = self.run[np.minimum(place, len(values) - 1)] == self.run
        found = np.full(len(self.times), np.nan)
        found[place[there]] = values[there]
        return found


def forecasts(shown: Sequence[Shown]) -> Figure:
    """Draws the last times of the test part, and all of them predicted against true. The truth is
    that of the first run."""
    series = shown[0].schema.series
    assert series is not None
    if (len(series.scales), series.targets, series.horizon) == (1, 1, 1):
        figure = new_figure(4.6, 13)
        left, right = figure.subplots(1, 2, width_ratios=[2.4, 1])
        _panel(left, shown, 0, 0)
        _cloud(right, shown)
        left.tick_params(axis="x", rotation=20)
        return figure
    groups = np.unique(shown[0].found["group"]).tolist()
    chosen = list(product(groups, range(series.targets)))
    panels = chosen[:PANELS]
    figure = new_figure(2.9 * len(panels) + 4.6, 13)
    figure.set_layout_engine("constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.9 * len(panels), 4.6])
    above: Any = parts[0].subplots(len(panels), 1, squeeze=False)
    for axes, (group, target) in zip(above[:, 0], panels, strict=True):
        _panel(axes, shown, group, target)
        axes.set_title(plain(list(series.scales)[group]), fontsize=10)
        axes.get_legend().remove()
    if len(panels) < len(chosen):
        title = f"{above[0, 0].get_title()} (the first {PANELS} of {len(chosen)} are drawn)"
        above[0, 0].set_title(title.strip(), fontsize=10)
    above[0, 0].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    below: Any = np.atleast_1d(parts[1].subplots(1, 2 if series.horizon > 1 else 1))
    _cloud(below[-1], shown)
    if series.horizon > 1:
        _by_step(below[0], shown)
    return figure


def in_units(run: Shown, group: int, target: int) -> Forecasts:
    """Returns the forecasts of one series and one of its targets."""
    from shared.tasks.forecast_rows import values  # which loads the library of tables
    from shared.tasks.forecast_times import following, steps_between

    series = run.schema.series
    assert series is not None
    rows = np.flatnonzero(run.found["group"] == group)
    last, number = run.found["last"][rows], run.found["group"][rows]
    level = np.tile(last, series.horizon) * (not series.difference)  # no change, or no other value
    before = values(series, level, last, number)
    predicted, truth = (
        values(series, run.found[name][rows], last, number)[..., target]
        for name in ("predicted", "targets")
    )
    ahead = series.horizon - 1
    stretch = np.zeros(len(rows), int)
    if "times" in run.found:
        times = run.found["times"][rows]
        if series.gaps != "ignore" and series.step is not None and len(rows) > 1:
            stretch[1:] = np.cumsum(steps_between(times, series.step) != 1)
        if ahead and series.step is not None and len(rows):
            times = np.append(times, following(times, series.step, ahead))
    else:
        times = np.arange(len(rows) + ahead)
    truths = np.append(truth[:, 0], truth[-1:, 1:])
    return Forecasts(times, truths, predicted, before[:, 0, target], stretch)


def of_baseline(run: Shown, own: Forecasts, step: int) -> tuple[str, np.ndarray]:
    """Returns the better one of last value and seasonal last value, by its name and its forecasts
    of one step (from 0), placed at the times they are for."""
    series = run.schema.series
    assert series is not None
    known = {b.name: b.scores.get("mase", np.inf) for b in run.baselines}
    season = series.season
    if season is None or known.get(SEASONAL, np.inf) >= known.get(LAST, np.inf):
        return LAST, own.at_step(own.last, step)
    back = season * (step // season + 1)  # so far back that the value was known
    stretch = np.append(own.run, np.repeat(own.run[-1:], len(own.truth) - len(own.run)))
    found = np.full(len(own.truth), np.nan)
    found[back:] = np.where(stretch[back:] == stretch[:-back], own.truth[:-back], np.nan)
    return SEASONAL, found


def step_name(series: Series) -> str:
    """Names the steps of a series: "days", "steps of 15 minutes"; "rows" if it has no times."""
    found = re.fullmatch(r"(\d+)([a-z]+)", series.step or "")
    if found is None or found[2] not in STEPS:
        return "rows"
    count, unit = int(found[1]), STEPS[found[2]]
    return f"{unit}s" if count == 1 else f"steps of {count} {unit}s"


def _panel(axes: Axes, shown: Sequence[Shown], group: int, target: int) -> None:
    """Draws truth, baseline and forecasts of one series, one step ahead and the whole horizon."""
    series = shown[0].schema.series
    assert series is not None
    goal, first = series.predicted[target], in_units(shown[0], group, target)
    steps = list(dict.fromkeys([0, series.horizon - 1]))
    axes.plot(*first.lines(first.truth), color="black", linewidth=2.5, label="truth")
    name, before = of_baseline(shown[0], first, steps[-1])
    ahead = f", {series.horizon} ahead" if series.horizon > 1 else ""
    axes.plot(
        *first.lines(before), color="#999999", linewidth=1, linestyle=":",
        label=f"{name}{ahead}",
    )  # fmt: skip
    for run in shown:
        own = in_units(run, group, target)
        for step in steps:
            axes.plot(
                *own.lines(own.at_step(own.predicted[:, step], step)), color=run.color,
                linestyle=run.style, linewidth=1.3 if step == 0 else 0.9,
                alpha=1 if step == 0 else 0.6,
                label=run.name + (f", {step + 1} ahead" if series.horizon > 1 else ""),
            )  # fmt: skip
    count = min(FORECAST, len(first.times))
    finish(
        axes,
        f"last {count} {step_name(series)} of the test part",
        quantity(goal.name, goal.unit),
    )


def _cloud(axes: Axes, shown: Sequence[Shown]) -> None:
    """Draws all forecasts of the first target over what came, at all steps of the horizon."""
    from shared.tasks.forecast_rows import values  # which loads the library of tables

    series = shown[0].schema.series
    assert series is not None
    pairs = []
    for run in shown:
        assert run.schema.series is not None
        count = len(run.found["targets"])
        some = np.unique(np.linspace(0, count - 1, max(1, POINTS // series.horizon)).astype(int))
        more = run.found["last"][some], run.found["group"][some]
        truth, predicted = (
            values(run.schema.series, run.found[name][some], *more)[..., 0].ravel()
            for name in ("targets", "predicted")
        )
        pairs.append((truth, predicted))
    goal = series.predicted[0]
    cloud(axes, shown, pairs, quantity(goal.name, goal.unit))


def errors_by_step(scores: dict[str, float], series: Series) -> list[float]:
    """Returns the error at each step of the horizon; none if it is not known."""
    kind = "rmse" if series.targets == 1 else "mase"
    names = [f"{kind}_{step + 1}" for step in range(series.horizon)]
    return [scores[name] for name in names] if all(name in scores for name in names) else []


def _by_step(axes: Axes, shown: Sequence[Shown]) -> None:
    """Draws the error at each step of the horizon, of the networks and of the baselines."""
    series = shown[0].schema.series
    assert series is not None
    for i, run in enumerate(shown):
        if found := errors_by_step(run.test, series):
            axes.plot(
                np.arange(len(found)) + 1, found, color=run.color, linestyle=run.style, marker="o",
                markersize=4, linewidth=line_width(i, len(shown)), label=run.name,
            )  # fmt: skip
    dashes = ((1, 2), (4, 2), (6, 2, 1, 2), (2, 4), (8, 4))
    for i, baseline in enumerate(shown[0].baselines):
        if found := errors_by_step(baseline.scores, series):
            axes.plot(
                np.arange(len(found)) + 1, found, color="#777777", linewidth=1.2,
                linestyle=(0, dashes[i % len(dashes)]), label=plain(baseline.name),
            )  # fmt: skip
    goal = series.predicted[0]
    kind = "rmse" if series.targets == 1 else "mase"
    unit = f", {plain(goal.unit)}" if kind == "rmse" and goal.unit else ""
    finish(axes, "step of the horizon", f"{LONG[kind]}{unit}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
