"""Pages of results, whose goals, scores, texts and pictures are those of the runs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from shared.config import Config, resolve
from shared.config.data import TextData
from shared.errors import InvalidInput
from shared.jobs import Job
from shared.report import results_page
from shared.report.results_page import CHANCE, write_results
from shared.runs import run_folder
from shared.runs.run import Run
from shared.runs.scores import in_unit, spread
from shared.runs.summary import Reference
from shared.tasks import TASKS
from shared.tasks.registry import Goal
from shared.training import train

LOWER = Goal("rmse", 2.75)
HIGHER = Goal("accuracy", 0.95)


def finished(goal: Goal, value: float, **baselines: float) -> Run:
    """A run of which `_reached` needs no more than these."""
    references = [Reference(name, {goal.score: score}) for name, score in baselines.items()]
    kind = type("Summary", (), {"test": {goal.score: value}, "baselines": references})
    return Run(Path("run"), Config(), cast(Any, kind()), {}, "accuracy")


@pytest.mark.parametrize(
    ("goal", "value", "reached"),
    [
        (HIGHER, 0.95, True),
        (HIGHER, 0.9499, False),
        (LOWER, 2.75, True),
        (LOWER, 2.7501, False),
        (LOWER, 0.0, True),
        (Goal("accuracy", "chance"), 0.5 + 0.9 * CHANCE, True),
        (Goal("accuracy", "chance"), 0.5 - 0.9 * CHANCE, True),
        (Goal("accuracy", "chance"), 0.5 + 1.1 * CHANCE, False),
        (Goal("accuracy", "chance"), 0.5 - 1.1 * CHANCE, False),
        (Goal("loss", "gzip"), 1.9, True),
        (Goal("loss", "gzip"), 2.1, False),
        (Goal("exact", "gzip"), 2.1, True),
        (Goal("exact", "gzip"), 1.9, False),
    ],
)
def test_a_goal_is_a_bound_from_the_right_side(goal: Goal, value: float, reached: bool) -> None:
    run = finished(goal, value, xz=0.0 if goal.score == "exact" else 9.0, gzip=2.0)
    assert results_page._reached(goal, run) is reached


@pytest.mark.parametrize(
    ("goal", "text"),
    [
        (HIGHER, "≥ 95.0 %"), (LOWER, "≤ 2.750"), (Goal("loss", "gzip"), "below gzip"),
        (Goal("exact", "x"), "above x"), (Goal("accuracy", "chance"), "chance"),
    ],
)  # fmt: skip
def test_a_goal_is_said_in_words(goal: Goal, text: str) -> None:
    assert results_page._goal(goal) == text


@pytest.mark.parametrize(
    ("score", "values", "expected"),
    [
        ("accuracy", [0.97, 0.98, 0.99], "98.0 % ± 1.0"),
        ("rmse", [2.0, 4.0], "3.000 ± 1.414"),
        ("loss", [0.5], "0.5000"),
    ],
)
def test_seeds_have_a_mean_and_a_deviation(score: str, values: list, expected: str) -> None:
    assert spread(score, values) == expected


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """Two finished runs of a series and two of a text, of one framework to be quick."""
    folder = tmp_path_factory.mktemp("runs")
    text = folder / "text.txt"
    text.write_text("the cat sat on the mat, and the dog on the log\n" * 40, encoding="utf-8")
    series = replace(TASKS["sunspots"].defaults, epochs=1, batch_size=500)
    words = replace(
        TASKS["text"].defaults, data=TextData(str(text)), epochs=1, batch_size=4, bptt=40
    )
    made = []
    for config in (series, words):
        network = replace(config.network, hidden_size=3)
        for seed in (1, 2):
            small = resolve(replace(config, network=network, seed=seed, backend="torch"))
            job = Job(small, folder / f"{config.task}-{seed}")
            train(small, job.folder, quiet=True)
            made.append(job)
    return made


@pytest.fixture(scope="module")
def page(plan: list[Job], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of these runs, of which two count as JAX's."""
    folder = tmp_path_factory.mktemp("page") / "docs"
    scratch = tmp_path_factory.mktemp("both")
    made = []
    for job in plan:
        made.append(job)
        other = replace(
            job, config=replace(job.config, backend="jax"), folder=scratch / job.folder.name
        )
        other.folder.mkdir()
        for file in job.folder.iterdir():
            (other.folder / file.name).write_bytes(file.read_bytes())
        run_folder.save_config(other.folder, other.config)
        made.append(other)
    write_results([job.folder for job in made], folder, "scripts/compare.py --suite results")
    return folder


