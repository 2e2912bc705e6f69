"""Run folders → one report: a self-contained HTML page, Markdown, and the two pictures.

write_report([read_run(a), read_run(b)], Path("reports/hello-1"))
"""

import itertools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from shared import environment
from shared.config import Config, flag, options, settings
from shared.errors import InvalidInput
from shared.history import PICTURE, Run
from shared.pages import write_pages
from shared.parity import PROVED
from shared.pictures import save_predictions
from shared.plotting import deviation, labels, save_curves, save_deviations
from shared.scores import in_unit, long_name, to_show
from shared.segments import Segment, described
from shared.start import RESUMABLE
from shared.summary import located_notes
from shared.tasks import row

HTML, MARKDOWN, CURVES, DEVIATIONS = "report.html", "report.md", "curves.png", "deviations.png"
FILES = (HTML, MARKDOWN, CURVES, DEVIATIONS, PICTURE)


class Pair(NamedTuple):
    """How far two runs' training losses lie apart."""

    first: str
    second: str
    steps: int
    largest: float
    """Largest relative difference over the common steps."""
    largest_absolute: float
    at: int
    """The step of the largest relative difference."""
    verdict: str

    @property
    def sentence(self) -> str:
        where = (
            f" (largest relative difference of the training loss {self.largest:.1e}, at step "
            f"{self.at} of {self.steps} compared)"
        )
        return f"{self.first} – {self.second}: {self.verdict}{where if self.largest else ''}"


def write_report(runs: Sequence[Run], folder: Path, command: str | None = None) -> None:
    """Writes report.html, report.md, curves.png, deviations.png and, where the task has such,
    predictions.png.

    Args:
        runs: at least two, of one task.
        folder: where the files go; it is made if it is missing.
        command: the command line that made the runs, shown for reproduction.

    Raises:
        InvalidInput: fewer than two runs, runs of different tasks, or without a common step.
    """
    check_comparable(runs)
    folder.mkdir(parents=True, exist_ok=True)
    save_curves(runs, folder / CURVES)
    save_deviations(runs, folder / DEVIATIONS)
    context = _context(runs, command)
    pictures = {"curves": CURVES, "deviations": DEVIATIONS}
    if save_predictions(runs, folder / PICTURE):
        pictures["predictions"] = PICTURE
    write_pages(folder, (HTML, MARKDOWN), pictures, context)


