"""A finished study → its page, its table, and the lines that it prints.

    write_study(study, Path("studies/volume-1"), command, again)

Only scores in validation are shown of the combinations, and test scores of the best one alone.
"""

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from shared.config.naming import network_and_size
from shared.report.interactive import plotly
from shared.report.render import write_pages
from shared.report.study_axes import axes, colors, placed
from shared.runs import read_run
from shared.runs.run import Run
from shared.runs.scores import PERCENT, in_unit, long_name, spread, to_show
from shared.runs.study import PAGE, TABLE, Combination, Ranked, Study, is_close, ranked
from shared.system import environment
from shared.system.table_records import write_records
from shared.tasks.registry import row

POINTS = 300
"""Points of a curve: a page has one of each run."""


def write_study(study: Study, folder: Path, command: str, again: str) -> None:
    """Writes study.html and results.csv.

    Args:
        study: a study with a finished combination, and a look at the test scores of the best.
        command: the command line of the study.
        again: the command line that trains the best combination.

    Raises:
        InvalidInput: a run folder is damaged.
        OSError: a file cannot be written; the message names it.
    """
    write_records(folder / TABLE, _records(study))
    first = read_run(folder / ranked(study)[0].combination.trials[0].folder)
    context = {
        "task": first.config.task,
        "about": row(first.config.task).about,
        "network": network_and_size(first.config),
        "seeds": study.seeds,
        "random": study.random,
        "by": long_name(study.by),
        "options": [*study.space],
        "rows": _rows(study),
        "failures": len(_failed(study)),
        "count": len(study.combinations),
        "lines": _verdict(study),
        "test": _test(study, first),
        "looks": study.looks,
        "again": again,
        "command": command,
        "drawn": {
            "by": long_name(study.by),
            "axes": axes(study),
            "lines": placed(study),
            "curves": _curves(study, folder),
        },
        "machine": environment.machine(),
        "plotly": plotly(),
    }
    write_pages(folder, (PAGE,), {}, context)


def summary_lines(study: Study, folder: Path) -> list[str]:
    """Returns what is printed at the end of a study: the best, the second, the test, failures."""
    first = read_run(folder / ranked(study)[0].combination.trials[0].folder)
    lines = _verdict(study)
    lines.append(f"test, of the best alone: {_test(study, first)}")
    failed = _failed(study)
    if failed:
        lines.append(
            f"failed: {len(failed)} of {len(study.combinations)} combinations; the same command "
            f"tries them again. The first: {_reason(failed[0])}"
        )
    return lines


def _verdict(study: Study) -> list[str]:
    """Returns sentences about the best and the second combination."""
    order = ranked(study)
    best = order[0]
    name = f"validation {long_name(study.by)}"
    counted = f"best of {len(order)}: {_named(best.combination)}"
    of_seeds = f" (mean ± standard error of {len(study.seeds)} seeds)" * (best.error is not None)
    lines = [f"{counted}: {name} {_score(study, best)}{of_seeds}"]
    if len(order) > 1:
        second = order[1]
        close = is_close(order)
        said = ""
        if close is None:
            said = "; of one seed, whether that is chance is not known: --seeds 0..2 would tell"
        elif close:
            said = "; within one standard error of the best, so which is better is not known"
        lines.append(f"second: {_named(second.combination)}: {name} {_score(study, second)}{said}")
    return lines


def _named(combination: Combination) -> str:
    return ", ".join(f"{name} {shlex.quote(value)}" for name, value in combination.values.items())


def _score(study: Study, one: Ranked) -> str:
    mean, error = one.mean, one.error
    if study.by in PERCENT:
        after = "" if error is None else f" ± {in_unit(study.by, error).removesuffix(' %')}"
        return f"{in_unit(study.by, mean)}{after}"
    return f"{mean:.4g}" + ("" if error is None else f" ± {error:.2g}")


def _test(study: Study, first: Run) -> str:
    """Returns the test scores of the best combination."""
    scores = study.looks[-1].scores
    unit, names = first.summary.unit, to_show(dict.fromkeys(scores, 0.0))
    return "  ".join(f"{long_name(name, unit)} {spread(name, scores[name])}" for name in names)


def _failed(study: Study) -> list[Combination]:
    return [combination for combination in study.combinations if combination.failure]


def _reason(combination: Combination) -> str:
    """Returns why a combination failed, without the advice for one run that may follow."""
    return combination.failure.partition(";")[0]


def _in_order(study: Study) -> list[tuple[Combination, Ranked | None]]:
    """Returns all combinations, the best first, those that failed last."""
    order = [(one.combination, one) for one in ranked(study)]
    known = {combination.number for combination, _ in order}
    rest = [(one, None) for one in study.combinations if one.number not in known]
    return [*order, *rest]


def _records(study: Study) -> list[dict[str, Any]]:
    """Returns the rows of results.csv."""
    by = f"validation_{study.by}"
    return [
        {"rank": rank if one else None, "number": combination.number}
        | combination.values
        | {by: one.mean if one else None, "standard_error": one.error if one else None}
        | {"failure": combination.failure or None}
        for rank, (combination, one) in enumerate(_in_order(study), start=1)
    ]


def _rows(study: Study) -> list[dict[str, Any]]:
    return [
        {
            "rank": rank if one else "–",
            "number": combination.number,
            "values": [*combination.values.values()],
            "score": _score(study, one) if one else "–",
            "failure": _reason(combination),
            "folders": [trial.folder for trial in combination.trials],
        }
        for rank, (combination, one) in enumerate(_in_order(study), start=1)
    ]


def _curves(study: Study, folder: Path) -> list[dict[str, Any]]:
    """Returns the curve in validation of each finished run, the best combination's last."""
    order, drawn_in = ranked(study), colors(study)
    found: list[dict[str, Any]] = []
    for one in reversed(order):
        for trial in one.combination.trials:
            run = read_run(folder / trial.folder)
            curve = run.curves["valid"]
            some = np.unique(np.linspace(0, len(curve.epoch) - 1, POINTS).astype(int))
            values = curve.loss if study.by == "loss" else curve.metric
            found.append(
                {
                    "number": one.combination.number,
                    "name": f"{_named(one.combination)}, seed {trial.seed}",
                    "epoch": curve.epoch[some].tolist(),
                    "value": [float(f"{value:.6g}") for value in values[some].tolist()],
                    "color": drawn_in[one.combination.number],
                    "best": one is order[0],
                }
            )
    return found
