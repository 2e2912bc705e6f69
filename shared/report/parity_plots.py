"""Comparisons → figures: deviation by step, the float32 envelope, and two loss curves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from shared.parity.comparison import Comparison
from shared.parity.envelope import Envelope
from shared.protocol.trace import PHASES, phase_of
from shared.report.style import COLORS, STYLES, finish, new_figure, plain, save_figure

MOST_NAMES = 16
"""Largest number of tensors of a phase that a legend names; they are those that deviate most."""
OTHER = "other"
"""Name under which the tensors of all other phases are drawn; a file may have hundreds."""
WIDEST_OF_TWO = 28
"""Longest name, in characters, with which a narrow picture's legend has two in a line."""
LOWEST = 1e-18
"""Height at which zero is drawn on a logarithmic axis: below every deviation that float64 can
show."""


def save_deviations(comparison: Comparison, file: Path) -> None:
    """Draws the largest deviation of each phase, step by step, with the tolerance."""
    figure = new_figure(5)
    axes = figure.subplots()
    for i, phase in enumerate(phases(comparison)):
        values = np.fmax.reduce(
            [comparison.deviations[name] for name in tensors(comparison, phase)]
        )
        _line(axes, comparison, values, i, phase)
    _judge(axes, comparison, list(comparison.deviations.values()))
    first, second = plain(comparison.first), plain(comparison.second)
    axes.set_title(f"Deviation by phase: {first} against {second}", fontsize=13)
    finish(axes, "relative deviation")
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    save_figure(figure, file, dpi=120)


