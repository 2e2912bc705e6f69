"""The idea of a recurrent network → two drawings: the network folded, and unrolled over a word.

What it does over time is in `state_plots.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path

from docs.lessons.reading import Reading
from shared.report.style import new_figure

MATRICES = {"U": "#0072B2", "W": "#D55E00", "V": "#009E73"}
"""Colours that colour-blind readers tell apart (Okabe & Ito)."""
GREY = "#555555"
EQUATIONS = r"$h_t = \tanh(U\,x_t + W\,h_{t-1} + b)$", r"$y_t = V\,h_t + b_y$"
TENSORS = (
    ("U", "rnn.weight_ih_l0", "input → state"),
    ("W", "rnn.weight_hh_l0", "state → next state"),
    ("b", "rnn.bias_ih_l0", ""),
    ("+", "rnn.bias_hh_l0", ""),
    ("V", "head.weight", "state → output"),
    ("b_y", "head.bias", ""),
)
PITCH, WIDTH, HEIGHT = 3.2, 1.5, 0.62
"""Distance from step to step, and width and height of a number's cell, where the network is
unrolled."""
GAP = 1.5
"""Gap between a step's input, state and output."""


def state_color(value: float) -> Any:
    """Returns blue at -1, white at 0, red at 1, all of them light enough for black numbers."""
    return colormaps["RdBu_r"](0.5 + 0.3 * value)


