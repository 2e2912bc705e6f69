"""Plans of every task in both frameworks from several seeds: which runs, and which are done."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.config import resolve
from shared.errors import InvalidInput
from shared.jobs.suite import jobs
from shared.runs import run_folder
from shared.tasks import TASKS
from shared.tasks.registry import WITH_DATA


def test_every_task_is_trained_from_every_seed_in_both_frameworks() -> None:
    plan = jobs(WITH_DATA, (0, 3), Path("runs"))
    assert len(plan) == 4 * len(WITH_DATA)
    assert len({job.folder for job in plan}) == len(plan)
    named = [(job.config.task, job.config.seed, job.config.backend) for job in plan]
    assert named == [(t, s, b) for t in WITH_DATA for s in (0, 3) for b in ("jax", "torch")]
    for job in plan:
        config = job.config
        assert job.folder == Path("runs", f"{config.task}-{config.backend}-{config.seed}")
        default = replace(TASKS[config.task].defaults, backend=config.backend, seed=config.seed)
        assert config == resolve(default)
        assert job.state == "new"


def test_every_task_has_a_goal_except_those_on_data_that_a_user_brings() -> None:
    without = {name for name, row in TASKS.items() if row.goal is None}
    assert without == {"forecast", "sequences", "labels", "pairs"}
    assert all(row.goal.score for row in TASKS.values() if row.goal is not None)


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
    monkeypatch.setattr("shared.jobs.job.read_run", lambda folder: folder)
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
