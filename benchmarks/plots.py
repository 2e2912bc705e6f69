"""results.json → pictures: how a training step's time grows with each size."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.axes import Axes

from benchmarks.cases import CONTENDERS, OURS, Case, scaling, table
from benchmarks.results import Results, Steps
from shared.report.style import COLORS, new_figure, save_figure

HIDDEN = "hidden.png"
SCALING = ("length.png", "batch.png", "layers.png")
FILES = (HIDDEN, *SCALING)
TITLES = {
    HIDDEN: "Time of a training step over the hidden size",
    "length.png": "Time of a training step over the length of the sequences",
    "batch.png": "Time of a training step over the size of the batch",
    "layers.png": "Time of a training step over the number of layers",
}
NAMES = {"rnn": "Elman RNN (tanh)", "lstm": "LSTM", "gru": "GRU"}


def save(results: Results, folder: Path) -> list[str]:
    """Draws the pictures for which there is data, and removes the others. Returns the files
    drawn."""
    cells, hidden = results.settings["cells"], results.settings["hidden"]
    axes = scaling(cells) if "scaling" in results.settings["parts"] else {}
    wanted = {HIDDEN: (table(cells, hidden), "hidden_size", "hidden size")}
    for file, axis, label in zip(
        SCALING,
        ("length", "batch_size", "num_layers"),
        ("steps of a sequence", "sequences in a batch", "layers"),
        strict=True,
    ):
        wanted[file] = (axes.get(axis, []), axis, label)
    drawn = []
    for file, (cases, axis, label) in wanted.items():
        if _draw(Steps(results), cases, axis, label, folder / file):
            drawn.append(file)
        else:
            (folder / file).unlink(missing_ok=True)
    return drawn


def _draw(steps: Steps, cases: Sequence[Case], axis: str, label: str, file: Path) -> bool:
    cases = [case for case in cases if any(steps.rounds(name, case) for name in CONTENDERS)]
    cells = list(dict.fromkeys(case.cell for case in cases))
    if len({getattr(case, axis) for case in cases}) < 2:
        return False
    figure = new_figure(4.5, 4.5 * len(cells) if len(cells) > 1 else 6)
    panels = figure.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    for axes, cell in zip(panels, cells, strict=True):
        _panel(axes, steps, [case for case in cases if case.cell == cell], axis)
        axes.set_title(NAMES[cell], fontsize=14)
        axes.set_xlabel(label, fontsize=12)
    panels[0].set_ylabel("ms per training step", fontsize=12)
    names = panels[-1].get_legend_handles_labels()
    figure.legend(*names, loc="lower center", ncols=8, frameon=False, fontsize=10)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    save_figure(figure, file, dpi=120)
    return True


def _panel(axes: Axes, steps: Steps, cases: Sequence[Case], axis: str) -> None:
    for color, name in zip(COLORS, CONTENDERS, strict=False):
        points = [(getattr(c, axis), steps.rounds(name, c)) for c in cases]
        points = [(x, sorted(rounds.values())) for x, rounds in points if rounds]
        if not points:
            continue
        x = [x for x, _ in points]
        middle = [steps.ms(name, replace(cases[0], **{axis: at})) or 0.0 for at in x]
        axes.plot(
            x, middle, color=color, marker="o", markersize=4, label=name,
            linestyle="-" if name in OURS else "--", linewidth=2 if name in OURS else 1.4,
        )  # fmt: skip
        axes.fill_between(
            x, [values[0] for _, values in points], [values[-1] for _, values in points],
            color=color, alpha=0.15, linewidth=0,
        )  # fmt: skip
    floor = [(getattr(case, axis), steps.floor_ms(case)) for case in cases]
    known = [(x, ms) for x, ms in floor if ms is not None]
    if known:
        axes.plot(*zip(*known, strict=True), color="#555555", linestyle=":", label="products alone")
    ticks = sorted({getattr(case, axis) for case in cases})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.grid(True, linestyle="--", alpha=0.5)
    axes.spines[["top", "right"]].set_visible(False)
