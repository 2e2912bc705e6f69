"""Measurements of the mistakes → mistakes.md and a picture of each.

write_mistakes(measured, messages, facts, folder, seed=0, command=…)
"""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes

from docs.lessons.catalog import MISTAKES, Measured, Panel
from shared.report.render import write_pages
from shared.report.style import COLORS, STYLES, finish, new_figure, save_figure
from shared.system import environment
from shared.system.folders import remove

TEMPLATES = Path(__file__).parent / "templates"
PAGE = "mistakes.md"
PICTURES = {name: f"mistake-{name}.png" for name in MISTAKES}
FILES = (PAGE, *PICTURES.values())
LINES = tuple(zip((COLORS[0], COLORS[1], COLORS[7]), STYLES, (2.4, 2.4, 1.8), strict=False))
"""Colour, style and width of the curves: with the mistake, without it, others."""


def write_mistakes(
    measured: Mapping[str, Measured],
    messages: Mapping[str, str],
    facts: Mapping[str, int | float | str],
    folder: Path,
    *,
    seed: int,
    command: str,
) -> None:
    """Writes the page and the pictures, in place of older ones.

    Args:
        measured: of all or some of `MISTAKES`, by name.
        messages: name of a call that fails → what Python says of it.
        facts: numbers about what neither fails nor shows in a curve.
        command: the command line, shown for reproduction.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove(folder, FILES)  # the older one may have had pictures that this one lacks
    rows = {}
    for name, mistake in MISTAKES.items():
        if name in measured:
            save_panels(measured[name], folder / PICTURES[name])
            rows[name] = mistake._asdict() | {
                "anchor": _anchor(mistake.title),
                "values": _values(measured[name]),
            }
    context = {
        "rows": rows,
        "messages": messages,
        "facts": {name: _shown(value) for name, value in facts.items()},
        "seed": seed,
        "machine": environment.machine(),
        "versions": environment.versions("torch"),
        "command": command,
    }
    write_pages(folder, [PAGE], {name: PICTURES[name] for name in rows}, context, TEMPLATES)


def save_panels(measured: Measured, file: Path) -> None:
    """Draws all panels beside one another."""
    panels = measured.panels
    figure = new_figure(4.4, width=10 if len(panels) > 1 else 7)
    figure.set_layout_engine("constrained", w_pad=0.08)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axes, panel)
    save_figure(figure, file, dpi=100)


def _draw(axes: Axes, panel: Panel) -> None:
    for curve, (color, style, width) in zip(panel.curves, LINES, strict=False):
        axes.plot(
            curve.steps, curve.values, color=color, linestyle=style, linewidth=width,
            label=curve.label,
        )  # fmt: skip
    for (says, height), dots in zip(panel.bounds.items(), ((1, 2), (4, 3)), strict=False):
        axes.axhline(height, color="#444444", linestyle=(0, dots), linewidth=1.4, label=says)
    if panel.log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.1 * max(*(c.values.max() for c in panel.curves), *panel.bounds.values()))
    if panel.until is not None:
        axes.set_xlim(0, panel.until)
    finish(axes, panel.ylabel)
    axes.set_title(panel.title, fontsize=13)
    axes.legend(frameon=False, fontsize=11, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def _values(measured: Measured) -> dict[str, str]:
    """Returns all numbers of a mistake as the page shows them."""
    wrong, right = measured.ends
    bound = {} if measured.bound is None else {"bound": measured.bound}
    named = {"wrong": wrong, "right": right, **bound, **measured.numbers}
    return {name: _shown(value) for name, value in named.items()}


def _shown(value: int | float | str) -> str:
    """Returns four decimals of a loss, none of what is large or whole."""
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def _anchor(title: str) -> str:
    """Returns the anchor of a heading, as GitHub and MkDocs make it."""
    return title.lower().replace(" ", "-")
