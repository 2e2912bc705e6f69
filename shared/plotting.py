"""Histories → figures of loss curves and differences, and what all figures have in common."""

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shared.bands import band, bin_size, largest_deviation
from shared.config import Config
from shared.contenders import contenders
from shared.files import write_atomically
from shared.history import Run
from shared.summary import Reference

COLORS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
STYLES = ("-", "--", "-.", ":")
LONGEST_NAME = 40
POINTS = 500
"""Of a long curve."""


def save_curves(runs: Sequence[Run], file: Path) -> None:
    """Loss curves of one or several contenders, in one picture.

    Training is a line (per step, a running mean where there are thousands), validation has
    markers, the baseline is dotted; of several seeds the mean is drawn, in a band of their range.
    y runs from 0 to 1.1 times the largest value drawn.
    """
    figure = new_figure(6)
    axes = figure.subplots()
    tops = []
    sides = contenders(runs)
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
    axes.set_ylim(0, 1.1 * max(tops))
    axes.set_title(f"{runs[0].config.task}: {network_name(runs[0].config)}", fontsize=14)
    unit = "nats" if runs[0].metric == "accuracy" else "squared error"
    finish(axes, f"loss ({unit})")
    figure.tight_layout()
    save_figure(figure, file, dpi=120)


def network_name(config: Config) -> str:
    """ "Elman RNN (tanh)", "LSTM"."""
    cell = config.network.cell
    return f"Elman RNN ({config.network.nonlinearity})" if cell == "rnn" else cell.upper()


def drawn_baselines(run: Run) -> list[Reference]:
    """Those that have a loss, the best two."""
    having = [baseline for baseline in run.summary.baselines if "loss" in baseline.scores]
    return sorted(having, key=lambda baseline: baseline.scores["loss"])[:2]


def save_deviations(runs: Sequence[Run], file: Path) -> None:
    """Relative difference of the training loss between each contender and the first, step by step;
    of several seeds the largest."""
    figure = new_figure(4)
    axes = figure.subplots()
    first, *others = contenders(runs)
    drawn = False
    for i, side in enumerate(others, start=1):
        steps, difference = largest_deviation(first, side)
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


def plain(text: str) -> str:
    """A name as matplotlib can draw it: no formula, no glyph that its font lacks, nothing that
    keeps it out of a legend, and of a long one the end."""
    text = text if len(text) <= LONGEST_NAME else f"…{text[1 - LONGEST_NAME :]}"
    known = "".join(c if c.isprintable() and ord(c) in _glyphs() else "?" for c in text)
    kept = f" {known}" if known[:1] in ("", "_") else known
    return kept.replace("$", r"\$")


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(
        font_manager.get_font(font_manager.findfont(font_manager.FontProperties())).get_charmap()
    )


def line_width(i: int, lines: int) -> float:
    """Equal curves lie on top of each other: later ones are thinner, so that all can be seen."""
    return 1.2 + 2.2 * (lines - 1 - i) / max(1, lines - 1)


def new_figure(height: float, width: float = 10) -> Figure:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, file: Path, dpi: int) -> None:
    """Writes a picture that is whole or not there."""
    content = io.BytesIO()
    figure.savefig(content, format=file.suffix[1:], dpi=dpi)
    write_atomically(file, content.getvalue())


def finish(axes: Axes, ylabel: str) -> None:
    axes.set_xlabel("optimizer step", fontsize=12)
    axes.set_ylabel(ylabel, fontsize=12)
    axes.grid(True, linestyle="--", alpha=0.5)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