def check_comparable(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise InvalidInput(f"expected at least two runs to compare, got {len(runs)}")
    tasks = sorted({run.config.task for run in runs})
    if len(tasks) > 1:
        raise InvalidInput(f"expected runs of one task, got {', '.join(tasks)}")
    for first, second in itertools.combinations(runs, 2):
        if first.folder.resolve() == second.folder.resolve():
            raise InvalidInput(f"expected different runs, got {first.folder} twice")
        if not len(deviation(first, second)[0]):
            raise InvalidInput(
                f"{first.folder} and {second.folder} have no training step in common"
            )


def pairs(runs: Sequence[Run]) -> list[Pair]:
    """Every pair of runs with its largest difference."""
    names = dict(zip(map(id, runs), labels(runs), strict=True))
    return [
        _pair(names[id(first)], first, names[id(second)], second)
        for first, second in itertools.combinations(runs, 2)
    ]


def _pair(name: str, first: Run, other: str, second: Run) -> Pair:
    steps, relative = deviation(first, second)
    at = int(relative.argmax())
    losses = [run.curves["train"] for run in (first, second)]
    a, b = (curve.loss[np.isin(curve.step, steps)] for curve in losses)
    largest = float(relative[at])
    absolute = float(np.abs(a - b).max())
    same_steps = all(len(curve.step) == len(steps) for curve in losses)
    verdict = _verdict(first, second, largest, "step" if same_steps else "common step")
    return Pair(name, other, len(steps), largest, absolute, int(steps[at]), verdict)


def _verdict(first: Run, second: Run, largest: float, step: str) -> str:
    gaps = [run.label for run in (first, second) if run.summary.notes]
    if largest == 0:
        return f"identical, the same loss at every {step}"
    precisions = {first.config.precision, second.config.precision}
    if _unlike(first, second):
        return "other settings: not comparable step by step"
    if gaps:
        return f"not comparable step by step: see the note on {' and '.join(gaps)}"
    if precisions == {"float64"}:
        if largest <= PROVED:
            return f"equal in float64: every {step} within {PROVED:g}"
        return f"DIFFERENT in float64: more than {PROVED:g}, a defect in one of the two"
    return "float32: rounding grows with the steps; float64 is the proof"


def _context(runs: Sequence[Run], command: str | None) -> dict[str, Any]:
    compared = pairs(runs)
    return {
        "task": runs[0].config.task,
        "metric": runs[0].metric,
        "verdicts": _headlines(runs, compared),
        "pairs": compared,
        "scores": _scores(runs),
        "columns": [long_name(s, runs[0].summary.unit) for s in _shown_scores(runs[0])],
        "times": _times(runs),
        "notes": [
            (f"{name}, {where}" if where else name, note)
            for name, run in zip(labels(runs), runs, strict=True)
            for where, note in located_notes(run.summary)
        ],
        "settings": _options(runs[0].config),
        "differing": _differing(runs),
        "resumed": any(run.resumed for run in runs),
        "environments": [
            (
                name,
                f"{described(run.summary.segments)}, finished with " if run.resumed else "",
                run.summary.device,
                run.summary.path,
                f"{run.summary.compilation}; memory: {run.summary.allocator}",
                run.summary.versions,
            )
            for name, run in zip(labels(runs), runs, strict=True)
        ],
        "machine": environment.machine(),
        "samples": [
            (name, sample)
            for name, run in zip(labels(runs), runs, strict=True)
            for sample in run.summary.samples
        ],
        "generated": [
            (name, run.summary.generated)
            for name, run in zip(labels(runs), runs, strict=True)
            if run.summary.generated
        ],
        "command": command,
    }


def _headlines(runs: Sequence[Run], compared: Sequence[Pair]) -> list[str]:
    lines = [pair.sentence + "." for pair in compared]
    steps = [
        (name, segment.step_ms)
        for run_name, run in zip(labels(runs), runs, strict=True)
        for name, segment in _segments(run_name, run)
    ]
    (fastest, best), *others = sorted(steps, key=lambda item: item[1])
    slower = ", ".join(f"{step_ms / best:.1f}× in {name}" for name, step_ms in others)
    return [*lines, f"Fastest step: {best:.3g} ms in {fastest}; it takes {slower}."]


def _segments(name: str, run: Run) -> list[tuple[str, Segment]]:
    """A run's segments, each under the run's name, with its steps if there are several."""
    return [
        (f"{name}: {part.span} in {part.label}" if run.resumed else name, part)
        for part in run.summary.segments
    ]


def _scores(runs: Sequence[Run]) -> list[dict[str, Any]]:
    rows, shown = [], _shown_scores(runs[0])
    for name, run in zip(labels(runs), runs, strict=True):
        test, valid = run.summary.test, run.summary.valid
        rows.append(
            {
                "name": name,
                "train": f"{run.summary.train['loss']:.4f}",
                "valid": f"{valid['loss']:.4f}" if valid else "–",
                "test": [in_unit(score, test[score]) for score in shown],
                "held_out": run.summary.held_out,
            }
        )
    for baseline in runs[0].summary.baselines:
        rows.append(
            {
                "name": f"baseline: {baseline.name}",
                "train": "–",
                "valid": "–",
                "test": [
                    in_unit(score, baseline.scores[score]) if score in baseline.scores else "–"
                    for score in shown
                ],
                "held_out": True,
            }
        )
    return rows


def _shown_scores(run: Run) -> list[str]:
    """The scores of a test that a table has: the one that matters most first."""
    names = to_show(run.summary.test)
    return sorted(names, key=lambda name: name != run.summary.score)


def _times(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """A row a segment. Compilation, total and memory are known of the last process alone."""
    rows = []
    for name, run in zip(labels(runs), runs, strict=True):
        summary = run.summary
        for title, part in _segments(name, run):
            cost = ["–"] * 3
            if part is summary.segments[-1]:
                cost = [f"{summary.compile_s:.2f}", f"{summary.total_s:.1f}"]
                cost += [f"{summary.peak_memory_mb:.0f}"]
            rows.append((title, cost[0], f"{part.step_ms:.3f}", *cost[1:]))
    return rows


def _options(config: Config) -> list[str]:
    flat = settings(config)
    del flat["backend"], flat["implementation"]
    return options(flat, settings(row(config.task).defaults))


def _settings(config: Config) -> dict[str, Any]:
    """Settings in force by the name of their option, without those that name a contender."""
    flat = settings(config)
    del flat["backend"], flat["implementation"]
    return {name: value for name, value in flat.items() if value is not None}


def _differing(runs: Sequence[Run]) -> list[tuple[str, list[Any]]]:
    """Settings in which the runs differ, other than those that cannot change a result; and their
    data, which may have changed below the same settings."""
    flats = [_settings(run.config) | {"data": run.summary.data} for run in runs]
    ignored = {flag(name).removeprefix("--") for name in RESUMABLE} - {"epochs"} | {"data.folder"}
    names = sorted({name for flat in flats for name in flat} - ignored)

    def shown(value: Any) -> Any:
        return " ".join(map(str, value)) if isinstance(value, tuple) else value

    values = [(name, [shown(flat.get(name, "–")) for flat in flats]) for name in names]
    return [(name, row) for name, row in values if any(value != row[0] for value in row)]


def _unlike(first: Run, second: Run) -> bool:
    """Whether two runs' steps differ by their settings. The number of epochs only says how many
    steps there are, except to the cosine schedule, which is laid out over them."""
    names = {name for name, _ in _differing([first, second])}
    if "cosine" not in {run.config.optimization.schedule for run in (first, second)}:
        names -= {"epochs"}
    return bool(names)


def reproduction(argv: Sequence[str]) -> str:
    return shlex.join(["python", *argv])
