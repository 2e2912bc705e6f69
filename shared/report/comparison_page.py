"""Run folders → one report: a self-contained HTML page, Markdown, and the two pictures.

The page has its verdict first, then curves that can be looked into (templates/report.js), tables
and pictures, and what it takes to make it again. Without JavaScript it shows the pictures of the
curves.

write_report([read_run(a), read_run(b)], Path("reports/hello-1"))
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.config.naming import network_name
from shared.config.options import options, settings
from shared.errors import InvalidInput
from shared.report import interactive
from shared.report.curve_plots import save_curves, save_differences
from shared.report.groups import Group, grouped
from shared.report.interactive_predictions import predicted
from shared.report.prediction_plots import save_predictions
from shared.report.render import write_pages
from shared.report.verdict import differing, headlines, loss_difference, pairs, segments, statements
from shared.runs.run import Run
from shared.runs.run_folder import PICTURE
from shared.runs.scores import in_unit, long_name, spread, to_show
from shared.runs.segments import described
from shared.runs.summary import located_notes
from shared.system import environment
from shared.tasks.registry import row

HTML, MARKDOWN, CURVES, DEVIATIONS = "report.html", "report.md", "curves.png", "deviations.png"
FILES = (HTML, MARKDOWN, CURVES, DEVIATIONS, PICTURE)


def write_report(runs: Sequence[Run], folder: Path | str, command: str | None = None) -> None:
    """Writes report.html, report.md, curves.png, deviations.png and, where the task has predictions
    to show, predictions.png.

    Args:
        runs: of at least two groups, of one task; runs of several seeds in one folder are one
            group.
        folder: where the files go; it is made if it is missing.
        command: the command line that made the runs, shown for reproduction.

    Raises:
        InvalidInput: fewer than two groups, or runs of different tasks or with no common step.
    """
    folder = Path(folder)
    check_comparable(runs)
    folder.mkdir(parents=True, exist_ok=True)
    save_curves(runs, folder / CURVES)
    save_differences(runs, folder / DEVIATIONS)
    context = _context(runs, command)
    pictures = {"curves": CURVES, "deviations": DEVIATIONS}
    if save_predictions(runs, folder / PICTURE):
        pictures["predictions"] = PICTURE
    write_pages(folder, (HTML, MARKDOWN), pictures, context)


def check_comparable(runs: Sequence[Run]) -> None:
    sides = grouped(runs)
    if len(sides) < 2:
        raise InvalidInput(f"expected at least two runs to compare, got {len(sides)}")
    tasks = sorted({run.config.task for run in runs})
    if len(tasks) > 1:
        raise InvalidInput(f"expected runs of one task, got {', '.join(tasks)}")
    seeds = {tuple(run.config.seed for run in side.runs) for side in sides}
    if len(seeds) > 1 and any(len(one) > 1 for one in seeds):
        got = "; ".join(
            f"{' '.join(str(run.config.seed) for run in side.runs)} in {side.folder}"
            for side in sides
        )
        raise InvalidInput(f"expected runs from the same seeds, got {got}")
    for first, second in itertools.combinations(runs, 2):
        if first.folder.resolve() == second.folder.resolve():
            raise InvalidInput(f"expected different runs, got {first.folder} twice")
        if not len(loss_difference(first, second)[0]):
            raise InvalidInput(
                f"{first.folder} and {second.folder} have no training step in common"
            )


def _context(runs: Sequence[Run], command: str | None) -> dict[str, Any]:
    compared, sides = pairs(runs), grouped(runs)
    first = runs[0].summary
    return {
        "task": runs[0].config.task,
        "about": _about(runs[0].config.task),
        "network": network_name(runs[0].config),
        "names": [side.name for side in sides],
        "seeds": sorted({run.config.seed for side in sides for run in side.runs if side.runs[1:]}),
        "steps": f"{max(run.summary.steps for run in runs):,}",
        "statements": statements(runs, compared),
        "verdicts": headlines(runs, compared),
        "curves": interactive.curves(runs),
        "predicted": predicted(runs),
        "plotly": interactive.plotly(),
        "has_valid": any(len(run.curves["valid"].step) for run in runs),
        "pairs": compared,
        "scores": _scores(sides),
        "each_seed": [row for side in sides for row in _each_seed(side)],
        "held_out": first.held_out,
        "columns": [long_name(s, first.unit) for s in _shown_scores(runs[0])],
        "times": _times(sides),
        "about_times": _about_times(sides),
        "notes": [
            (f"{side.name}, {where}" if where else side.name, note)
            for side in sides
            for where, note in located_notes(side.first.summary)
        ],
        "settings": _options(sides[0]),
        "differing": differing([side.first for side in sides]),
        "environments": [_environment(side) for side in sides],
        "machine": environment.machine(),
        "samples": [(side.name, sample) for side in sides for sample in side.first.summary.samples],
        "generated": [
            (side.name, side.first.summary.generated)
            for side in sides
            if side.first.summary.generated
        ],
        "command": command,
    }


def _about(task: str) -> str:
    text = row(task).about
    return f"{text[0].upper()}{text[1:]}"


def _scores(sides: Sequence[Group]) -> list[dict[str, Any]]:
    """Returns a row for each group and each baseline."""
    first = sides[0].first
    shown = _shown_scores(first)
    rows = [_score_row(side, shown) for side in sides]
    for baseline in first.summary.baselines:
        known = baseline.scores
        test = [in_unit(score, known[score]) if score in known else "–" for score in shown]
        name = f"without a network: {baseline.name}"
        rows.append({"name": name, "train": "–", "valid": "–", "test": test})
    return rows


def _score_row(side: Group, shown: Sequence[str]) -> dict[str, Any]:
    summaries = [run.summary for run in side.runs]
    valid = [summary.valid["loss"] for summary in summaries if summary.valid]
    return {
        "name": side.name,
        "train": spread("loss", [summary.train["loss"] for summary in summaries]),
        "valid": spread("loss", valid) if valid else "–",
        "test": [spread(score, [summary.test[score] for summary in summaries]) for score in shown],
    }


def _each_seed(side: Group) -> list[dict[str, Any]]:
    shown = _shown_scores(side.first)
    return [
        _score_row(side._replace(runs=(run,)), shown) | {"seed": run.config.seed}
        for run in side.runs
    ]


def _shown_scores(run: Run) -> list[str]:
    """Returns the scores of a test that a table has, the one that matters most first."""
    names = to_show(run.summary.test)
    return sorted(names, key=lambda name: name != run.summary.score)


def _times(sides: Sequence[Group]) -> list[tuple[str, ...]]:
    """Returns a row for each segment. Compilation, total and memory are known only of the last
    process."""
    rows = []
    for title, side, part in segments(sides):
        cost = ("–", "–", "–")
        if part.end == side.first.summary.steps:
            summaries = [run.summary for run in side.runs]
            cost = (
                f"{sum(summary.compile_s for summary in summaries):.2f}",
                f"{sum(summary.total_s for summary in summaries):.1f}",
                f"{max(summary.peak_memory_mb for summary in summaries):.0f}",
            )
        rows.append((title, f"{part.step_ms:.3f}", *cost))
    return rows


def _about_times(sides: Sequence[Group]) -> str:
    text = (
        "Each run had a process of its own. The total runs from reading the data to the last "
        "score, with the import of the framework, compilation, evaluation and checkpoints."
    )
    if any(len(side.runs) > 1 for side in sides):
        text = text.replace("Each run", "Each run, with all its seeds,")
        text += " Compilation and total are the sums over the seeds, a step is that of one."
    if any(side.first.resumed for side in sides):
        text += (
            " A run that was resumed had several: its compilation, total and memory are those of "
            "the last."
        )
    return text


def _environment(side: Group) -> tuple[Any, ...]:
    run, summary = side.first, side.first.summary
    return (
        side.name,
        f"{described(summary.segments)}, finished with " if run.resumed else "",
        summary.device,
        summary.path,
        f"{summary.compilation}; memory: {summary.allocator}",
        summary.versions,
    )


def _options(side: Group) -> list[str]:
    config = side.first.config
    flat = settings(config)
    del flat["backend"], flat["implementation"]
    if len(side.runs) > 1:
        del flat["seed"]
    return options(flat, settings(row(config.task).defaults))
