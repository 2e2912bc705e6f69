"""A disk that is full or cannot be written to ends a run in one line, and costs nothing."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.runs import checkpoint
from tests.support.command_line import SCRIPTS, check_refused, script
from tests.support.fault_points import check_same, survived

OPTIONS = ["--backend", "torch", "--task", "last-value", "--data.train-examples", "640",
           "--data.valid-examples", "8", "--data.test-examples", "9", "--data.sequence-length", "6",
           "--data.input-size", "3", "--hidden-size", "5", "--batch-size", "16",
           "--epochs", "15"]  # fmt: skip


def mount(folder: Path, *options: str) -> None:
    made = subprocess.run(
        ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.decode().strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "-o", "size=1m")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    whole = script("run.py", *OPTIONS, "--out", "whole", cwd=folder)
    assert whole.returncode == 0, whole.stderr
    return folder / "whole"


def check_resumed(run: Path, whole: Path) -> None:
    resumed = script("run.py", "--resume", str(run), cwd=run.parent)
    assert resumed.returncode == 0, resumed.stderr
    check_same(run, whole)


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_goes_on_after_each_point_at_which_its_disk_is_full(
    every: int, tmp_path: Path
) -> None:
    assert survived("full", tmp_path, every) > 80 // every, "88 were found before"


def test_a_run_on_a_full_disk_stops_in_a_line_and_goes_on(
    disk: Path, whole: Path, tmp_path: Path
) -> None:
    filler = disk / "filler"
    filler.write_bytes(bytes(980_000))
    stopped = script("run.py", *OPTIONS, "--out", str(disk / "run"), cwd=tmp_path)
    assert stopped.returncode == 1
    (line,) = stopped.stderr.splitlines()
    assert line.startswith(f"run.py: {disk / 'run'}/")
    step = checkpoint.steps(disk / "run")[-1]
    advice = f"when it can be, --resume {disk / 'run'} goes on after step {step}"
    assert line.endswith(f": No space left on device; {advice}")
    assert 0 < step < 600
    assert not [file.name for file in (disk / "run").iterdir() if file.name.endswith(".tmp")]
    filler.unlink()
    check_resumed(disk / "run", whole)


def test_a_quota_stops_in_a_line_and_goes_on(whole: Path, tmp_path: Path) -> None:
    """The history grows to 20 kB and no further."""
    stopped = subprocess.run(
        [sys.executable, str(SCRIPTS / "run.py"), *OPTIONS, "--out", "run"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )  # fmt: skip
    assert stopped.returncode == 1
    step = checkpoint.steps(tmp_path / "run")[-1]
    advice = f"when it can be, --resume run goes on after step {step}"
    assert stopped.stderr == f"run.py: run/metrics.jsonl: File too large; {advice}\n"
    assert 0 < step < 600
    check_resumed(tmp_path / "run", whole)


def test_a_folder_that_cannot_be_written_to_is_refused(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "read-only").mkdir()
    inside = tmp_path / "read-only" / "run"
    shutil.copytree(whole, inside)
    if os.geteuid() == 0:  # whom permissions do not stop
        mount(tmp_path / "read-only", "-o", "ro")
        outcome = "Read-only file system"
        resumable = False
    else:
        inside.chmod(0o555)
        (tmp_path / "read-only").chmod(0o555)
        outcome, resumable = "Permission denied", True
    try:
        new = script("run.py", *OPTIONS, "--out", "read-only/new", cwd=tmp_path)
        check_refused(new, "run.py: --out read-only/new: expected a folder that can be written to",
                      outcome)  # fmt: skip
        if resumable:
            resumed = script("run.py", "--resume", "read-only/run", "--epochs", "40", cwd=tmp_path)
            check_refused(resumed, "run.py: --resume read-only/run: expected a folder that can be")
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(tmp_path / "read-only")], check=True)
        else:
            (tmp_path / "read-only").chmod(0o755)
            inside.chmod(0o755)
    check_same(inside, whole)
