"""Every task in both frameworks from several seeds: which runs, what of them is done, and a page
whose numbers are those of the runs."""

import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from shared.config import Config, resolve
from shared.config.data import SunspotsData, TextData
from shared.errors import InvalidInput
from shared.report import results_page
from shared.report.results_page import CHANCE, write_results
from shared.runs import run_folder
from shared.runs.jobs import Job, jobs
from shared.runs.run import Run
from shared.runs.scores import in_unit, spread
from shared.runs.summary import Reference
from shared.system import environment
from shared.tasks import TASKS
from shared.tasks.registry import Goal
from shared.training import train
from tests.support.command_line import check_refused

LOWER = Goal("rmse", 2.75)
HIGHER = Goal("accuracy", 0.95)


def test_every_task_is_trained_from_every_seed_in_both_frameworks() -> None:
    plan = jobs(tuple(TASKS), (0, 3), Path("runs"))
    assert len(plan) == 4 * len(TASKS)
    assert len({job.folder for job in plan}) == len(plan)
    named = [(job.config.task, job.config.seed, job.config.backend) for job in plan]
    assert named == [(t, s, b) for t in TASKS for s in (0, 3) for b in ("jax", "torch")]
    for job in plan:
        config = job.config
        assert job.folder == Path("runs", f"{config.task}-{config.backend}-{config.seed}")
        default = replace(TASKS[config.task].defaults, backend=config.backend, seed=config.seed)
        assert config == resolve(default)
        assert job.state == "new"


def test_every_task_has_a_goal_that_can_be_reached() -> None:
    assert all(row.goal.score for row in TASKS.values())


