"""Style that all figures have in common."""

import io
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shared.system.files import write_atomically

COLORS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
STYLES = ("-", "--", "-.", ":")
LONGEST_NAME = 40


def plain(text: str) -> str:
    """Returns a name as matplotlib can draw it: no formula, no glyph that its font lacks, nothing
    that keeps it out of a legend, and of a long name only the end."""
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
    """Returns the width of a line. Equal curves lie on top of each other: later ones are thinner,
    so that all can be seen."""
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
