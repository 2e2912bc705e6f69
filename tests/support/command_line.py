"""The scripts as a user calls them, and what a refusal must look like."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"
SMALL = [
    "--data.train-examples", "40", "--data.valid-examples", "8", "--data.test-examples", "9",
    "--data.sequence-length", "5", "--data.input-size", "3", "--hidden-size", "4",
    "--batch-size", "16", "--epochs", "3",
]  # fmt: skip


def script(
    name: str, *arguments: str, cwd: Path, **environment: str
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / name), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "60"} | environment,
    )


def check_refused(finished: subprocess.CompletedProcess, *expected: str) -> None:
    """Exit code 2, and exactly one line on stderr, with every expected part in it."""
    assert finished.returncode == 2, (finished.returncode, finished.stderr)
    lines = finished.stderr.splitlines()
    assert len(lines) == 1, finished.stderr
    for part in expected:
        assert part in lines[0], (part, lines[0])