def save_phase(comparison: Comparison, phase: str, file: Path) -> None:
    """Draws the deviation of each tensor of a phase, step by step: half a page wide, as wide as a
    phone."""
    drawn = tensors(comparison, phase)
    named = sorted(drawn, key=lambda name: -np.nanmax(comparison.deviations[name]))[:MOST_NAMES]
    labels = {name: name.removeprefix(f"{phase}/") for name in named}
    columns = 1 if max(len(label) for label in labels.values()) > WIDEST_OF_TWO else 2
    figure = new_figure(3.2 + 0.15 * -(-len(named) // columns), width=5.5)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    axes = figure.subplots()
    finish(axes, "relative deviation")  # no line is there yet: the legend stands below, outside
    for i, name in enumerate(sorted(drawn, key=lambda name: name not in labels)):
        _line(axes, comparison, np.array(comparison.deviations[name]), i, labels.get(name))
    _judge(axes, comparison, [comparison.deviations[name] for name in drawn])
    axes.set_title(plain(phase), fontsize=12)
    more = len(drawn) - len(named)
    figure.legend(
        frameon=False, fontsize=8, ncols=columns, loc="outside lower center",
        title=f"those that deviate most, and {more} more" if more else None, title_fontsize=8,
    )  # fmt: skip
    save_figure(figure, file, dpi=120)


def save_envelope(envelope: Envelope, names: tuple[str, str], file: Path) -> None:
    """Draws the frameworks' deviation in float32 over the spread of runs within each of them."""
    figure = new_figure(5)
    axes = figure.subplots()
    steps = np.arange(1, len(envelope.cross) + 1)
    axes.fill_between(steps, LOWEST, envelope.edge, color="#d0d7de", label="envelope", zorder=0)
    for i, (name, spread) in enumerate(envelope.spread.items()):
        axes.plot(
            steps, _gaps(spread), ".", color=COLORS[i + 1], markersize=3, alpha=0.7,
            label=f"spread of {envelope.runs} runs in {plain(name)}",
        )  # fmt: skip
    axes.plot(
        steps, _gaps(envelope.cross), ".", color=COLORS[0], markersize=5,
        label=" against ".join(map(plain, names)),
    )  # fmt: skip
    axes.set_yscale("log")
    known = np.concatenate([envelope.cross, *envelope.spread.values()])
    known = known[(known > 0) & np.isfinite(known)]
    if len(known):
        axes.set_ylim(known.min() / 3, 5 * known.max())
    axes.set_title("float32: the training loss against its envelope", fontsize=13)
    finish(axes, "relative deviation")
    figure.tight_layout()
    save_figure(figure, file, dpi=120)


def save_losses(losses: tuple[np.ndarray, np.ndarray], names: Sequence[str], file: Path) -> None:
    """Draws both training losses, and below them how far they lie apart."""
    figure = new_figure(6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    steps = np.arange(1, len(losses[0]) + 1)
    for i, (values, name) in enumerate(zip(losses, names, strict=True)):
        width = 2.6 if i == 0 else 1.2
        style = STYLES[0] if i == 0 else STYLES[1]
        above.plot(
            steps, values, color=COLORS[i], linewidth=width, linestyle=style, label=plain(name)
        )
    known = np.concatenate(losses)
    known = known[np.isfinite(known)]
    if len(known) and 0 < 20 * known.min() < known.max():
        above.set_yscale("log")
    if np.array_equal(np.isfinite(losses[0]), np.isfinite(losses[1])):
        _mark_not_finite(above, steps.tolist(), losses[0][None])
    else:
        for values, name in zip(losses, names, strict=True):
            _mark_not_finite(above, steps.tolist(), values[None], f"{plain(name)}: ")
    finish(above, "loss")
    above.set_xlabel("")
    above.set_xlim(*_span(1, len(losses[0])))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(losses[0] - losses[1])
    below.plot(steps, _gaps(difference), color="#444444", linewidth=1)
    if (_gaps(difference) > 0).any():
        below.set_yscale("log")
    elif not difference.any():
        below.text(0.5, 0.5, "no difference", transform=below.transAxes, ha="center")
    finish(below, "difference")
    figure.tight_layout()
    save_figure(figure, file, dpi=120)


def phases(comparison: Comparison) -> list[str]:
    """Returns the phases that were compared, in the order of a step; all unknown phases count as
    one."""
    found = set(map(_group, comparison.deviations))
    return [phase for phase in (*PHASES, OTHER) if phase in found]


def tensors(comparison: Comparison, phase: str) -> list[str]:
    return [name for name in comparison.deviations if _group(name) == phase]


def _group(name: str) -> str:
    phase = phase_of(name)
    return phase if phase in PHASES else OTHER


def _line(
    axes: Axes, comparison: Comparison, values: np.ndarray, i: int, label: str | None
) -> None:
    single = {"marker": "o", "markersize": 4} if (~np.isnan(values)).sum() < 3 else {}
    axes.plot(
        comparison.steps, _gaps(values), color=COLORS[i % len(COLORS)],
        linestyle=STYLES[i // len(COLORS) % len(STYLES)], linewidth=1.2,
        label=label and plain(label) + ("" if np.nansum(values) else ": identical"), **single,
    )  # fmt: skip


def _judge(axes: Axes, comparison: Comparison, drawn: Sequence[Sequence[float]]) -> None:
    """Draws the tolerance and the first difference on a logarithmic axis, and marks where a drawn
    value is not finite."""
    axes.set_autoscaley_on(False)
    finite = [v for values in comparison.deviations.values() for v in values if 0 < v < np.inf]
    if comparison.tolerance > 0:
        finite.append(comparison.tolerance)
        axes.axhline(comparison.tolerance, color="#555555", linestyle=(0, (1, 2)), linewidth=1)
    if finite:
        axes.set_yscale("log")
        axes.set_ylim(max(min(finite) / 3, np.finfo(float).tiny), 5 * max(finite))
    first, last = comparison.steps[0], comparison.steps[-1]
    axes.set_xlim(*_span(first, last))
    if comparison.difference is not None:
        axes.axvline(comparison.difference.step, color="#d62728", linewidth=0.8, alpha=0.6)
    # At some steps a tensor may not be there.
    _mark_not_finite(axes, comparison.steps, np.nan_to_num(np.array(drawn), posinf=np.inf))


def _span(first: int, last: int) -> tuple[float, float]:
    """Returns the range of the axis of all steps, including steps at which nothing is drawn."""
    margin = 0.02 * (last - first) + 0.5
    return first - margin, last + margin


def _mark_not_finite(axes: Axes, steps: Sequence[int], lines: np.ndarray, whose: str = "") -> None:
    """Marks the first step at which one of the lines (N, S) is not finite. The line ends there, and
    nothing else shows why."""
    where = np.flatnonzero(~np.isfinite(lines).all(axis=0))
    if len(where):
        step = steps[int(where[0])]
        axes.axvline(step, color="#9467bd", linestyle="--", linewidth=1.2)
        axes.annotate(
            f"{whose}not finite from step {step}", (step, 0.03), xycoords=("data", "axes fraction"),
            color="#9467bd", fontsize=9, rotation=90, ha="right", va="bottom",
        )  # fmt: skip


def _gaps(values: np.ndarray) -> np.ndarray:
    """Breaks a line where a value is not finite, or is zero, which a logarithmic axis cannot
    show."""
    return np.where((values > 0) & np.isfinite(values), values, np.nan)