@pytest.mark.parametrize(
    ("tasks", "seeds", "message"),
    [
        (("chess",), (0,), "--tasks: expected any of hello, .*, got chess"),
        (("hello", "hello"), (0,), "--tasks: expected one or more, each once, got hello hello"),
        (("hello",), (1, 2, 1), "--seeds: expected one or more, each once, got 1 2 1"),
        ((), (0,), "--tasks: expected one or more, each once, got none"),
        (("hello",), (), "--seeds: expected one or more, each once, got none"),
        (("hello",), (-1,), "--seed: expected a number from 0 .*, got -1"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(tasks: Any, seeds: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}$"):
        jobs(tasks, seeds, Path("runs"))


def test_a_run_is_new_then_stopped_then_done(tmp_path: Path, monkeypatch) -> None:
    (job,) = (j for j in jobs(("hello",), (0,), tmp_path) if j.config.backend == "torch")
    assert job.state == "new"
    job.folder.mkdir()
    assert job.state == "new"
    run_folder.save_config(job.folder, job.config)
    assert job.state == "stopped"
    (job.folder / run_folder.SUMMARY).touch()
    with pytest.raises(InvalidInput, match=r"summary\.json: "):
        _ = job.state  # damaged
    monkeypatch.setattr("shared.runs.jobs.read_run", lambda folder: folder)
    assert job.state == "done"


def test_a_run_with_other_settings_is_refused(tmp_path: Path) -> None:
    job = jobs(("hello",), (0,), tmp_path)[0]
    job.folder.mkdir()
    run_folder.save_config(job.folder, replace(job.config, epochs=7))
    (job.folder / run_folder.SUMMARY).touch()
    with pytest.raises(
        InvalidInput, match=r"hello-jax-0: expected a run with the settings of this version, got "
    ):
        _ = job.state


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
    series = replace(
        TASKS["sunspots"].defaults, data=SunspotsData(window=4), epochs=1, batch_size=500
    )
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
    write_results(made, folder, "scripts/compare.py --suite results")
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
    first, second = (summary["test"][goal.score] for summary in found)
    mean, deviation = (first + second) / 2, abs(first - second) / 2**0.5
    expected = f"{in_unit(goal.score, mean)} ± {in_unit(goal.score, deviation)}"
    row = cells(page, task)
    assert len(row) == 9
    assert row[1] == {"sunspots": "Elman, 3", "text": "LSTM, 3"}[task]
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
        write_results([other], tmp_path / "docs", "")
    assert not (tmp_path / "docs").exists()


BAD = {
    "other settings": (["--epochs", "3"], ["--suite", "expected no settings beside it"]),
    "a task of run.py": (["--task", "parity"], ["--suite", "expected no settings beside it"]),
    "a configuration": (
        ["--config", "runs/hello-jax-0/config.json"], ["--suite", "expected no settings beside it"],
    ),
    "folders": (["runs/a", "runs/b"], ["--suite", "expected no settings beside it"]),
    "contenders": (
        ["--contenders", "jax/native", "torch/native"], ["expected no settings beside it"],
    ),
    "unknown task": (["--tasks", "chess"], ["chess", "hello"]),
    "one task twice": (["--tasks", "hello", "hello"], ["--tasks", "each once"]),
    "one seed twice": (["--tasks", "hello", "--seeds", "1", "1"], ["--seeds", "each once", "1 1"]),
    "negative seed": (["--tasks", "hello", "--seeds", "-1"], ["--seed", "-1"]),
    "no number": (["--seeds", "one"], ["--seeds", "one"]),
    "a page in the way": (["--tasks", "hello", "--out", "docs"], ["--out docs", "--overwrite"]),
    "another run in the way": (
        ["--tasks", "hello", "--seeds", "0", "--runs", "runs"], ["hello-jax-0", "move it away"],
    ),
    "no jobs": (["--jobs", "0"], ["--jobs: expected 1 to", "got 0"]),
    "more jobs than cores": (["--jobs", "9999"], ["--jobs: expected 1 to", "got 9999"]),
    "no tasks": (["--tasks", "--seeds", "0"], ["--tasks: expected one or more", "got none"]),
    "runs in a file": (
        ["--tasks", "hello", "--runs", "docs/results.md"], ["--runs docs/results.md", "a folder"],
    ),
    "a page that cannot be written": (
        ["--tasks", "hello", "--out", "/proc/docs"], ["--out /proc/docs: expected a folder that"],
    ),
    "another suite": (["--suite", "everything"], ["--suite", "results", "everything"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_suite_that_cannot_be_run_is_refused_in_one_line(case: str, tmp_path: Path, call) -> None:
    job = jobs(("hello",), (0,), tmp_path / "runs")[0]
    job.folder.mkdir(parents=True)
    run_folder.save_config(job.folder, replace(job.config, epochs=7))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / results_page.PAGE).write_text("")
    before = sorted(tmp_path.rglob("*"))
    arguments, expected = BAD[case]
    check_refused(call("compare.py", "--suite", "results", *arguments), *expected)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("option", [["--tasks", "weather"], ["--runs=runs"], ["--jobs", "1"]])
def test_options_of_a_suite_are_refused_without_one(option: list[str], tmp_path, call) -> None:
    """`--tasks weather` is no `--task weather`, and would compare hello."""
    name = option[0].partition("=")[0]
    check_refused(call("compare.py", *option), f"{name}: expected --suite results beside it")
    assert not list(tmp_path.iterdir())


def test_what_is_done_is_not_trained_again(tmp_path: Path, monkeypatch, call) -> None:
    """Of both runs one is done and one was stopped: only the second goes on."""
    calls = []
    monkeypatch.setattr(
        "shared.commands.compare._run_script", lambda options, *others: calls.append(options)
    )
    monkeypatch.setattr(
        "shared.report.results_page.write_results", lambda *arguments: calls.append("results")
    )
    monkeypatch.setattr("shared.runs.jobs.read_run", lambda folder: folder)
    done, stopped, new, again = jobs(("hello",), (0, 1), tmp_path / "runs")
    for job in (done, stopped, again):
        job.folder.mkdir(parents=True)
        run_folder.save_config(job.folder, job.config)
    (done.folder / run_folder.SUMMARY).touch()
    ran = call("compare.py", "--suite", "results", "--tasks", "hello", "--seeds", "0", "1",
               "--runs", "runs", "--out", "docs")  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0] == "1 of 4: runs/hello-jax-0 (done)"
    assert lines[1:4] == [
        f"{i} of 4: runs/{j.folder.name}" for i, j in ((2, stopped), (3, new), (4, again))
    ]
    assert calls[0] == ["--resume", "runs/hello-torch-0", "--backend", "torch"]
    assert calls[1][2:] == ["--out", "runs/hello-jax-1", "--backend", "jax"]
    assert calls[2] == ["--resume", "runs/hello-torch-1", "--backend", "torch"]
    assert calls[3:] == ["results"]


@pytest.mark.skipif(environment.cores() < 2, reason="needs two cores")
def test_two_runs_train_at_once_each_on_cores_of_its_own(tmp_path: Path, monkeypatch, call) -> None:
    both = threading.Barrier(2, timeout=60)
    shares = []

    def train(options, arguments, name, children) -> None:
        both.wait()  # broken if the other one does not run
        shares.append((name, os.sched_getaffinity(0)))

    monkeypatch.setattr("shared.commands.compare._run_script", train)
    monkeypatch.setattr("shared.report.results_page.write_results", lambda *arguments: None)
    own = os.sched_getaffinity(0)
    ran = call("compare.py", "--suite", "results", "--tasks", "hello", "--seeds", "0", "1",
               "--jobs", "2")  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert len(shares) == 4
    for one, other in (shares[:2], shares[2:]):
        assert one[1].isdisjoint(other[1])
        assert one[1] | other[1] == own
    assert os.sched_getaffinity(0) == own


@pytest.mark.skipif(environment.cores() < 2, reason="needs two cores")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_after_a_run_that_fails_none_is_started(jobs: str, tmp_path, monkeypatch, call) -> None:
    started = []

    def fail(options, arguments, name, children) -> None:
        started.append(name)
        sys.exit(3)

    monkeypatch.setattr("shared.commands.compare._run_script", fail)
    ran = call("compare.py", "--suite", "results", "--jobs", jobs)
    assert ran.returncode == 3
    assert 1 <= len(started) <= int(jobs)
    assert not (tmp_path / "reports").exists()
