"""Processes of one run of which one is killed, stopped or fails: all end, with one line, and the
run goes on from its folder as if nothing had been."""

import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from shared.config import Config
from shared.config.data import GeneratedData
from shared.config.settings import NetworkConfig
from shared.runs import run_folder
from shared.tasks import TASKS
from shared.training import train
from tests.support.same_runs import check_same_run
from tests.support.torchrun import Ended, bare, program, torchrun

WORDS = ["--task", "last-value", "--data.train-examples", "40", "--data.valid-examples", "8",
         "--data.test-examples", "9", "--data.sequence-length", "6", "--data.input-size", "3",
         "--hidden-size", "5", "--num-layers", "2", "--dropout", "0.2", "--batch-size", "16",
         "--epochs", "4", "--checkpoint-every", "2", "--precision", "float64"]  # fmt: skip
"""3 steps an epoch, of which the last one has 8 rows."""
CONFIG: Config = replace(
    TASKS["last-value"].defaults,
    precision="float64",
    network=NetworkConfig(hidden_size=5, num_layers=2, dropout=0.2),
    data=GeneratedData(40, 8, 9, sequence_length=6, input_size=3),
    epochs=4,
    batch_size=16,
    checkpoint_every="2",
)
BACKENDS = ["torch", "jax"]
MOMENTS = {
    "joining": 'before("rnn_{backend}.processes", "", "join", kill)',
    "data": 'before("shared.training.prepare", "", "load_together", kill)',
    "first step": 'before("rnn_{backend}.backend", "Backend", "advance", kill)',
    "compiling": (
        'before("rnn_{backend}.backend", "Backend", "advance", threading.Timer(0.3, kill).start)'
    ),
    "steps": 'before("shared.training.record", "Record", "read", kill, 5)',
    "checkpoint": 'before("shared.training.record", "Record", "_write", kill, 3)',
    "half a checkpoint": 'before("os", "", "fsync", kill, 7)',
    "scoring": 'before("shared.training.record", "Record", "test", kill)',
}
"""What is killed where."""
QUICK = [("torch", 1, "checkpoint"), ("jax", 0, "steps")]


def words(backend: str, *more: str) -> list[str]:
    return ["--backend", backend, *WORDS, "--out", "run", *more]


def killed_at(moment: str, backend: str, rank: int) -> str:
    """Code by which the process of a rank is killed."""
    return f"if RANK == {rank}:\n    {MOMENTS[moment].format(backend=backend)}\n"


@pytest.fixture(scope="session")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {}