def summaries(plan: list[Job], task: str) -> list[dict]:
    return [
        json.loads((job.folder / run_folder.SUMMARY).read_text(encoding="utf-8"))
        for job in plan
        if job.config.task == task
    ]


def cells(page: Path, task: str) -> list[str]:
    lines = (page / results_page.PAGE).read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"| [`{task}`]"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_finished_runs_are_done(plan: list[Job]) -> None:
    assert [job.state for job in plan] == ["done"] * 4


@pytest.mark.parametrize("task", ["sunspots", "text"])
def test_the_table_shows_the_scores_of_the_runs(task: str, page: Path, plan: list[Job]) -> None:
    goal, found = TASKS[task].goal, summaries(plan, task)
    assert goal is not None
    first, second = (summary["test"][goal.score] for summary in found)
    mean, deviation = (first + second) / 2, abs(first - second) / 2**0.5
    expected = f"{in_unit(goal.score, mean)} ± {in_unit(goal.score, deviation)}"
    row = cells(page, task)
    assert len(row) == 9
    assert row[1] == {"sunspots": "GRU, 3", "text": "LSTM, 3"}[task]
    assert row[2] == {"sunspots": "RMSE, sunspots", "text": "bits per character"}[task]
    assert row[3] == row[4] == expected
    for baseline in found[0]["baselines"]:
        assert f"{in_unit(goal.score, baseline['scores'][goal.score])} {baseline['name']}" in row[5]
    bound = goal.bound
    if isinstance(bound, str):
        (bound,) = (b["scores"][goal.score] for b in found[0]["baselines"] if b["name"] == bound)
    reached = sum(2 * (score <= bound) for score in (first, second))
    assert row[7] == f"{reached} of 4"


def test_the_page_has_a_picture_where_there_are_predictions(page: Path) -> None:
    assert {file.name for file in page.iterdir()} == {
        results_page.PAGE, results_page.DATA, "results-sunspots.png",
    }  # fmt: skip
    assert {file.name for file in page.iterdir()} <= results_page.files()
    written = (page / results_page.PAGE).read_text(encoding="utf-8")
    assert "](results-sunspots.png)" in written
    assert "results-text.png" not in written
    assert "{{" not in written
    assert "{%" not in written
    assert "trained from seeds 1, 2 and scored once" in written
    assert "Only `hello`" not in written
    assert "docs/tasks.md" in written
    assert "](tasks.md)" not in written  # it does not lie beside the page
    assert "scripts/compare.py --suite results" in written


def test_a_text_shows_how_both_frameworks_go_on(page: Path, plan: list[Job]) -> None:
    written = (page / results_page.PAGE).read_text(encoding="utf-8")
    assert written.count("goes on (▶) from a text of the test part") == 2
    generated = summaries(plan, "text")[0]["generated"]
    first = (generated["prompt"] + "▶" + generated["continuation"]).splitlines()[0]
    assert f"    {first}" in written


def test_the_data_beside_the_page_are_the_summaries(page: Path, plan: list[Job]) -> None:
    records = json.loads((page / results_page.DATA).read_text(encoding="utf-8"))
    assert len(records) == 8
    found = summaries(plan, "sunspots") + summaries(plan, "text")
    for record, summary in zip(records[::2], found, strict=True):
        for name in ("task", "seed", "test", "total_s", "step_ms", "steps", "parameters", "device"):
            assert record[name] == summary[name], name
        assert record["baselines"] == {b["name"]: b["scores"] for b in summary["baselines"]}


def test_an_unfinished_run_has_no_results(plan: list[Job], tmp_path: Path) -> None:
    other = Job(plan[0].config, tmp_path / "run")
    other.folder.mkdir()
    run_folder.save_config(other.folder, other.config)
    with pytest.raises(InvalidInput, match=r"a finished run, got one without summary.json"):
        write_results([other.folder], tmp_path / "docs", "")
    assert not (tmp_path / "docs").exists()
