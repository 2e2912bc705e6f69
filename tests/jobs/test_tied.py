"""A program that ends with the process that started it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STOPPED = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (open('stopped', 'w').close(), sys.exit(143)))\n"
    "open('ready', 'w').close()\n"
    "time.sleep(30)"
)


def tied(folder: Path, code: str | None) -> subprocess.Popen[bytes]:
    (folder / "scratch").mkdir()
    program = [sys.executable, "-P", "-m", "shared.jobs.tied", str(folder / "scratch")]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    if code is not None:
        order = {"command": [sys.executable, "-c", code], "directory": str(folder)}
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
    return process


def said(process: subprocess.Popen[bytes]) -> int:
    """The exit code that it writes."""
    assert process.stdout is not None
    return int(process.stdout.readline())


def close(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def wait_for(file: Path) -> None:
    for _ in range(400):
        if file.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{file} has not come")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("print('noise')", 0),
        ("import sys; sys.exit(2)", 2),
        ("import os; os.kill(os.getpid(), 9)", 137),
    ],
)
def test_the_exit_code_is_told_and_the_folder_stays_until_the_end(
    code: str, status: int, tmp_path: Path
) -> None:
    with tied(tmp_path, code) as process:
        assert said(process) == status
        assert (tmp_path / "scratch").is_dir()
        process.send_signal(signal.SIGTERM)  # too late: it still removes the folder
        close(process)
        assert process.wait(20) == 0
    assert not (tmp_path / "scratch").exists()


def test_a_signal_reaches_the_command(tmp_path: Path) -> None:
    with tied(tmp_path, STOPPED) as process:
        wait_for(tmp_path / "ready")
        process.send_signal(signal.SIGTERM)
        assert said(process) == 143
        assert (tmp_path / "stopped").exists()
        assert (tmp_path / "scratch").is_dir()
        close(process)
        assert process.wait(20) == 0


@pytest.mark.parametrize("code", [None, STOPPED])
def test_all_is_gone_when_whoever_started_it_is_gone(code: str | None, tmp_path: Path) -> None:
    with tied(tmp_path, code) as process:
        if code is not None:
            wait_for(tmp_path / "ready")
        assert process.stdout is not None
        process.stdout.close()
        close(process)
        assert process.wait(20) == 0
    assert (tmp_path / "stopped").exists() is (code is not None)
    assert not (tmp_path / "scratch").exists()
