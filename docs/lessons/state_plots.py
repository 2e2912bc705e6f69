"""The behaviour of a recurrent network over time → two figures: its states, and its gradients'
reach."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from docs.lessons.network_plots import GREY, number, state_color
from docs.lessons.reading import Reading
from shared.report.style import new_figure

LINES = (
    ("#AA4499", "-"), ("#56B4E9", "-"), ("#0072B2", "-"),
    ("#009E73", "--"), ("#D55E00", "-"), ("#E69F00", "-."),
)  # fmt: skip
"""Colours that colour-blind readers tell apart (Okabe & Ito, Tol)."""
LOWEST = 1e-30
"""Lower end of the axis of gradients; what falls below is lost long before."""
ROUNDED_OFF = float(np.finfo(np.float32).eps) / 2
"""Largest number that float32 adds to 1 without a trace."""
APART = 1.0
"""Distance of two values of a unit, in a range of 2, that clearly differ."""
NAMED = 50
"""Distance at which the legend says how much is left."""
LESSON = """\
Weights are drawn as torch.nn does: after 50 steps less than a billionth is left in Elman,
GRU and LSTM alike, least in the Elman networks. A forget gate that starts more open keeps more."""
"""Text that the tests find true of every seed."""


def draw_states(reading: Reading) -> Figure:
    """Draws the hidden state before a word and after each of its letters, with what tells the same
    letter apart where different ones follow."""
    states = reading.states.T
    units, columns = states.shape
    figure = new_figure(6.6, 11)
    axes = figure.add_axes((0.09, 0.11, 0.79, 0.63))
    colors = ListedColormap([state_color(value) for value in np.linspace(-1, 1, 256)])
    image = axes.imshow(states, colors, vmin=-1, vmax=1, aspect="auto")
    for (unit, t), value in np.ndenumerate(states):
        axes.text(t, unit, number(value), ha="center", va="center_baseline", fontsize=13)
    axes.set_xticks(range(columns), ["", *reading.predicted], fontsize=18)
    axes.set_yticks(range(units), [f"unit {i + 1}" for i in range(units)], fontsize=13)
    axes.set_xlabel("letter that the network then predicts", fontsize=13)
    above = axes.secondary_xaxis("top")
    above.set_xticks(range(columns), ["start", *reading.word], fontsize=18)
    above.set_xlabel("letter that it has just read", fontsize=13, labelpad=8)
    for one in (axes, above):
        one.tick_params(length=0)
    bar = figure.colorbar(image, cax=figure.add_axes((0.9, 0.11, 0.018, 0.63)), ticks=[-1, 0, 1])
    bar.ax.tick_params(labelsize=13)
    title = f'The hidden state of the network while it reads "{"".join(reading.word)}"'
    figure.text(0.02, 0.955, title, fontsize=16, va="center")
    pair = told_apart(reading)
    if pair is not None:
        _frame(axes, reading, *pair)
    return figure


def told_apart(reading: Reading) -> tuple[int, int] | None:
    """Returns two steps, counted from 1, that read the same letter and rightly predict different
    ones."""
    steps = zip(reading.word, reading.predicted, reading.targets, strict=True)
    right = [(t, *step) for t, step in enumerate(steps, start=1) if step[1] == step[2]]
    for (i, letter, first, _), (j, again, second, _) in combinations(right, 2):
        if letter == again and first != second:
            return i, j
    return None


def _frame(axes: Axes, reading: Reading, i: int, j: int) -> None:
    """Frames the units that differ between two steps, and says what for."""
    difference = np.abs(reading.states[i] - reading.states[j])
    framed = np.flatnonzero(difference > APART)
    for unit in framed:
        for t in (i, j):
            corner = t - 0.47, unit - 0.45
            axes.add_patch(Rectangle(corner, 0.94, 0.9, fill=False, linewidth=2.5))
    said = (
        f'The two "{reading.word[i - 1]}" leave different states (framed: {len(framed)} of '
        f"{len(difference)} units differ by more than {APART:g}):\nso the network can predict "
        f'"{reading.predicted[i - 1]}" after the first and "{reading.predicted[j - 1]}" after the '
        "second."
    )
    axes.figure.text(0.02, 0.885, said, fontsize=13, va="center")


def draw_gradients(shares: Mapping[str, np.ndarray]) -> Figure:
    """Draws how much is left of a gradient over a distance.

    Args:
        shares: as `docs.lessons.vanishing.over_distance` returns them.
    """
    figure = new_figure(6.6, 11)
    axes = figure.add_axes((0.11, 0.11, 0.59, 0.7))
    seeds, count = next(iter(shares.values())).shape
    distance = np.arange(count)
    for (name, values), (color, style) in zip(shares.items(), LINES, strict=True):
        middle = np.median(values, axis=0)
        label = f"{name}: {_power(middle[NAMED])}"
        axes.plot(distance, middle, color=color, linestyle=style, linewidth=2.2, label=label)
        low, high = values.min(axis=0), values.max(axis=0)
        axes.fill_between(distance, low, high, color=color, alpha=0.22, linewidth=0)
    axes.set(yscale="log", ylim=(LOWEST, 100), xlim=(0, distance[-1]))
    axes.set_xticks(range(0, count, 25))
    axes.set_yticks(10.0 ** np.arange(0, -31, -5))
    axes.axhline(ROUNDED_OFF, color="black", linestyle=":", linewidth=1.5)
    said = "below the dots, lost\nin float32 beside the\nlast input's gradient"
    right = axes.get_yaxis_transform()
    axes.text(0.99, 3 * ROUNDED_OFF, said, transform=right, fontsize=12, ha="right")
    axes.set_xlabel("steps from the input to the last state", fontsize=13)
    axes.set_ylabel("gradient of the last state by the input\n(by the last input: 1)", fontsize=13)
    axes.tick_params(labelsize=12)
    axes.grid(True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        title=f"left after {NAMED} steps", title_fontsize=13, fontsize=13, frameon=False,
        alignment="left", labelspacing=1, loc="upper left", bbox_to_anchor=(1, 1.03),
    )  # fmt: skip
    title = "The further back an input, the less of its gradient is left; an open gate keeps more"
    figure.text(0.02, 0.95, title, fontsize=16, va="center")
    figure.text(0.02, 0.875, LESSON, fontsize=13, va="center")
    said = f"line: median of {seeds} seeds\nband: smallest to largest"
    figure.text(0.72, 0.12, said, fontsize=12, color=GREY)
    return figure


def _power(value: float) -> str:
    """Writes one digit; for small numbers times a power of ten."""
    digit, exponent = f"{value:.0e}".split("e")
    return f"{value:.1g}" if value > 1e-4 else f"${digit}\\cdot 10^{{{int(exponent)}}}$"
