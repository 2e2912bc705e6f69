"""How far groups lie apart, how fast and how good they are: what a report says first."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean
from typing import Any, Literal, NamedTuple

import numpy as np

from shared.config.options import RESUMABLE, flag, settings
from shared.parity.comparison import PROVED
from shared.parity.deviation import SMALLEST_LOSS
from shared.report.groups import Group, grouped
from shared.runs.run import Run
from shared.runs.scores import LOWER_IS_BETTER, in_unit, long_name, spread
from shared.runs.segments import Segment

Kind = Literal["proved", "different", "open"]
"""Kind of a verdict: equal in float64 or to the last bit, not equal in float64, or none can be
given."""


Open = Literal["settings", "notes", "float32"]
"""Reason why no verdict can be given: other settings, what a note tells, or rounding."""


class Pair(NamedTuple):
    """The distance between two groups' training losses."""

    first: str
    second: str
    steps: int
    """Steps that both recorded."""
    of: int
    """Steps that the longer one took."""
    seeds: int
    """Runs of each that were compared."""
    largest: float
    """Largest relative difference over the common steps of all seeds."""
    largest_absolute: float
    at: int
    """The step of the largest relative difference."""
    seed: int | None
    """Seed of that step, where there are several."""
    kind: Kind
    open: Open | None
    """Reason why it is open, if it is."""
    verdict: str

    @property
    def sentence(self) -> str:
        place = f"at step {self.at} of {self.steps} compared"
        if self.steps < self.of:
            place = f"at step {self.at}; {self.steps} of {self.of} steps compared"
        place += "" if self.seed is None else f" from seed {self.seed}"
        where = f" (largest relative difference of the training loss {self.largest:.1e}, {place})"
        return f"{self.first} – {self.second}: {self.verdict}{where if self.largest else ''}"


class Statement(NamedTuple):
    """One of the few things that a reader wants to know first."""

    title: str
    text: str
    kind: Kind


