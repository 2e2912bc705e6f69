"""Every task with its defaults, in both frameworks, from several seeds → one page of results.

    write_results([Path("runs/results/hello-jax-0"), …], Path("docs"), command)

A finished run is not trained again, and a stopped one goes on. So the whole can be stopped at any
time and started again with the same command.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.config.naming import network_and_size
from shared.errors import InvalidInput
from shared.report.prediction_plots import save_predictions
from shared.report.render import write_pages
from shared.runs import read_run
from shared.runs.run import Run
from shared.runs.scores import LOWER_IS_BETTER, in_unit, long_name, spread
from shared.system import environment
from shared.system.files import write_atomically
from shared.tasks.registry import WITH_DATA, Goal, row

PAGE, DATA = "results.md", "results.json"
CHANCE = 0.01
"""Largest distance of a held-out accuracy from one half; a larger one would be a leak."""


def write_results(done: Sequence[Path], folder: Path, command: str) -> None:
    """Writes results.md, results.json and a picture of each task's predictions.

    Args:
        done: folders of finished runs.
        command: the command line that made them.
    """
    runs = [read_run(run) for run in done]
    folder.mkdir(parents=True, exist_ok=True)
    pictures, rows = {}, []
    for task in dict.fromkeys(run.config.task for run in runs):
        own = [run for run in runs if run.config.task == task]
        rows.append(_row(task, own))
        first = [run for run in own if run.config.seed == own[0].config.seed]
        name = picture(task)
        if save_predictions(first, folder / name):
            pictures[task] = name
    context = {
        "rows": rows,
        "seeds": sorted({run.config.seed for run in runs}),
        "shown": pictures,
        "generated": [
            (run.config.backend, run.summary.generated)
            for run in runs
            if run.summary.generated and run.config.seed == runs[0].config.seed
        ],
        "machine": environment.machine(),
        "versions": runs[0].summary.versions | runs[-1].summary.versions,
        "command": command,
        "beside_docs": (folder / "tasks.md").is_file(),
    }
    write_pages(folder, (PAGE,), {}, context)
    text = json.dumps([_record(run) for run in runs], indent=1, ensure_ascii=False)
    write_atomically(folder / DATA, (text + "\n").encode())


def picture(task: str) -> str:
    return f"results-{task}.png"


def files() -> set[str]:
    """Returns the names of all files that `write_results` may write."""
    return {PAGE, DATA, *map(picture, WITH_DATA)}


def _row(task: str, runs: Sequence[Run]) -> dict[str, Any]:
    goal, first = row(task).goal, runs[0].summary
    assert goal is not None
    by_backend = {
        backend: [run.summary for run in runs if run.config.backend == backend]
        for backend in ("jax", "torch")
    }
    references = {
        b.name: in_unit(goal.score, b.scores[goal.score])
        for b in first.baselines
        if goal.score in b.scores
    }
    reached = sum(_reached(goal, run) for run in runs)
    return {
        "task": task,
        "score": long_name(goal.score, first.unit),
        "network": network_and_size(runs[0].config),
        "means": {
            backend: spread(goal.score, [s.test[goal.score] for s in summaries])
            for backend, summaries in by_backend.items()
        },
        "seconds": {
            backend: f"{statistics.mean(s.total_s for s in summaries):.0f}"
            for backend, summaries in by_backend.items()
        },
        "devices": {
            backend: ", ".join(sorted({s.device for s in summaries}))
            for backend, summaries in by_backend.items()
        },
        "baselines": ", ".join(f"{value} {name}" for name, value in references.items()) or "–",
        "goal": _goal(goal),
        "reached": f"{reached} of {len(runs)}",
        "published": goal.published,
    }


def _goal(goal: Goal) -> str:
    if goal.bound == "chance":
        return "chance"
    lower = goal.score in LOWER_IS_BETTER
    if isinstance(goal.bound, str):
        return f"{'below' if lower else 'above'} {goal.bound}"
    return f"{'≤' if lower else '≥'} {in_unit(goal.score, goal.bound)}"


def _reached(goal: Goal, run: Run) -> bool:
    value, bound = run.summary.test[goal.score], goal.bound
    if bound == "chance":
        return abs(value - 0.5) <= CHANCE
    if isinstance(bound, str):
        known = {b.name: b.scores[goal.score] for b in run.summary.baselines}
        if bound not in known:
            raise InvalidInput(
                f"{run.folder}: expected a run with the baseline {bound}, its task's goal, "
                f"got {', '.join(known) or 'none'}"
            )
        bound = known[bound]
    return value <= bound if goal.score in LOWER_IS_BETTER else value >= bound


def _record(run: Run) -> dict[str, Any]:
    summary = run.summary
    return {
        "task": summary.task,
        "backend": summary.backend,
        "seed": summary.seed,
        "test": summary.test,
        "baselines": {b.name: b.scores for b in summary.baselines},
        "total_s": summary.total_s,
        "step_ms": summary.step_ms,
        "steps": summary.steps,
        "parameters": summary.parameters,
        "device": summary.device,
        "versions": summary.versions,
    }
