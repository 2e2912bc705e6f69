"""Numbers that are predicted of sequences: predicted against true."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from shared.report.shown import Shown, cloud, quantity
from shared.report.style import new_figure
from shared.runs.predictions import in_units
from shared.tasks.class_scores import value_scores

MOST = 4
"""Numbers to predict that are drawn, the first ones."""


def numbers(shown: Sequence[Shown]) -> Figure:
    """Draws the predicted numbers over the true ones in the data's units, each in its own axes."""
    measured = shown[0].schema.measured
    assert measured is not None
    columns = measured.targets[:MOST]
    figure = new_figure(5.2, max(6, 5 * len(columns)))
    axes: Any = figure.subplots(1, len(columns), squeeze=False)
    pairs = [
        (in_units(run.schema.measured, run.found, "targets"),
         in_units(run.schema.measured, run.found, "predicted"))
        for run in shown if run.schema.measured is not None
    ]  # fmt: skip
    for i, (one, column) in enumerate(zip(axes[0], columns, strict=True)):
        own = [(truth[:, i], predicted[:, i]) for truth, predicted in pairs]
        cloud(one, shown, own, quantity(column.name, column.unit))
        scores = [value_scores(predicted[:, None], truth[:, None]) for truth, predicted in own]
        for run, found in zip(shown, scores, strict=True):
            told = f", R² {found['r2']:.3f}" if "r2" in found else ""
            one.plot([], [], "o", markersize=4, color=run.color, label=f"{run.name}{told}")
        one.legend(frameon=False, fontsize=9)
    return figure
