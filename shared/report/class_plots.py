"""Confusion matrices, and inputs as images where they are images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from shared.report.shown import Shown, finish
from shared.report.step_plots import draw_steps
from shared.report.style import new_figure, plain
from shared.runs.predictions import Predictions, counted
from shared.runs.schema import Schema

IMAGES, FILMS = 8, 3
"""Numbers of inputs that are shown as images."""
FEW, MANY = 10, 30
"""Classes whose matrix has the usual size; those beyond which its cells have no place for numbers
and names."""
TICKS = 16
"""Classes that are named at the edge of such a matrix."""
MISTAKES = 15
"""Most frequent mistakes that are named beside a matrix of many classes."""


def recognition(shown: Sequence[Shown]) -> Figure:
    """Draws confusion matrices, and below them inputs as images where they are images, or the
    accuracy at each step where each has a class."""
    schema = shown[0].schema
    names, size, count = class_names(schema), schema.output_size, len(shown)
    if schema.image is not None:
        film = schema.image[0] > 1
        figure = new_figure(8.6 if film else 7.8, max(9, 5.5 * count))
        above, below = _halves(figure, 5, 3.2 if film else 2)
        _matrices(above, names, shown)
        _images(below, schema, shown)
        return figure
    if size > MANY:
        wide, high = 11.0, 5.6 * count
    else:
        side = 5.2 + 0.45 * max(0, size - FEW)
        wide, high = max(6, (side + 0.3) * count), side
    if not schema.per_step:
        figure = new_figure(high, wide)
        if size > FEW:
            figure.set_layout_engine("constrained")
        _matrices(figure, names, shown)
        return figure
    figure = new_figure(high + 4.4, wide)
    above, below = _halves(figure, high, 4.4)
    _matrices(above, names, shown)
    draw_steps(below.subplots(), shown)
    return figure


def _halves(figure: Figure, above: float, below: float) -> tuple[SubFigure, SubFigure]:
    """Divides a figure into an upper and a lower part with these heights."""
    figure.set_layout_engine("constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[above, below])
    return parts[0], parts[1]


def class_names(schema: Schema) -> list[str]:
    return schema.classes or [str(i) for i in range(schema.output_size)]


def confusions(found: Predictions, size: int) -> np.ndarray:
    """Counts the classes that count, (size, size): a row is a true class, a column a predicted
    one."""
    which = counted(found) if found["targets"].ndim == 2 else ...
    pairs = found["targets"][which].astype(int) * size + found["predicted"][which]
    return np.bincount(pairs.ravel(), minlength=size**2).reshape(size, size)


def mistakes(counts: np.ndarray) -> list[tuple[int, int]]:
    """Returns the most frequent mistakes, true and predicted class, the most frequent first."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES]
    pairs = [divmod(int(place), len(wrong)) for place in order]
    return [pair for pair in pairs if wrong[pair]]


def _matrices(figure: Figure | SubFigure, names: Sequence[str], shown: Sequence[Shown]) -> None:
    """Draws a confusion matrix for each run; of many classes, the most frequent mistakes beside
    it."""
    names, size = [plain(name) for name in names], len(names)
    if size > MANY:
        rows: Any = figure.subplots(len(shown), 2, squeeze=False, width_ratios=[1.2, 1])
        for (left, right), run in zip(rows, shown, strict=True):
            counts = confusions(run.found, size)
            _matrix(left, run, counts)
            named = np.unique(np.linspace(0, size - 1, TICKS).round().astype(int))
            some = [names[i] for i in named]
            left.set_xticks(named, some, rotation=45, ha="right", fontsize=8)
            left.set_yticks(named, some, fontsize=8)
            _mistakes(right, names, counts, run.color)
        return
    axes = np.atleast_1d(figure.subplots(1, len(shown)))
    for one, run in zip(axes, shown, strict=True):
        counts = confusions(run.found, size)
        shares = _matrix(one, run, counts)
        for i, j in np.argwhere(counts):
            color = "white" if shares[i, j] > 0.5 else "black"
            one.text(j, i, str(counts[i, j]), ha="center", va="center", color=color, fontsize=8)
        one.set_xticks(range(size), names, rotation=45, ha="right", fontsize=8)
        one.set_yticks(range(size), names, fontsize=8)


def _matrix(axes: Axes, run: Shown, counts: np.ndarray) -> np.ndarray:
    """Draws the share of each class that is predicted as each, and returns it."""
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{run.name}: {np.trace(counts)} of {counts.sum()} right", fontsize=10)
    return shares


def _mistakes(axes: Axes, names: Sequence[str], counts: np.ndarray, color: str) -> None:
    found = mistakes(counts)
    axes.barh(range(len(found)), [counts[pair] for pair in found], color=color)
    axes.set_yticks(
        range(len(found)), [f"{names[i]}, read as {names[j]}" for i, j in found], fontsize=8
    )
    axes.invert_yaxis()
    finish(axes, "times", "")
    axes.set_title("most frequent mistakes" if found else "no mistakes", fontsize=10)


def _images(figure: SubFigure, schema: Schema, shown: Sequence[Shown]) -> None:
    """Draws the first inputs as images or films, and what they are read as."""
    assert schema.image is not None
    height, width = schema.image
    found = shown[0].found
    alike = [run for run in shown if np.array_equal(run.found["inputs"], found["inputs"])]
    film = height > 1
    count = min(FILMS if film else IMAGES, len(found["inputs"]))
    if film:
        frames = found["inputs"][:count].reshape(count, -1, height, width)
        pictures = [np.hstack(list(one)) for one in frames]
        axes = figure.subplots(count, 1)
    else:
        pictures = found["inputs"][:count]
        axes = figure.subplots(1, count)
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
