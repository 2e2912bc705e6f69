"""What the pictures of predictions have in common."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from shared.report.groups import grouped
from shared.report.style import COLORS, STYLES, plain
from shared.runs import predictions
from shared.runs.predictions import Predictions
from shared.runs.run import Run
from shared.runs.schema import Schema, read_schema
from shared.runs.summary import Reference

POINTS = 3000
"""Points of a cloud that are drawn, evenly spaced; more would hide each other."""


class Shown(NamedTuple):
    """A run, and how it is drawn."""

    name: str
    color: str
    style: str
    found: Predictions
    schema: Schema
    baselines: list[Reference]
    test: dict[str, float]
    """Scores of the test."""


def shown_runs(runs: Sequence[Run]) -> list[Shown]:
    """Returns what is drawn of groups of runs, of several seeds the first; none of a text."""
    return [
        Shown(
            plain(side.name),
            COLORS[i % len(COLORS)],
            STYLES[i % len(STYLES)],
            found,
            read_schema(side.first.folder),
            side.first.summary.baselines,
            side.first.summary.test,
        )
        for i, side in enumerate(grouped(runs))
        if (found := predictions.read(side.first.folder, side.first.summary.predictions))
    ]


def finish(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Names the axes, and draws grid and legend."""
    axes.set_xlabel(xlabel, fontsize=11)
    axes.set_ylabel(ylabel, fontsize=11)
    axes.grid(True, linestyle="--", alpha=0.5)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def cloud(axes: Axes, shown: Sequence[Shown], pairs: Sequence[tuple[np.ndarray, np.ndarray]],
          what: str) -> None:  # fmt: skip
    """Draws predicted values over the true ones, and the line of perfect predictions.

    Args:
        pairs: of each run, (N,) true and predicted values.
    """
    for run, (truth, predicted) in zip(shown, pairs, strict=True):
        some = np.unique(np.linspace(0, len(truth) - 1, POINTS).astype(int))
        axes.scatter(truth[some], predicted[some], s=6, alpha=0.5, color=run.color)
    ends = [min(pairs[0][0]), max(pairs[0][0])]
    axes.plot(ends, ends, color="black", linewidth=1)
    finish(axes, f"true {what}", f"predicted {what}")


def quantity(name: str, unit: str) -> str:
    """Returns the name of a column with its unit: "temp max, °C"."""
    return plain(f"{name.replace('_', ' ')}" + (f", {unit}" if unit else ""))
