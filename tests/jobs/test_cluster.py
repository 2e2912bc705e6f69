"""Jobs over a cluster of three nodes on this machine: a head without a core, and two that train."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from shared.config import Config, resolve
from shared.config.data import LabelsData
from shared.config.settings import OptimizationConfig
from shared.errors import InvalidInput
from shared.jobs import Job, Outcome, cluster, connection, run_jobs
from shared.runs import checkpoint, run_folder
from shared.system import environment
from shared.system.signals import Interrupted
from shared.tasks import TASKS
from shared.training import train
from tests.support.cluster import SHORT, Nodes, check_same, names_in

LONG = replace(SHORT, epochs=2400, eval_every=300, keep_checkpoints=9)


def when_there_is(file: Path, act: Callable[[], None]) -> threading.Thread:
    """Does something as soon as a file has come back."""

    def watch() -> None:
        for _ in range(600):
            if file.is_file():
                act()
                return
            time.sleep(0.05)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_job_goes_on_elsewhere_when_its_node_is_killed(
    nodes: Nodes, lines: list[str], tmp_path: Path
) -> None:
    job = Job(LONG, tmp_path / "run")
    first_one = checkpoint.path(job.folder, 300)
    killer = when_there_is(first_one, lambda: nodes.kill(lines[-1].rpartition(" on ")[2]))
    try:
        outcomes = run_jobs([job], cluster=nodes.address)
    finally:
        killer.join()
    assert [outcome.failure for outcome in outcomes] == [None]
    first, lost, second = lines
    assert first.startswith(f"1 of 1: {job.folder} on ")
    assert "was lost; it goes on elsewhere from step " in lost
    step = int(lost.rpartition(" ")[2])
    assert 0 < step < 2400
    assert second.startswith(f"1 of 1: {job.folder} on ")
    assert second != first
    train(LONG, tmp_path / "here", quiet=True)
    check_same(job.folder, tmp_path / "here")
    last = checkpoint.read_last(job.folder)[0]
    assert [part.start for part in last.segments] == [0, step]


@pytest.mark.slow
def test_jobs_over_two_nodes_are_those_of_this_machine(
    nodes: Nodes, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    away, here = (
        [Job(replace(SHORT, seed=seed), Path(at, f"{seed}")) for seed in range(3)]
        for at in ("away", "here")
    )
    outcomes = run_jobs(away, cluster=nodes.address)
    assert [outcome.job for outcome in outcomes] == away
    assert {line.rpartition(" on ")[2] for line in lines} == {"first", "second"}
    for job, other in zip(away, here, strict=True):
        train(other.config, other.folder, quiet=True)
        check_same(job.folder, other.folder)
        assert job.state == "done"
        assert names_in(job.folder) == names_in(other.folder) | {"curves.png", "card.md"} | (
            {"predictions.png"}
        )
    lines.clear()
    assert run_jobs(away, cluster=nodes.address) == outcomes
    assert lines == [f"{i} of 3: away/{i - 1} (done)" for i in (1, 2, 3)]


def table(path: Path) -> None:
    rows = [f"{word} number {i},{word}" for i in range(20) for word in ("good", "bad")]
    path.write_text("\n".join(["text,label", *rows]) + "\n")


def labels(path: str) -> Config:
    usual = TASKS["labels"].defaults
    network = replace(usual.network, hidden_size=4, embedding_size=3)
    data = LabelsData(path=(path,))
    return resolve(replace(usual, backend="torch", epochs=1, data=data, network=network))


@pytest.mark.slow
def test_own_data_travels_and_is_recorded_as_the_user_named_it(
    nodes: Nodes, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    table(tmp_path / "texts.csv")
    named = ("../texts.csv", str(tmp_path / "texts.csv"))
    folders = (Path("runs/relative"), tmp_path / "runs" / "absolute")
    jobs = [Job(labels(path), folder) for path, folder in zip(named, folders, strict=True)]
    run_jobs(jobs, cluster=nodes.address)
    for job, path in zip(jobs, named, strict=True):
        found = run_folder.read_config(job.folder / run_folder.CONFIG)
        assert found == job.config  # its checksum is right, too
        assert job.state == "done"
        assert f"--data.path {path}" in (job.folder / "card.md").read_text()
        for file in job.folder.iterdir():
            assert b"rnn-parity-" not in file.read_bytes(), file
    train(jobs[0].config, tmp_path / "here", quiet=True)
    check_same(jobs[0].folder, tmp_path / "here")
    check_same(jobs[1].folder, tmp_path / "here")


NOBODY = "ray://127.0.0.1:1"
"""No cluster is asked there: what is refused is refused before."""


def test_data_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^--data\.path none\.csv: expected a file or a folder"):
        run_jobs([Job(labels("none.csv"), tmp_path / "run")], cluster=NOBODY)


def test_a_node_with_other_versions_is_refused_by_name(
    nodes: Nodes, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = environment.versions
    monkeypatch.setattr(environment, "versions", lambda b: real(b) | {"torch": "1.0"})
    own = real("torch")["torch"]
    with pytest.raises(
        InvalidInput,
        match=rf"^--cluster: expected the versions of this machine on each node, got on node "
        rf"(first|second): torch {own.replace('+', '.')} instead of 1\.0; install the same there$",
    ):
        run_jobs([Job(SHORT, tmp_path / "run")], cluster=nodes.address)
    assert lines == []
    assert not (tmp_path / "run").exists()


def test_a_gpu_that_no_node_has_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    job = Job(replace(SHORT, device="gpu"), tmp_path / "run")
    with pytest.raises(InvalidInput, match=r"^--device gpu: expected a node with a GPU, got none"):
        run_jobs([job], cluster=nodes.address)
    assert not job.folder.exists()


def test_ray_alone_is_the_cluster_that_the_environment_names(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = nodes.address.removeprefix("ray://")
    for given in (address, nodes.address):
        monkeypatch.setenv("RAY_ADDRESS", given)
        assert connection._address("ray") == address
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:10001")
    with pytest.raises(InvalidInput, match="expected the port of the cluster's head"):
        connection._address("ray")
    for given in ("auto", "local", ""):
        monkeypatch.setenv("RAY_ADDRESS", given)
        assert connection._address("ray") is None
    monkeypatch.delenv("RAY_ADDRESS")
    assert connection._address("ray") is None


def test_another_run_in_the_way_is_refused_before_any_is_trained(
    lines: list[str], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    jobs = [Job(SHORT, tmp_path / "run"), Job(SHORT, tmp_path / "other")]
    with pytest.raises(InvalidInput, match=r"other: expected a new or empty folder"):
        run_jobs(jobs, cluster=NOBODY)
    assert lines == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("keep_going", [True, False])
def test_a_job_that_loses_node_after_node_is_given_up(
    keep_going: bool, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(SHORT, tmp_path / "run")
    course = cluster._Course([job], deque(), {})
    for attempt in range(cluster.TRIES):
        assert not course.outcomes
        with ExitStack() as stack:
            own = cast(Any, None)
            one = cluster._Running(1, job, own, stack, "new", None, False, f"node-{attempt}")
            cluster._lost(course, one, keep_going)
        assert list(course.waiting) == [0] * (attempt < cluster.TRIES - 1)
        course.waiting.clear()
    said = "its node was lost 3 times, last node-2"
    assert course.outcomes == {0: Outcome(job, said)}
    assert lines[0] == f"1 of 1: {job.folder}: node-0 was lost; it begins anew elsewhere"
    assert (f"{job.folder}: {said}" in lines) is keep_going
    assert (f"{job.folder}: {said}" in capsys.readouterr().err) is not keep_going
    assert course.exit_code == (None if keep_going else 1)


DIVERGING = resolve(
    replace(
        SHORT,
        network=replace(SHORT.network, nonlinearity="relu"),
        optimization=OptimizationConfig(optimizer="sgd", learning_rate=1e25),
    )
)


@pytest.mark.slow
def test_a_run_that_fails_stops_the_others_unless_they_are_to_go_on(
    nodes: Nodes, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [Job(DIVERGING, tmp_path / "bad"), Job(LONG, tmp_path / "good")]
    with pytest.raises(SystemExit) as stop:
        run_jobs(jobs, cluster=nodes.address)
    assert stop.value.code == 1
    assert f"{jobs[0].folder}: the training loss is " in capsys.readouterr().err
    assert jobs[1].state == "stopped"
    jobs = [Job(DIVERGING, tmp_path / "other"), jobs[1]]
    bad, good = run_jobs(jobs, cluster=nodes.address, keep_going=True)
    assert good.failure is None
    assert bad.failure is not None
    assert " at step " in bad.failure
    assert f"{jobs[0].folder}: {bad.failure}" in lines
    assert "/root" not in bad.failure


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_runs_with_checkpoints_that_come_back(
    number: int, nodes: Nodes, lines: list[str], tmp_path: Path
) -> None:
    long = replace(LONG, epochs=6000, eval_every=6000)  # the only checkpoint is that of the stop
    jobs = [Job(replace(long, seed=seed), tmp_path / f"{seed}") for seed in range(3)]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def send() -> None:
        time.sleep(1)
        os.kill(os.getpid(), number)

    sender = when_there_is(jobs[1].folder / run_folder.CONFIG, send)
    with pytest.raises(Interrupted) as stop:
        run_jobs(jobs, cluster=nodes.address)
    sender.join()
    assert stop.value.number == number
    assert not jobs[2].folder.exists()
    assert jobs[1].state == "stopped"
    (reached,) = checkpoint.steps(jobs[1].folder)
    assert 0 < reached < 6000
    lines.clear()
    run_jobs(jobs[1:2], cluster=nodes.address)
    train(jobs[1].config, tmp_path / "here", quiet=True)
    check_same(jobs[1].folder, tmp_path / "here")
