"""Histories -> figures of loss curves and of their differences."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from shared.config.naming import network_name
from shared.report.bands import band, bin_size, largest_difference
from shared.report.groups import grouped
from shared.report.style import COLORS, STYLES, finish, line_width, new_figure, plain, save_figure
from shared.runs.run import Run
from shared.runs.summary import Reference

POINTS = 500
"""Points of a long curve."""


def save_curves(runs: Sequence[Run], file: Path) -> None:
    """Draws loss curves of one or several groups into a file."""
    save_figure(curves_figure(runs), file, dpi=120)


def curves_figure(runs: Sequence[Run]) -> Figure:
    """Draws loss curves of one or several groups, in one picture.

    Training is a line (per step, a running mean where there are thousands), validation has
    markers, the baseline is dotted. Of several seeds the mean is drawn, in a band of their range.
    y runs from 0 to 1.1 times the largest value drawn.
    """
    figure = new_figure(6)
    axes = figure.subplots()
    tops = []
    sides = grouped(runs)
    for i, side in enumerate(sides):
        name = plain(side.name)
        color, style = COLORS[i % len(COLORS)], STYLES[i % len(STYLES)]
        size = bin_size(side.first.curves["train"], POINTS)
        train = band(side, "train", size=size)
        kind = f"training (mean of {size} steps)" if size > 1 else "training"
        if len(side.runs) > 1:
            kind += f", mean of {len(side.runs)} seeds"
            axes.fill_between(
                train.step, train.low, train.high, color=color, alpha=0.2, linewidth=0
            )
        axes.plot(
            train.step, train.mean, color=color, linestyle=style,
            linewidth=line_width(i, len(sides)), label=f"{name}, {kind}",
        )  # fmt: skip
        tops.append(train.high.max())
        valid = band(side, "valid")
        if len(valid.step):
            axes.plot(
                valid.step, valid.mean, color=color, linestyle=style, linewidth=1, marker="o",
                markersize=4, markeredgecolor="white", label=f"{name}, validation",
            )  # fmt: skip
            tops.append(valid.mean.max())
    for baseline, dots in zip(drawn_baselines(runs[0]), ((1, 2), (4, 3)), strict=False):
        level = baseline.scores["loss"]
        axes.axhline(
            level,
            color="#555555",
            linestyle=(0, dots),
            label=f"baseline: {plain(baseline.name)}",
        )
        tops.append(level)
    axes.set_ylim(0, 1.1 * max(tops) or 1)  # a loss of 0 has a scale, too
    axes.set_title(f"{runs[0].config.task}: {network_name(runs[0].config)}", fontsize=14)
    unit = "nats" if runs[0].metric == "accuracy" else "squared error"
    finish(axes, f"loss ({unit})")
    figure.tight_layout()
    return figure


def drawn_baselines(run: Run) -> list[Reference]:
    """Returns the baselines that have a loss, the best two."""
    having = [baseline for baseline in run.summary.baselines if "loss" in baseline.scores]
    return sorted(having, key=lambda baseline: baseline.scores["loss"])[:2]


def save_differences(runs: Sequence[Run], file: Path) -> None:
    """Draws the relative difference of the training loss between each group and the first, step
    by step; of several seeds the largest."""
    figure = new_figure(4)
    axes = figure.subplots()
    first, *others = grouped(runs)
    drawn = False
    for i, side in enumerate(others, start=1):
        steps, difference = largest_difference(first, side)
        shown = difference > 0
        drawn = drawn or bool(shown.any())
        axes.plot(
            steps[shown], difference[shown], color=COLORS[i % len(COLORS)],
            linewidth=line_width(i - 1, len(others)) / 1.4,
            label=f"{plain(side.name)} against {plain(first.name)}",
        )  # fmt: skip
    if drawn:
        axes.set_yscale("log")
    else:
        axes.text(0.5, 0.5, "no difference at any step", transform=axes.transAxes, ha="center")
    axes.set_title("Difference of the training loss", fontsize=14)
    finish(axes, "relative difference")
    figure.tight_layout()
    save_figure(figure, file, dpi=120)
