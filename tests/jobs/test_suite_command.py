"""Calls of `compare.py --suite results` train what is not done, or are refused in one line."""

import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from shared.jobs.suite import jobs
from shared.report import results_page
from shared.runs import run_folder
from shared.system import environment
from tests.support.command_line import check_refused

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
    "jobs of a cluster": (["--jobs", "1", "--cluster", "ray"], ["--jobs", "--cluster", "one"]),
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
        "shared.jobs.local.run_or_exit", lambda command, *_, **__: calls.append(command[5:])
    )
    monkeypatch.setattr(
        "shared.report.results_page.write_results", lambda *arguments: calls.append("results")
    )
    monkeypatch.setattr("shared.jobs.job.read_run", lambda folder: folder)
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
    assert calls[0][:4] == ["--resume", "runs/hello-torch-0", "--epochs", "1000"]
    assert calls[0][4:6] == ["--backend", "torch"]
    assert calls[1][2:] == ["--out", "runs/hello-jax-1", "--backend", "jax"]
    assert calls[2][:2] == ["--resume", "runs/hello-torch-1"]
    assert calls[3:] == ["results"]


@pytest.mark.skipif(environment.cores() < 2, reason="needs two cores")
def test_two_runs_train_at_once_each_on_cores_of_its_own(tmp_path: Path, monkeypatch, call) -> None:
    both = threading.Barrier(2, timeout=60)
    shares = []

    def train(command, name, children, quiet) -> None:
        both.wait()  # broken if the other one does not run
        shares.append((name, os.sched_getaffinity(0)))

    monkeypatch.setattr("shared.jobs.local.run_or_exit", train)
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

    def fail(command, name, children, quiet) -> None:
        started.append(name)
        sys.exit(3)

    monkeypatch.setattr("shared.jobs.local.run_or_exit", fail)
    ran = call("compare.py", "--suite", "results", "--jobs", jobs)
    assert ran.returncode == 3
    assert 1 <= len(started) <= int(jobs)
    assert not (tmp_path / "reports").exists()
