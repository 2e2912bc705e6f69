"""`kill -9` at any moment loses nothing: what goes on is the uninterrupted run, bit for bit.

Once at each point at which a run changes its folder, and once at random moments of real runs.
"""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.runs import checkpoint, history, run_folder
from tests.support.command_line import SCRIPTS, script
from tests.support.fault_points import check_same, survived
from tests.support.fuzz import SEED

OPTIONS = ["--task", "last-value", "--data.train-examples", "640", "--data.valid-examples", "8",
           "--data.test-examples", "9", "--data.sequence-length", "6", "--data.input-size", "3",
           "--hidden-size", "5", "--batch-size", "16", "--checkpoint-every", "7"]  # fmt: skip
EPOCHS = {"torch": "20", "jax": "400"}
"""Some seconds of training."""


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_goes_on_after_each_point_at_which_it_is_killed(every: int, tmp_path: Path) -> None:
    assert survived("kill", tmp_path, every) > 80 // every, "91 were found before"


def kill_after(process: subprocess.Popen, history_file: Path, size: int, seconds: float) -> bool:
    """Kills a process so long after its history has grown to a size; False if it ended before."""
    while not (history_file.exists() and history_file.stat().st_size >= size):
        if process.poll() is not None:
            return False
        time.sleep(0.001)
    time.sleep(seconds)
    process.kill()
    return process.wait() != 0


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_runs_go_on_after_kills_at_random_moments(backend: str, tmp_path: Path) -> None:
    """10 runs in each framework, each killed at a random size of its history, and every second one
    once more where it goes on; some before their first step."""
    drawn = random.Random(SEED)
    command = [sys.executable, str(SCRIPTS / "run.py"), "--backend", backend, *OPTIONS]
    command += ["--epochs", EPOCHS[backend], "--out"]
    whole = subprocess.run([*command, "whole"], cwd=tmp_path, capture_output=True, check=False)
    assert whole.returncode == 0, whole.stderr
    length = (tmp_path / "whole" / history.METRICS).stat().st_size
    run, reached = tmp_path / "run", []
    for number in range(10):
        kills = 1 + number % 2
        while not (run / run_folder.SUMMARY).exists():
            begun = (run / run_folder.CONFIG).exists()
            go_on = [*command[:2], "--resume", "run"] if begun else [*command, "run"]
            process = subprocess.Popen(
                go_on, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            size = drawn.choice([0, drawn.randrange(length), drawn.randrange(length)])
            if kills and kill_after(process, run / history.METRICS, size, drawn.uniform(0, 0.05)):
                kills -= 1
                steps = checkpoint.steps(run)
                reached.append(steps[-1] if steps else 0)
            said = process.communicate(timeout=300)[1].decode()
            assert process.returncode in (0, -9), f"FUZZ_SEED={SEED}, run {number}: {said}"
        # The pictures are drawn after all that counts.
        for part in (run, tmp_path / "whole"):
            for picture in part.glob("*.png"):
                picture.unlink()
        check_same(run, tmp_path / "whole")
        shutil.rmtree(run)
    print(f"killed {len(reached)} times, after the checkpoints of steps {reached}")
    assert len(reached) >= 10, f"FUZZ_SEED={SEED}: too few were killed before their end"
    assert any(reached), f"FUZZ_SEED={SEED}: none was killed in training"


def test_what_differs_is_found(tmp_path: Path) -> None:
    ran = script("run.py", "--backend", "torch", *OPTIONS, "--epochs", "1", "--out", "run",
                 cwd=tmp_path)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    other = shutil.copytree(tmp_path / "run", tmp_path / "other")
    check_same(tmp_path / "run", other)
    (other / "metrics.jsonl").write_bytes((other / "metrics.jsonl").read_bytes()[:-1])
    with pytest.raises(AssertionError, match=r"metrics\.jsonl"):
        check_same(tmp_path / "run", other)