def loss_difference(first: Run, second: Run) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps that both runs recorded, and there |a - b| / max(|a|, |b|,
    SMALLEST_LOSS)."""
    a, b = first.curves["train"], second.curves["train"]
    steps, at_a, at_b = np.intersect1d(a.step, b.step, return_indices=True)
    x, y = a.loss[at_a], b.loss[at_b]
    return steps, np.abs(x - y) / np.maximum(np.maximum(np.abs(x), np.abs(y)), SMALLEST_LOSS)


def matched(first: Group, second: Group) -> list[tuple[Run, Run]]:
    """Returns pairs of runs from the same seeds; without a seed in common, the first run of
    each."""
    seeds = {run.config.seed: run for run in second.runs}
    same = [(run, seeds[run.config.seed]) for run in first.runs if run.config.seed in seeds]
    return same or [(first.first, second.first)]


def pairs(runs: Sequence[Run]) -> list[Pair]:
    """Returns every pair of groups with its largest difference."""
    return [_pair(*both) for both in itertools.combinations(grouped(runs), 2)]


def _pair(first: Group, second: Group) -> Pair:
    found = []
    for one, other in matched(first, second):
        steps, relative = loss_difference(one, other)
        at = int(relative.argmax())
        losses = [run.curves["train"] for run in (one, other)]
        a, b = (curve.loss[np.isin(curve.step, steps)] for curve in losses)
        whole = all(run.summary.steps == len(steps) for run in (one, other))
        found.append((float(relative[at]), float(np.abs(a - b).max()), int(steps[at]), one, whole))
    largest, _, at, run, _ = max(found, key=lambda item: item[0])
    step = "step" if all(whole for *_, whole in found) else "common step"
    if len(found) > 1:
        step += f" of {len(found)} seeds"
    kind, why, verdict = _verdict(first.first, second.first, largest, step)
    return Pair(
        first.name,
        second.name,
        min(len(loss_difference(*both)[0]) for both in matched(first, second)),
        max(run.summary.steps for run in (first.first, second.first)),
        len(found),
        largest,
        max(absolute for _, absolute, *_ in found),
        at,
        run.config.seed if len(found) > 1 else None,
        kind,
        why,
        verdict,
    )


def _verdict(first: Run, second: Run, largest: float, step: str) -> tuple[Kind, Open | None, str]:
    gaps = [run.label for run in (first, second) if run.summary.notes]
    float64 = {first.config.precision, second.config.precision} == {"float64"}
    if _unlike(first, second):
        return "open", "settings", "other settings: not comparable step by step"
    if largest == 0:
        return "proved", None, f"identical, the same loss at every {step}"
    if gaps:
        names = " and ".join(gaps)
        return "open", "notes", f"not comparable step by step: see the note on {names}"
    if not float64:
        return "open", "float32", "float32: rounding grows with the steps; float64 is the proof"
    if largest <= PROVED:
        return "proved", None, f"equal in float64: every {step} within {PROVED:g}"
    verdict = f"DIFFERENT in float64: more than {PROVED:g}, a defect in one of the two"
    return "different", None, verdict


def differing(runs: Sequence[Run]) -> list[tuple[str, list[Any]]]:
    """Returns the settings in which the runs differ, without those that cannot change a result.
    Their data is among them, as it may have changed below the same settings."""
    flats = [_in_force(run) | {"data": run.summary.data} for run in runs]
    ignored = {flag(name).removeprefix("--") for name in RESUMABLE} - {"epochs"} | {"data.folder"}
    names = sorted({name for flat in flats for name in flat} - ignored)

    def shown(value: Any) -> Any:
        return " ".join(map(str, value)) if isinstance(value, tuple) else value

    values = [(name, [shown(flat.get(name, "–")) for flat in flats]) for name in names]
    return [(name, row) for name, row in values if any(value != row[0] for value in row)]


def _in_force(run: Run) -> dict[str, Any]:
    """Returns settings by the name of their option, without those that name a group."""
    flat = settings(run.config)
    del flat["backend"], flat["implementation"]
    return {name: value for name, value in flat.items() if value is not None}


def _unlike(first: Run, second: Run) -> bool:
    """Tells whether two runs' steps differ by their settings. The number of epochs only says how
    many steps there are, except to the cosine schedule, which is laid out over them."""
    names = {name for name, _ in differing([first, second])}
    if "cosine" not in {run.config.optimization.schedule for run in (first, second)}:
        names -= {"epochs"}
    return bool(names)


def segments(sides: Sequence[Group]) -> list[tuple[str, Group, Segment]]:
    """Returns what computed each group's steps, under its name, with the steps if there are
    several segments. Of several seeds these are the segments of the first, at the mean of their
    times."""
    found = []
    for side in sides:
        for i, part in enumerate(side.first.summary.segments):
            name = f"{side.name}: {part.span} in {part.label}" if side.first.resumed else side.name
            found.append((name, side, replace(part, step_ms=_step_ms(side, i))))
    return found


def _step_ms(side: Group, segment: int) -> float:
    """Returns the time of a step: of a resumed run that of the segment, of several seeds the mean
    over the last segment of each."""
    if len(side.runs) == 1:
        return side.first.summary.segments[segment].step_ms
    return mean(run.summary.step_ms for run in side.runs)


def statements(runs: Sequence[Run], compared: Sequence[Pair]) -> list[Statement]:
    """Answers the questions: are they the same, which is faster, and how good are they?"""
    sides = grouped(runs)
    return [_agreement(sides, compared), _speed(sides), _quality(sides)]


def _agreement(sides: Sequence[Group], compared: Sequence[Pair]) -> Statement:
    kinds = {pair.kind for pair in compared}
    worst = max(compared, key=lambda pair: pair.largest)
    fewest = min(compared, key=lambda pair: pair.steps)
    steps = f"all {fewest.steps:,} steps"
    if any(pair.steps < pair.of for pair in compared):
        longest = max(pair.of for pair in compared)
        steps = f"the {fewest.steps:,} steps, of {longest:,}, that both of each pair recorded"
    if worst.seeds > 1:
        steps += f", from each of {worst.seeds} seeds"
    if kinds == {"proved"}:
        text = f"The training losses of {_together(sides)} agree at {steps}."
        title = f"Proved equal in float64, to {worst.largest:.1e}"
        return Statement(title if worst.largest else "Identical", text, "proved")
    if "different" in kinds:
        bad = [pair for pair in compared if pair.kind == "different"]
        worst = max(bad, key=lambda pair: pair.largest)
        text = (
            f"{worst.first} and {worst.second} lie {worst.largest:.1e} apart at step {worst.at}; "
            f"up to {PROVED:g} is rounding, more is a defect. The command "
            "parity finds where it begins, and its cause."
        )
        return Statement("Different in float64", text, "different")
    proved = [f"{pair.first} and {pair.second}" for pair in compared if pair.kind == "proved"]
    if {pair.open for pair in compared} <= {None, "float32"}:
        text = (
            f"The training losses of {worst.first} and {worst.second} differ most, relative, at "
            f"step {worst.at:,} of {worst.steps:,}; in all steps by {worst.largest_absolute:.1e} "
            "at most. Rounding alone may do that: it grows with the steps. The same command with "
            "--precision float64 decides."
        )
        return Statement(f"Not decided in float32: up to {worst.largest:.1e} apart", text, "open")
    if proved:
        text = f"{'; '.join(proved)}. Of the others the table of differences says why not."
        title = f"Proved equal in float64: {len(proved)} of {len(compared)} pairs"
        return Statement(title, text, "open")
    return Statement("Not comparable step by step", f"{compared[0].sentence}.", "open")


def _together(sides: Sequence[Group]) -> str:
    *others, last = (side.name for side in sides)
    return f"{', '.join(others)} and {last}"


def _speed(sides: Sequence[Group]) -> Statement:
    steps = [(name, part.step_ms) for name, _, part in segments(sides)]
    (fastest, best), *others = sorted(steps, key=lambda item: item[1])
    if not others:
        return Statement(f"{best:.3g} ms a step", f"{fastest}.", "open")
    slower = ", ".join(f"{step_ms:.3g} ms in {name}" for name, step_ms in others)
    text = (
        f"{best:.3g} ms a step; {slower}. As timed while they trained; the benchmark measures it "
        "well."
    )
    ratio = others[0][1] / best
    if ratio < 1.05:  # which of them is first is chance
        return Statement(f"{fastest} and {others[0][0]}: equally fast", text, "open")
    return Statement(f"{fastest}: {ratio:.2g}× as fast per step as the next", text, "open")


def _quality(sides: Sequence[Group]) -> Statement:
    """Returns the score that matters most, and that of the best baseline."""
    summary = sides[0].first.summary
    score = summary.score
    values = {side.name: [run.summary.test[score] for run in side.runs] for side in sides}
    shown = {name: spread(score, found) for name, found in values.items()}
    means = sorted(shown, key=lambda name: mean(values[name]))
    title = f"{long_name(score, summary.unit)}: {shown[means[0]]}"
    if shown[means[0]] != shown[means[-1]]:
        title += f" to {shown[means[-1]]}"
    each = "; ".join(f"{value} in {name}" for name, value in shown.items())
    if len(set(shown.values())) == 1:
        each = f"in all {len(sides)}"
    known = [line.scores[score] for line in summary.baselines if score in line.scores]
    if known:
        better = (max, min)[score in LOWER_IS_BETTER]
        reference = better(known)
        if better(reference, *map(mean, values.values())) == reference:
            title += ", no better than without a network"
        each += f"; without a network {in_unit(score, reference)}"
    part = "on held-out data" if summary.held_out else "on the sequence that it learned"
    return Statement(title, f"{each[0].upper()}{each[1:]}, {part}.", "open")


def headlines(runs: Sequence[Run], compared: Sequence[Pair]) -> list[str]:
    """Returns the verdicts as sentences, for a page without colours."""
    lines = [pair.sentence + "." for pair in compared]
    return [*lines, *(f"{one.title}. {one.text}" for one in statements(runs, compared)[1:])]