def number(value: float) -> str:
    """Writes two decimals, with a minus sign as wide as a digit, and no minus zero."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def draw_network(shapes: Mapping[str, Sequence[int]]) -> Figure:
    """Draws an Elman network of one layer, folded, and the names and shapes of its weights.

    Args:
        shapes: shapes by the names of `shared/protocol/weights.py`.
    """
    figure = new_figure(5.6, 11)
    axes = _canvas(figure, (-0.6, 21.9), (-0.6, 10.85))
    hidden, inputs = shapes["rnn.weight_ih_l0"]
    outputs, _ = shapes["head.weight"]
    x, right = 4.2, 4.2 + 0.35 * hidden
    _row(axes, (x, 0.5), inputs, "$x_t$", "#e8e8e8")
    _row(axes, (x, 4.1), hidden, "$h_t$", "#fbe3d3")
    _row(axes, (x, 7.7), outputs, "$y_t$", "#e8e8e8")
    _text(axes, x, 0, f"input: {inputs} numbers, 1 for the letter it reads")
    _text(axes, x - 0.3, 5.6, f"hidden state:\n{hidden} numbers", ha="right")
    _text(axes, x, 9, f"output: {outputs} numbers, a score for each letter")
    _arrow(axes, [(x, 1.4), (x, 4)], "U", (x + 0.5, 2.7))
    _arrow(axes, [(x, 5), (x, 7.6)], "V", (x + 0.5, 6.3))
    loop = [(right + 0.1, 4.75), (right + 2.6, 6.5), (right + 2.6, 2.5), (right + 0.1, 4.25)]
    _arrow(axes, loop, "W", (right + 2.4, 4.5))
    _text(axes, right + 0.1, 2.65, "$h_t$ is read again\nat the next step", ha="left")
    _table(axes, 11.5, shapes)
    title = 'The network of "hello": it reads its own state again'
    _text(axes, -0.3, 10.3, title, size=16, ha="left")
    return figure


def _row(axes: Axes, center: tuple[float, float], size: int, name: str, color: str) -> None:
    """Draws a vector, lying."""
    x, y = center
    left = x - 0.35 * size
    for i in range(size):
        _cell(axes, (left + 0.7 * i, y), (0.7, 0.8), color)
    axes.text(left - 0.25, y + 0.4, name, fontsize=20, ha="right", va="center")


def _table(axes: Axes, x: float, shapes: Mapping[str, Sequence[int]]) -> None:
    """Draws the equations, and where each of their letters is in the code."""
    for i, equation in enumerate(EQUATIONS):
        _text(axes, x, 9.1 - 1.1 * i, equation, size=18, ha="left")
    for column, words, side in ((0.9, "name in the code", "left"), (10.2, "shape", "right")):
        _text(axes, x + column, 6.6, words, ha=side, color=GREY)
    for i, (symbol, name, about) in enumerate(TENSORS):
        y = 5.8 - 0.8 * i
        _symbol(axes, symbol, (x + 0.3, y))
        _text(axes, x + 0.9, y, name, ha="left", family="monospace")
        _text(axes, x + 5.4, y, about, ha="left", color=GREY)
        _text(axes, x + 10.2, y, " × ".join(map(str, shapes[name])), ha="right")
    total = sum(int(np.prod(shape)) for shape in shapes.values())
    _text(axes, x, 0.55, f"{total} numbers are learned;\nevery step uses the same ones", ha="left")


def draw_unrolled(reading: Reading) -> Figure:
    """Draws the network at each step of a word, with all the numbers that it computes."""
    tokens, hidden = len(reading.vocabulary), reading.states.shape[1]
    floors = 0, tokens * HEIGHT + GAP, (tokens + hidden) * HEIGHT + 2 * GAP
    top = floors[2] + tokens * HEIGHT
    figure = new_figure(8.8, 12)
    axes = _canvas(figure, (-1.6, PITCH * len(reading.word) + 1.4), (-1.7, top + 3.5))
    _column(axes, 0, floors[1], list(map(number, reading.states[0])), ["white"] * hidden)
    _text(axes, 0, floors[1] - 0.45, "$h_0 = 0$", size=16)
    _text(axes, 0, tokens * HEIGHT / 2, "input $x_t$:\n1 at the letter\nthat is read")
    said = "output:\nprobability of\nthe next letter,\nsoftmax($y_t$)"
    _text(axes, 0, floors[2] + tokens * HEIGHT / 2, said)
    for t in range(1, len(reading.word) + 1):
        _step(axes, reading, t, floors)
    said = f'"{"".join(reading.word)}" after {reading.steps} steps of training: '
    said += "the same U, W and V for each letter"
    _text(axes, -1.3, top + 2.95, said, size=18, ha="left")
    _text(axes, -1.3, top + 2.1, ",   ".join(EQUATIONS), size=16, ha="left")
    return figure


def _step(axes: Axes, reading: Reading, t: int, floors: Sequence[float]) -> None:
    """Draws one step, counted from 1, from the letter that is read to the one that is predicted.

    Args:
        floors: where input, state and output begin, from below.
    """
    x, vocabulary = PITCH * t, reading.vocabulary
    letter, target = reading.word[t - 1], reading.targets[t - 1]
    state, shares = reading.states[t], reading.probabilities[t - 1]
    hot = [int(token == letter) for token in vocabulary]
    bottom, middle, above = floors
    tall, top = HEIGHT * len(vocabulary), above + HEIGHT * len(vocabulary)
    _column(axes, x, bottom, list(map(str, hot)), [_grey(value) for value in hot], vocabulary)
    _column(axes, x, middle, list(map(number, state)), [state_color(value) for value in state])
    _column(axes, x, above, [f"{p:.3f}" for p in shares], [_grey(p) for p in shares], vocabulary)
    ceiling = middle + HEIGHT * len(state)
    level = (middle + ceiling) / 2
    _arrow(axes, [(x, bottom + tall), (x, middle)], "U", (x + 0.4, middle - GAP / 2))
    _arrow(axes, [(x, ceiling), (x, above)], "V", (x + 0.4, above - GAP / 2))
    side = WIDTH / 2
    _arrow(axes, [(x - PITCH + side, level), (x - side, level)], "W", (x - PITCH / 2, level + 0.4))
    _text(axes, x - 0.5, ceiling + 0.35, f"$h_{{{t}}}$", size=16)
    _text(axes, x, -0.55, f"reads  {letter}", size=15, weight="bold")
    _text(axes, x, -1.2, f"step {t}", color=GREY)
    predicted = reading.predicted[t - 1]
    _text(axes, x, top + 1.05, f"predicts  {predicted}", size=15, weight="bold")
    verdict = "✓" if predicted == target else "✗"
    _text(axes, x, top + 0.45, f"target  {target}  {verdict}", color=GREY)


def _column(
    axes: Axes,
    x: float,
    y: float,
    texts: Sequence[str],
    colors: Sequence[Any],
    names: Sequence[str] = (),
) -> None:
    """Draws a vector, standing: the first number on top, with its name before it."""
    for i, (text, color) in enumerate(zip(reversed(texts), reversed(colors), strict=True)):
        _cell(axes, (x - WIDTH / 2, y + HEIGHT * i), (WIDTH, HEIGHT), color, text)
    for i, name in enumerate(reversed(names)):
        _text(axes, x - WIDTH / 2 - 0.22, y + HEIGHT * (i + 0.47), name, color=GREY)


def _grey(share: float) -> str:
    """Returns white for 0, grey for 1."""
    return str(1 - 0.28 * share)


def _canvas(figure: Figure, x: tuple[float, float], y: tuple[float, float]) -> Axes:
    """Returns axes over all of a figure, in which a unit is as wide as it is high."""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=x, ylim=y, aspect="equal")
    axes.axis("off")
    return axes


def _cell(
    axes: Axes, corner: tuple[float, float], size: tuple[float, float], color: Any, text: str = ""
) -> None:
    axes.add_patch(Rectangle(corner, *size, facecolor=color, edgecolor="black", linewidth=0.8))
    _text(axes, corner[0] + size[0] / 2, corner[1] + 0.47 * size[1], text)


def _arrow(
    axes: Axes, points: Sequence[tuple[float, float]], matrix: str, place: tuple[float, float]
) -> None:
    """Draws the matrix that a vector is multiplied by on its way: a line of two points, or a curve
    of four."""
    bends = [Path.LINETO] if len(points) == 2 else [Path.CURVE4] * 3
    way = Path(points, [Path.MOVETO, *bends])
    axes.add_patch(
        FancyArrowPatch(
            path=way, arrowstyle="-|>", mutation_scale=18, linewidth=2, color=MATRICES[matrix]
        )
    )
    _symbol(axes, matrix, place)


def _symbol(axes: Axes, symbol: str, place: tuple[float, float]) -> None:
    _text(axes, *place, f"${symbol}$", size=18, color=MATRICES.get(symbol, "black"))


def _text(axes: Axes, x: float, y: float, text: str, size: float = 13, **options: Any) -> None:
    axes.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": size} | options)
