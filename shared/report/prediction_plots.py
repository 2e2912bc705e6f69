"""Predictions → one figure, as the task needs: a forecast against the truth, a confusion matrix,
accuracy over the steps of a sequence, inputs as images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from shared.report.groups import grouped
from shared.report.style import COLORS, STYLES, line_width, new_figure, plain, save_figure
from shared.runs import predictions
from shared.runs.predictions import Predictions, counted
from shared.runs.run import Run
from shared.runs.schema import Schema, read_schema
from shared.runs.summary import Reference

FORECAST = 180
"""Number of times of a forecast that are shown, the last ones of the test part."""
BINS = 15
FEWEST = 20
"""Fewest sequences for which a share is drawn; the share of fewer would only jump."""
IMAGES, FILMS = 8, 3
"""Numbers of inputs that are shown as images."""


class Shown(NamedTuple):
    name: str
    color: str
    style: str
    found: Predictions
    schema: Schema


def save_predictions(runs: Sequence[Run], file: Path) -> bool:
    """Draws the predictions of groups of one task for its test part, side by side; of several
    seeds, those of the first.

    Returns:
        True if there is anything to show: a text has no such predictions.
    """
    schema = read_schema(runs[0].folder)
    shown = [
        Shown(
            plain(side.name),
            COLORS[i % len(COLORS)],
            STYLES[i % len(STYLES)],
            found,
            read_schema(side.first.folder),
        )
        for i, side in enumerate(grouped(runs))
        if (found := predictions.read(side.first.folder, side.first.summary.predictions))
    ]
    if not shown:
        return False
    if schema.series is not None:
        figure = _forecast(schema, shown)
    elif schema.classes:
        figure = _recognition(schema, shown)
    elif schema.per_step:
        figure = _over_steps(shown)
    elif "distance" in shown[0].found:
        figure = _over_distance(shown, runs[0].summary.baselines)
    else:
        figure = _confusions(schema, shown)
    part = "the test part" if runs[0].summary.held_out else "what it was trained on"
    figure.suptitle(f"{schema.task}: predictions for {part}", fontsize=14)
    if not figure.subfigs:
        figure.tight_layout()
    save_figure(figure, file, dpi=110)
    return True


def _forecast(schema: Schema, shown: Sequence[Shown]) -> Figure:
    """Draws the last times of the test part, and all of them predicted against true. The truth is
    that of the first run."""
    assert schema.series is not None
    goal = schema.series.target
    figure = new_figure(4.6, 13)
    left, right = figure.subplots(1, 2, width_ratios=[2.4, 1])

    def real(run: Shown, name: str) -> np.ndarray:
        series, values = run.schema.series, run.found[name]
        assert series is not None
        if series.difference and name != "last":
            values = values + run.found["last"]
        return values[:, 0] * series.target.std + series.target.mean

    times, truth = shown[0].found["times"][-FORECAST:], real(shown[0], "targets")
    left.plot(times, truth[-FORECAST:], color="black", linewidth=2.5, label="truth")
    before = real(shown[0], "last")[-FORECAST:]
    left.plot(times, before, color="#999999", linewidth=1, linestyle=":", label="persistence")
    for run in shown:
        predicted = real(run, "predicted")
        left.plot(
            run.found["times"][-FORECAST:], predicted[-FORECAST:], color=run.color,
            linestyle=run.style, linewidth=1.3, label=run.name,
        )  # fmt: skip
        right.scatter(real(run, "targets"), predicted, s=6, alpha=0.5, color=run.color)
    ends = [min(truth), max(truth)]
    right.plot(ends, ends, color="black", linewidth=1)
    unit = f"{goal.name.replace('_', ' ')}" + (f", {goal.unit}" if goal.unit else "")
    _finish(left, f"last {len(times)} {schema.series.time}s of the test part", unit)
    _finish(right, f"true {unit}", f"predicted {unit}")
    left.tick_params(axis="x", rotation=20)
    return figure


def _recognition(schema: Schema, shown: Sequence[Shown]) -> Figure:
    """Draws confusion matrices, and below them inputs as images where they are images."""
    if schema.image is None:
        return _confusions(schema, shown)
    height, width = schema.image
    found = shown[0].found
    alike = [run for run in shown if np.array_equal(run.found["inputs"], found["inputs"])]
    film = height > 1
    count = min(FILMS if film else IMAGES, len(found["inputs"]))
    figure = new_figure(8.6 if film else 7.8, max(9, 5.5 * len(shown)))
    figure.set_layout_engine("constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[5, 3.2 if film else 2])
    _matrices(parts[0], schema, shown)
    if film:
        frames = found["inputs"][:count].reshape(count, -1, height, width)
        pictures = [np.hstack(list(one)) for one in frames]
        axes = parts[1].subplots(count, 1)
    else:
        pictures = found["inputs"][:count]
        axes = parts[1].subplots(1, count)
    for i, one in enumerate(np.atleast_1d(axes)):
        one.imshow(pictures[i], cmap="gray_r", aspect="equal")
        if film:
            for edge in range(width, pictures[i].shape[1], width):
                one.axvline(edge - 0.5, color="#1f77b4", linewidth=0.8)
        truth = schema.classes[found["targets"][i]]
        answers = {schema.classes[run.found["predicted"][i]] for run in alike}
        right = answers == {truth}
        title = truth if right else f"{truth}, read as {' or '.join(sorted(answers))}"
        one.set_title(title, fontsize=10, color="black" if right else "#d62728")
        one.set_xticks([])
        one.set_yticks([])
    return figure


def _confusions(schema: Schema, shown: Sequence[Shown]) -> Figure:
    figure = new_figure(5.2, max(6, 5.5 * len(shown)))
    _matrices(figure, schema, shown)
    return figure


def _matrices(figure: Figure | SubFigure, schema: Schema, shown: Sequence[Shown]) -> None:
    """Draws a confusion matrix for each run: a row is a true class, a column a predicted one."""
    classes = schema.classes or [str(i) for i in range(schema.output_size)]
    size = len(classes)
    axes = np.atleast_1d(figure.subplots(1, len(shown)))
    for one, run in zip(axes, shown, strict=True):
        pairs = run.found["targets"].astype(int) * size + run.found["predicted"]
        counts = np.bincount(pairs.ravel(), minlength=size**2).reshape(size, size)
        shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
        one.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.argwhere(counts):
            color = "white" if shares[i, j] > 0.5 else "black"
            one.text(j, i, str(counts[i, j]), ha="center", va="center", color=color, fontsize=8)
        one.set_xticks(range(size), classes, rotation=45, ha="right", fontsize=8)
        one.set_yticks(range(size), classes, fontsize=8)
        one.set_xlabel("predicted")
        one.set_ylabel("true")
        one.set_title(f"{run.name}: {np.trace(counts)} of {counts.sum()} right", fontsize=10)


def _over_steps(shown: Sequence[Shown]) -> Figure:
    """Draws the accuracy at every step that counts, and also that of longer sequences."""
    figure = new_figure(4.6)
    axes = figure.subplots()
    for i, run in enumerate(shown):
        parts = [run.found]
        longer = predictions.longer(run.found)
        if longer:
            parts.append(longer)
            axes.axvline(run.found["targets"].shape[1], color="#999999", linewidth=1)
        steps, shares = _accuracy(parts)
        axes.plot(
            steps, 100 * shares, color=run.color, linestyle=run.style, label=run.name,
            marker="o" if len(steps) < 30 else None,
            linewidth=line_width(i, len(shown)), markersize=5 + line_width(i, len(shown)),
        )  # fmt: skip
    if predictions.longer(shown[0].found):
        axes.plot([], [], color="#999999", linewidth=1, label="longest sequence in training")
    _finish(axes, "step of the sequence", "right at this step, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    low = axes.get_ylim()[0]
    axes.set_ylim(min(low, 90), 100.8)
    return figure


def _accuracy(parts: Sequence[Predictions]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps, counted from 1, at which anything counts, and the share that is right
    there. It leaves out steps that hardly any sequence has."""
    longest = max(part["targets"].shape[1] for part in parts)
    right, all_ = np.zeros(longest), np.zeros(longest)
    for part in parts:
        counts, steps = counted(part), part["targets"].shape[1]
        right[:steps] += ((part["predicted"] == part["targets"]) & counts).sum(axis=0)
        all_[:steps] += counts.sum(axis=0)
    at = np.flatnonzero(all_ >= min(FEWEST, all_.max()))
    return at + 1, right[at] / all_[at]


def _over_distance(shown: Sequence[Shown], baselines: Sequence[Reference]) -> Figure:
    """Draws the squared error over the number of steps for which something had to be remembered,
    and the baselines' error over all of them."""
    figure = new_figure(4.6)
    axes = figure.subplots()
    for run in shown:
        distance = run.found["distance"]
        edges = np.linspace(distance.min(), distance.max() + 1, BINS + 1)
        which = np.digitize(distance, edges) - 1
        squares = np.square(run.found["predicted"] - run.found["targets"]).mean(axis=1)
        held = np.unique(which)
        means = [squares[which == one].mean() for one in held]
        axes.plot(
            (edges[held] + edges[held + 1]) / 2, means, color=run.color, linestyle=run.style,
            marker="o", markersize=4, label=run.name,
        )  # fmt: skip
    for baseline in baselines:
        axes.axhline(
            baseline.scores["loss"], color="#999999", linestyle=":", label=plain(baseline.name)
        )
    axes.set_yscale("log")
    _finish(axes, "steps from the first marked number to the end", "squared error")
    return figure


def _finish(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set_xlabel(xlabel, fontsize=11)
    axes.set_ylabel(ylabel, fontsize=11)
    axes.grid(True, linestyle="--", alpha=0.5)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