@pytest.fixture
def whole(
    request: pytest.FixtureRequest,
    wholes: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of the uninterrupted run of one process in PyTorch."""
    if "torch" not in wholes:
        wholes["torch"] = tmp_path_factory.mktemp("whole") / "run"
        train(replace(CONFIG, backend="torch"), wholes["torch"], quiet=True)
    return wholes["torch"]


def check_goes_on(run: Path, whole: Path, backend: str) -> None:
    """Resumes a run in one process, or begins it where nothing of it was written."""
    begun = run_folder.status(run).begun
    train(replace(CONFIG, backend=backend), run, resume=begun, quiet=True)
    check_same_run(run, whole)


def check_lost(ended: Ended, killed: int) -> None:
    """One line of a process that was not killed, which says that another one is gone."""
    (line,) = ended.ours
    other = 1 - killed
    assert f"process {other} of 2 " in line, line
    assert "lost its connection to another one" in line or "found no other" in line, line


@pytest.mark.parametrize(("backend", "rank", "moment"), QUICK)
def test_the_others_end_in_a_line_where_one_is_killed(
    backend: str, rank: int, moment: str, whole: Path, tmp_path: Path
) -> None:
    """No launcher looks after them."""
    file = program(tmp_path, killed_at(moment, backend, rank))
    with bare(file, words(backend), cwd=tmp_path) as found:
        ended = found.ended()
    assert ended.codes[rank] == -signal.SIGKILL
    assert ended.codes[1 - rank] == 1, ended.err
    check_lost(ended, rank)
    check_goes_on(tmp_path / "run", whole, backend)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [moment for moment in MOMENTS if moment != "joining"])
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_others_end_in_a_line_wherever_one_is_killed(
    backend: str, rank: int, moment: str, whole: Path, tmp_path: Path
) -> None:
    if (moment, rank) == ("half a checkpoint", 1):
        pytest.skip("rank 1 writes none")
    if (moment, backend) == ("compiling", "torch"):
        pytest.skip("torch compiles nothing")
    test_the_others_end_in_a_line_where_one_is_killed(backend, rank, moment, whole, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["joining", "data", "steps", "scoring"])
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("backend", BACKENDS)
def test_torchrun_ends_wherever_one_is_killed(
    backend: str, rank: int, moment: str, whole: Path, tmp_path: Path
) -> None:
    file = program(tmp_path, killed_at(moment, backend, rank))
    with torchrun(file, words(backend), cwd=tmp_path) as found:
        ended = found.ended()
    assert ended.codes == [1], ended.err
    assert "SIGKILL" in ended.err
    if moment == "joining":  # torchrun stops the other, and says why
        assert len(ended.ours) <= 1, ended.ours
    elif "interrupted" not in "".join(ended.ours):  # stopped before it noticed by itself
        check_lost(ended, rank)
    assert len(ended.ours) == 1 or moment == "joining"
    check_goes_on(tmp_path / "run", whole, backend)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_process_that_does_not_come_is_not_waited_for(
    backend: str, rank: int, tmp_path: Path
) -> None:
    shorter = f'importlib.import_module("rnn_{backend}.processes").JOIN_S = 5\n'
    file = program(tmp_path, shorter + killed_at("joining", backend, rank))
    with bare(file, words(backend), cwd=tmp_path) as found:
        ended = found.ended()
    assert ended.codes[1 - rank] == 1, ended.err
    (line,) = ended.ours
    assert f"process {1 - rank} of 2 found no other at 127.0.0.1:" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_is_started_anew_goes_on_from_its_last_checkpoint(
    backend: str, rank: int, whole: Path, tmp_path: Path
) -> None:
    file = program(tmp_path, killed_at("steps", backend, rank))
    options = ["--max-restarts", "1"]
    with torchrun(file, words(backend), cwd=tmp_path, options=options) as found:
        ended = found.ended(120)
    assert ended.codes == [0], ended.err
    check_lost(ended, rank)
    assert re.search(r"resuming run after step [4-6] of 12", ended.out), ended.out
    check_same_run(tmp_path / "run", whole)


@pytest.mark.slow
def test_restarts_without_a_folder_are_refused(tmp_path: Path) -> None:
    file, options = program(tmp_path), ["--max-restarts", "1"]
    with torchrun(file, ["--backend", "torch"], cwd=tmp_path, options=options) as found:
        ended = found.ended(90)
    assert set(ended.ours) == {
        "run.py: --max-restarts 1: expected --out FOLDER beside it, from which a run that is "
        "started anew goes on"
    }
    assert not (tmp_path / "runs").exists()


PAUSE = """
def pause():
    open(f"at-{RANK}", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)

before("shared.training.record", "Record", "read", pause, 5)
"""
"""Both processes wait in their steps for the test."""


def check_interrupted(found: Ended, number: int, run: Path, whole: Path) -> None:
    (line,) = found.ours
    assert re.fullmatch(r"run\.py: interrupted; --resume run goes on after step [5-9]", line), line
    train(replace(CONFIG, backend="torch"), run, resume=True, quiet=True)
    check_same_run(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_signal_to_torchrun_ends_in_a_checkpoint(
    backend: str, number: int, whole: Path, tmp_path: Path
) -> None:
    with torchrun(program(tmp_path, PAUSE), words(backend), cwd=tmp_path) as found:
        for rank in range(2):
            found.wait_for(tmp_path / f"at-{rank}")
        os.kill(found.programs[0].pid, number)
        found.said("stopping after the steps at hand")
        (tmp_path / "go").touch()
        ended = found.ended()
    assert ended.codes != [0], ended.err
    check_interrupted(ended, number, tmp_path / "run", whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_signal_to_one_process_is_one_to_all(
    backend: str, rank: int, number: int, whole: Path, tmp_path: Path
) -> None:
    with bare(program(tmp_path, PAUSE), words(backend), cwd=tmp_path) as found:
        for each in range(2):
            found.wait_for(tmp_path / f"at-{each}")
        found.programs[rank].send_signal(number)
        (tmp_path / "go").touch()
        ended = found.ended()
    assert ended.codes == [128 + number] * 2, ended.err
    check_interrupted(ended, number, tmp_path / "run", whole)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_full_disk_ends_all(backend: str, whole: Path, tmp_path: Path) -> None:
    full = """
def full():
    raise OSError(28, os.strerror(28), "run/metrics.jsonl")
if RANK == 0:
    before("shared.runs.history", "History", "sync", full, 4)
"""
    with bare(program(tmp_path, full), words(backend), cwd=tmp_path) as found:
        ended = found.ended()
    assert ended.codes[0] == 1
    assert ended.codes[1] == 1
    (line,) = ended.ours
    expected = (
        r"run\.py: run/metrics\.jsonl: No space left on device; when it can be, --resume run "
    )
    assert re.fullmatch(expected + r"goes on after step [45]", line), line
    check_goes_on(tmp_path / "run", whole, backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_diverges_ends_all(backend: str, tmp_path: Path) -> None:
    nan = """
import numpy as np
from shared.training.record import Record
read = Record.read
def read_nan(self, call, metrics, anomaly):
    read(self, call, metrics._replace(loss=np.asarray(metrics.loss) * np.nan), anomaly)
Record.read = read_nan
"""
    with bare(program(tmp_path, nan), words(backend), cwd=tmp_path) as found:
        ended = found.ended()
    assert ended.codes == [1, 1]
    (line,) = ended.ours
    assert line.startswith("run.py: the training loss is nan at step 1 ("), line


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_process_that_hangs_is_not_waited_for(
    backend: str, rank: int, whole: Path, tmp_path: Path
) -> None:
    shorter = 'importlib.import_module("shared.system.heartbeat").BEATS = 5\n'
    stop = f"""
def stop():
    os.kill(os.getpid(), signal.SIGSTOP)
if RANK == {rank}:
    before("shared.training.record", "Record", "read", stop, 5)
"""
    with bare(program(tmp_path, shorter + stop), words(backend), cwd=tmp_path) as found:
        code = found.programs[1 - rank].wait(60)
        found.programs[rank].kill()
        ended = found.ended()
    assert code == 1, ended.err
    (line,) = ended.ours
    assert f"process {1 - rank} of 2 has heard nothing of process {rank} for 5 s: " in line
    check_goes_on(tmp_path / "run", whole, backend)
