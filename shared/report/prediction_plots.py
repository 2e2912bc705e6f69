"""Predictions → one figure, as the task needs: forecasts against the truth, a confusion matrix,
accuracy over the steps of a sequence, inputs as images."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from shared.report.class_plots import recognition
from shared.report.forecast_plots import forecasts
from shared.report.shown import Shown, shown_runs
from shared.report.step_plots import over_distance, over_steps
from shared.report.style import save_figure
from shared.report.value_plots import numbers
from shared.runs.run import Run


def save_predictions(runs: Sequence[Run], file: Path) -> bool:
    """Draws the predictions of groups of one task for its test part, side by side; of several
    seeds, those of the first.

    Returns:
        True if there is anything to show: a text has no such predictions.
    """
    figure = predictions_figure(runs)
    if figure is not None:
        save_figure(figure, file, dpi=110)
    return figure is not None


def predictions_figure(runs: Sequence[Run]) -> Figure | None:
    """Draws what `save_predictions` saves; None if there is nothing to show."""
    shown = shown_runs(runs)
    if not shown:
        return None
    figure = _figure(shown)
    part = "the test part" if runs[0].summary.held_out else "what it was trained on"
    figure.suptitle(f"{shown[0].schema.task}: predictions for {part}", fontsize=14)
    if figure.get_layout_engine() is None:
        figure.tight_layout()
    return figure


def _figure(shown: Sequence[Shown]) -> Figure:
    schema, found = shown[0].schema, shown[0].found
    if schema.series is not None:
        return forecasts(shown)
    if schema.measured is not None and schema.measured.targets:
        return numbers(shown)
    if schema.per_step and not schema.classes:
        return over_steps(shown)
    if "distance" in found:
        return over_distance(shown)
    return recognition(shown)
