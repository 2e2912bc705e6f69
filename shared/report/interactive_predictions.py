"""Groups of runs → the data from which templates/predictions.js draws their predictions for the
test part, in the data's units."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from shared.report.class_plots import class_names, confusions
from shared.report.forecast_plots import in_units, of_baseline, step_name
from shared.report.shown import Shown, shown_runs
from shared.report.step_plots import answers_by_length
from shared.runs import predictions
from shared.runs.run import Run

ABOUT = {
    "forecast": "Forecasts of every run beside the truth and a simple forecast, over the time",
    "classes": "How often each class is predicted as each class",
    "numbers": "Predicted numbers of every run over the true ones",
    "answers": "Share of exactly right answers of every run over the length of their sources",
}
"""Descriptions of the interactive figures of predictions, for readers who cannot see them."""
SERIES, STEPS = 20, 12
"""Most series of a forecast, and most steps of its horizon, that can be chosen on the page."""
CLASSES = 100
"""Most classes of a matrix; more would make the page slow."""
POINTS = 2000
"""Points of a cloud, evenly spaced."""
DIGITS = 5


def predicted(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Returns what is predicted, as JSON's numbers and lists of them; None if it has no figure."""
    shown = shown_runs(runs)
    figure = _figure(shown) if shown else None
    if figure is None:
        return None
    groups = [{"name": run.name, "color": run.color} for run in shown]
    return figure | {"groups": groups, "about": ABOUT[figure["kind"]]}


def _figure(shown: Sequence[Shown]) -> dict[str, Any] | None:
    schema, found = shown[0].schema, shown[0].found
    if schema.series is not None:
        return {"kind": "forecast"} | _forecasts(shown)
    if schema.measured is not None and schema.measured.targets:
        return {"kind": "numbers", "targets": _numbers(shown)}
    if len(found.get("answers", ())):
        return {"kind": "answers", "answers": [_answers(run) for run in shown]}
    classes = schema.loss == "cross_entropy" and (not schema.per_step or bool(schema.classes))
    if classes and schema.output_size <= CLASSES:
        counts = [confusions(run.found, schema.output_size).tolist() for run in shown]
        return {"kind": "classes", "classes": class_names(schema), "counts": counts}
    return None


def _forecasts(shown: Sequence[Shown]) -> dict[str, Any]:
    """Returns the last forecasts of each series, at some steps of the horizon."""
    series = shown[0].schema.series
    assert series is not None
    steps = np.unique(np.linspace(0, series.horizon - 1, STEPS).round().astype(int)).tolist()
    held = np.unique(shown[0].found["group"]).tolist()
    chosen = list(product(held, range(series.targets)))[:SERIES]
    return {
        "steps": [step + 1 for step in steps],
        "step": step_name(series),
        "series": [_series(shown, group, target, steps) for group, target in chosen],
        "more": len(held) * series.targets - len(chosen),
    }


def _series(shown: Sequence[Shown], group: int, target: int, steps: list[int]) -> dict[str, Any]:
    """Returns the last forecasts of one target of one series; lists of steps, then of times."""
    series = shown[0].schema.series
    assert series is not None
    first, column = in_units(shown[0], group, target), series.predicted[target]
    name = [list(series.scales)[group]] * bool(series.groups)
    name += [column.name] * (series.targets > 1 or not name)
    simple = [of_baseline(shown[0], first, step) for step in steps]
    lines: list[list[dict[str, Any]]] = []
    for run in shown:
        own = in_units(run, group, target)
        lines.append([_line(*own.lines(own.at_step(own.predicted[:, k], k))) for k in steps])
    return {
        "name": ", ".join(name),
        "what": f"{column.name}, {column.unit}" if column.unit else column.name,
        "truth": _line(*first.lines(first.truth)),
        "baseline": simple[0][0],
        "baselines": [_line(*first.lines(values)) for _, values in simple],
        "predicted": lines,
    }


def _line(times: np.ndarray, values: np.ndarray) -> dict[str, list[Any]]:
    """Returns times, as text if they are dates, and values, None where there is none."""
    dates = times.dtype.kind == "M"
    return {
        "x": np.datetime_as_string(times, "s").tolist() if dates else times.tolist(),
        "y": [_number(value) if np.isfinite(value) else None for value in values.tolist()],
    }


def _numbers(shown: Sequence[Shown]) -> list[dict[str, Any]]:
    """Returns for each number to predict the true and the predicted values of each run."""
    found = []
    for run in shown:
        measured = run.schema.measured
        assert measured is not None
        pair = [predictions.in_units(measured, run.found, n) for n in ("targets", "predicted")]
        some = np.unique(np.linspace(0, len(pair[0]) - 1, POINTS).astype(int))
        found.append([own[some] for own in pair])
    measured = shown[0].schema.measured
    assert measured is not None
    return [
        {
            "what": f"{column.name}, {column.unit}" if column.unit else column.name,
            "truth": [_rounded(truth[:, i]) for truth, _ in found],
            "predicted": [_rounded(values[:, i]) for _, values in found],
        }
        for i, column in enumerate(measured.targets)
    ]


def _answers(run: Shown) -> dict[str, list[float]]:
    lengths, shares = answers_by_length(run.found)
    return {"x": _rounded(lengths), "y": _rounded(100 * shares)}


def _rounded(values: np.ndarray) -> list[float]:
    return [_number(value) for value in values.tolist()]


def _number(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
