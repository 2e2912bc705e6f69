"""Accuracy over the steps of a sequence, answers by the length of what was asked, and errors over
the time that something had to be remembered."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shared.report.shown import Shown, finish
from shared.report.style import line_width, new_figure, plain
from shared.runs import predictions
from shared.runs.predictions import Predictions, counted

BINS = 15
FEWEST = 20
"""Fewest sequences for which a share is drawn; the share of fewer would only jump."""


def over_steps(shown: Sequence[Shown]) -> Figure:
    """Draws the accuracy at every step that counts, and also that of longer sequences; beside it,
    where texts were answered, the share of right answers."""
    if len(shown[0].found.get("answers", ())):
        figure = new_figure(4.6, 13)
        left, right = figure.subplots(1, 2)
        draw_answers(right, shown)
    else:
        figure = new_figure(4.6)
        left = figure.subplots()
    draw_steps(left, shown)
    return figure


def draw_steps(axes: Axes, shown: Sequence[Shown]) -> None:
    """Draws the accuracy at every step that counts, and also that of longer sequences."""
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
    finish(axes, "step of the sequence", "right at this step, %")
    _whole_percents(axes)


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


def draw_answers(axes: Axes, shown: Sequence[Shown]) -> None:
    """Draws the share of answers that are exactly right by the length of their source, of lengths
    that have enough sources together."""
    for i, run in enumerate(shown):
        lengths, shares = answers_by_length(run.found)
        axes.plot(
            lengths, 100 * shares, color=run.color, linestyle=run.style, label=run.name,
            marker="o", linewidth=line_width(i, len(shown)),
            markersize=3 + line_width(i, len(shown)),
        )  # fmt: skip
    finish(axes, "characters of the source", "answers exactly right, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(-3, 103)


def answers_by_length(found: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean lengths of sources and the share of right answers: of about as many sources in
    each bin, but no fewer than `FEWEST` if there are so many."""
    lengths = np.char.str_len(found["sources"])
    right = found["answers"] == found["references"]
    order = np.argsort(lengths, kind="stable")
    bins = max(1, min(BINS, len(order) // FEWEST))
    parts = np.array_split(order, bins)
    return (
        np.array([lengths[part].mean() for part in parts]),
        np.array([right[part].mean() for part in parts]),
    )


def over_distance(shown: Sequence[Shown]) -> Figure:
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
    for baseline in shown[0].baselines:
        axes.axhline(
            baseline.scores["loss"], color="#999999", linestyle=":", label=plain(baseline.name)
        )
    axes.set_yscale("log")
    finish(axes, "steps from the first marked number to the end", "squared error")
    return figure


def _whole_percents(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    low = axes.get_ylim()[0]
    axes.set_ylim(min(low, 90), 100.8)
