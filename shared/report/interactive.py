"""Groups of runs → the data from which templates/report.js draws the curves of a report's page."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from shared.report.bands import Band, band, bin_size, largest_difference
from shared.report.curve_plots import drawn_baselines
from shared.report.groups import grouped
from shared.report.style import COLORS
from shared.runs.run import Run

POINTS = 1000
"""Points of a long curve: more make the page slow, and no screen shows them."""
DIGITS = 7


def curves(runs: Sequence[Run]) -> dict[str, Any]:
    """Returns the curves as JSON's numbers and lists of them; steps are optimizer steps."""
    sides = grouped(runs)
    size = bin_size(runs[0].curves["train"], POINTS)
    metric = runs[0].metric
    first = sides[0]
    return {
        "quantities": [
            {"name": "loss", "unit": "nats" if metric == "accuracy" else "squared error"},
            {"name": metric, "unit": "share right" if metric == "accuracy" else "absolute error"},
        ],
        "steps_a_point": size,
        "groups": [
            {
                "name": side.name,
                "color": COLORS[i % len(COLORS)],
                "seeds": len(side.runs),
                "train": {c: _lists(band(side, "train", c, size)) for c in ("loss", "metric")},
                "valid": {c: _lists(band(side, "valid", c)) for c in ("loss", "metric")},
                "difference": _difference(*largest_difference(first, side, size)) if i else None,
            }
            for i, side in enumerate(sides)
        ],
        "baselines": [
            {"name": baseline.name, "loss": baseline.scores["loss"]}
            for baseline in drawn_baselines(runs[0])
        ],
    }


def plotly() -> str:
    """Returns the source of plotly.js."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def _lists(curve: Band) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"step": curve.step.tolist(), "mean": _rounded(curve.mean)}
    if not np.array_equal(curve.low, curve.high):
        found |= {"low": _rounded(curve.low), "high": _rounded(curve.high)}
    return found


def _difference(steps: np.ndarray, values: np.ndarray) -> dict[str, list[Any]]:
    return {
        "step": steps.tolist(),
        # A logarithmic axis has no place for zero.
        "value": [float(f"{value:.3g}") if value else None for value in values.tolist()],
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values.tolist()]
