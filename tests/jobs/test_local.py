"""Many runs on this machine: their order, what fails, and what a signal leaves."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from shared.config import resolve
from shared.errors import InvalidInput
from shared.jobs import Job, Outcome, run_jobs
from shared.jobs.command import run_options
from shared.jobs.local import last_line
from shared.runs import run_folder
from shared.system import environment
from shared.system.signals import Interrupted
from shared.tasks import TASKS

CONFIG = resolve(replace(TASKS["hello"].defaults, backend="torch"))


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Code by the name of a run's folder: it runs in place of `rnn-parity run`."""
    codes: dict[str, str] = {}

    def command(options: list[str], tune_allocator: bool) -> list[str]:
        folder = options[options.index("--out") + 1]
        return [sys.executable, "-c", codes.get(Path(folder).name, "")]

    monkeypatch.setattr("shared.jobs.local.run_command", command)
    return codes


def plan(folder: Path, *names: str) -> list[Job]:
    return [Job(CONFIG, folder / name) for name in names]


def test_each_run_is_announced_in_order(
    programs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = plan(tmp_path, "a", "b")
    assert run_jobs(jobs) == [Outcome(job) for job in jobs]
    assert capsys.readouterr().out.splitlines() == [
        f"{i} of 2: {job.folder}" for i, job in enumerate(jobs, 1)
    ]


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("import sys; print('slow'); sys.exit('one\\nrnn-parity run: loss is nan')", "loss is nan"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
        ("import sys; sys.exit(3)", "ended with the exit code 3"),
    ],
)
@pytest.mark.parametrize("at_once", [1, 2])
def test_others_go_on_after_a_failure_if_they_are_to(
    code: str, failure: str, at_once: int, programs: dict[str, str], tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if at_once > environment.cores():
        pytest.skip("needs two cores")
    programs["b"] = code
    jobs = plan(tmp_path, "a", "b", "c")
    outcomes = run_jobs(jobs, at_once=at_once, keep_going=True)
    assert outcomes == [Outcome(jobs[0]), Outcome(jobs[1], failure), Outcome(jobs[2])]
    out, err = capfd.readouterr()
    assert f"{jobs[1].folder}: {failure}" in out.splitlines()
    assert "slow" not in out
    assert err == ""


def test_without_it_the_first_failure_ends_all(
    programs: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    programs["a"] = "import sys; print('why', file=sys.stderr); sys.exit(7)"
    programs["b"] = f"open({str(tmp_path / 'started')!r}, 'w')"
    with pytest.raises(SystemExit) as stop:
        run_jobs(plan(tmp_path, "a", "b"))
    assert stop.value.code == 7
    assert capfd.readouterr().err == "why\n"
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_and_no_other_run_begins(
    number: int, programs: dict[str, str], tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    programs["a"] = (
        "import signal, sys, time\n"
        "for n in (2, 15): signal.signal(n, lambda n, _: sys.exit(128 + n))\n"
        f"open({str(ready)!r}, 'w').close(); time.sleep(30)"
    )
    programs["b"] = f"open({str(tmp_path / 'started')!r}, 'w')"

    def send() -> None:
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()
    with pytest.raises(Interrupted) as stop:
        run_jobs(plan(tmp_path, "a", "b"), keep_going=True)
    assert stop.value.number == number
    assert not (tmp_path / "started").exists()


def test_a_damaged_run_is_refused_before_others_are_trained(
    programs: dict[str, str], tmp_path: Path
) -> None:
    programs["a"] = f"open({str(tmp_path / 'started')!r}, 'w')"
    jobs = plan(tmp_path, "a", "b")
    jobs[1].folder.mkdir()
    run_folder.save_config(jobs[1].folder, replace(CONFIG, seed=9))
    with pytest.raises(InvalidInput, match="b: expected a run with the settings of this version"):
        run_jobs(jobs, keep_going=True)
    assert not (tmp_path / "started").exists()


def test_a_run_may_be_prolonged_where_its_job_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    run_folder.save_config(folder, CONFIG)
    more = replace(CONFIG, epochs=CONFIG.epochs + 1)
    assert Job(more, folder, prolongs=True).state == "stopped"
    (folder / run_folder.SUMMARY).touch()
    assert Job(more, folder, prolongs=True).state == "stopped"  # it has fewer epochs
    with pytest.raises(InvalidInput, match=r"summary\.json: "):
        _ = Job(CONFIG, folder, prolongs=True).state
    for other in (Job(more, folder), Job(replace(CONFIG, seed=5), folder, prolongs=True)):
        with pytest.raises(InvalidInput, match="got another; move it away"):
            _ = other.state
    assert Job(replace(CONFIG, seed=5), folder, overwrite=True).state == "new"


def test_the_command_line_of_a_job() -> None:
    file = Path("scratch/config.json")
    assert run_options(CONFIG, "new", "runs/a", file, overwrite=True) == [
        "--config", "scratch/config.json", "--out", "runs/a", "--backend", "torch", "--overwrite",
    ]  # fmt: skip
    words = run_options(replace(CONFIG, epochs=7), "stopped", "runs/a", file)
    assert words[:4] == ["--resume", "runs/a", "--epochs", "7"]
    assert "--seed" not in words
    stored = resolve(replace(TASKS["last-value"].defaults, backend="torch"))
    stored = replace(stored, data=replace(stored.data, folder="data/large"))
    assert run_options(stored, "new", "a", file)[-2:] == ["--data.folder", "data/large"]


@pytest.mark.parametrize(
    ("errors", "line"),
    [
        (b"", ""),
        (b"rnn-parity run: out of memory\n", "out of memory"),
        (b"\r 10%\r 20%\nrnn-parity run: stopped\n\n", "stopped"),
        (b"\xff\n", "\ufffd"),
    ],
)
def test_the_last_line_says_why(errors: bytes, line: str) -> None:
    assert last_line(errors) == line
