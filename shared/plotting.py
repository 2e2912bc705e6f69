"""Histories → figures. With `parity_plots.py` the only module that imports matplotlib."""

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shared.deviation import SMALLEST_LOSS
from shared.files import write_atomically
from shared.history import Run
from shared.summary import Reference

COLORS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
STYLES = ("-", "--", "-.", ":")
LONGEST_NAME = 40


def save_curves(runs: Sequence[Run], file: Path) -> None:
    """Loss curves of one or several runs, in one picture.

    Training is a line (per step, a running mean where there are thousands), validation has markers,
    the baseline is dotted; y runs from 0 to 1.1 times the largest value drawn.
    """
    figure = new_figure(6)
    axes = figure.subplots()
    tops = []
    for i, (run, name) in enumerate(zip(runs, map(plain, labels(runs)), strict=True)):
        style = STYLES[i % len(STYLES)]
        color = COLORS[i % len(COLORS)]
        steps, losses, smoothed = _thinned(run)
        width = line_width(i, len(runs))
        kind = f"training (mean of {smoothed} steps)" if smoothed > 1 else "training"
        axes.plot(
            steps, losses, color=color, linestyle=style, linewidth=width, label=f"{name}, {kind}"
        )
        tops.append(losses.max())
        valid = run.curves["valid"]
        if len(valid.step):
            axes.plot(
                valid.step, valid.loss, color=color, linestyle=style, linewidth=1, marker="o",
                markersize=4, markeredgecolor="white", label=f"{name}, validation",
            )  # fmt: skip
            tops.append(valid.loss.max())
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
    config = runs[0].config
    cell = config.network.cell
    if cell == "rnn":
        cell = f"Elman RNN ({config.network.nonlinearity})"
    axes.set_title(f"{config.task}: {cell if cell.startswith('E') else cell.upper()}", fontsize=14)
    unit = "nats" if runs[0].metric == "accuracy" else "squared error"
    finish(axes, f"loss ({unit})")
    figure.tight_layout()
    save_figure(figure, file, dpi=120)


def drawn_baselines(run: Run) -> list[Reference]:
    """Those that have a loss, the best two."""
    having = [baseline for baseline in run.summary.baselines if "loss" in baseline.scores]
    return sorted(having, key=lambda baseline: baseline.scores["loss"])[:2]


def save_deviations(runs: Sequence[Run], file: Path) -> None:
    """Relative difference of the training loss between each run and the first, step by step."""
    figure = new_figure(4)
    axes = figure.subplots()
    names = [plain(name) for name in labels(runs)]
    drawn = False
    for i, run in enumerate(runs[1:], start=1):
        steps, difference = deviation(runs[0], run)
        shown = difference > 0
        drawn = drawn or bool(shown.any())
        axes.plot(
            steps[shown], difference[shown], color=COLORS[i % len(COLORS)],
            linewidth=line_width(i - 1, len(runs) - 1) / 1.4,
            label=f"{names[i]} against {names[0]}",
        )  # fmt: skip
    if drawn:
        axes.set_yscale("log")
    else:
        axes.text(0.5, 0.5, "no difference at any step", transform=axes.transAxes, ha="center")
    axes.set_title("Difference of the training loss", fontsize=14)
    finish(axes, "relative difference")
    figure.tight_layout()
    save_figure(figure, file, dpi=120)


def deviation(first: Run, second: Run) -> tuple[np.ndarray, np.ndarray]:
    """Steps that both runs recorded, and there |a - b| / max(|a|, |b|, SMALLEST_LOSS)."""
    a, b = first.curves["train"], second.curves["train"]
    steps, at_a, at_b = np.intersect1d(a.step, b.step, return_indices=True)
    x, y = a.loss[at_a], b.loss[at_b]
    return steps, np.abs(x - y) / np.maximum(np.maximum(np.abs(x), np.abs(y)), SMALLEST_LOSS)


def labels(runs: Sequence[Run]) -> list[str]:
    """A short name for each run: backend and implementation, all of them in order where it was
    resumed, and the folder where those repeat."""
    names = [run.label for run in runs]
    for folder in (lambda run: run.folder.name, lambda run: run.folder):
        names = [
            f"{run.label} ({folder(run)})" if names.count(name) > 1 else name
            for name, run in zip(names, runs, strict=True)
        ]
    return names


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


def _thinned(run: Run) -> tuple[np.ndarray, np.ndarray, int]:
    """Steps and losses to draw: means over so many steps that some 500 points remain."""
    curve = run.curves["train"]
    size = max(1, len(curve.step) // 500) if len(curve.step) > 2000 else 1
    whole = len(curve.step) // size * size
    steps = curve.step[:whole].reshape(-1, size)[:, -1]
    return steps, curve.loss[:whole].reshape(-1, size).mean(1), size


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
