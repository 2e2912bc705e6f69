"""A data set of 4 GB trains in a process that may have 1 GB of memory of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import SCRIPTS

SIZE, LIMIT = 4 * 10**9, 10**9
DATA = [
    "--task", "last-value", "--data.train-examples", "1000000", "--data.valid-examples", "1000",
    "--data.test-examples", "1000", "--data.folder", "data",
]  # fmt: skip
# Runs scripts/run.py and watches it. RssAnon is memory of its own, unlike pages of mapped files,
# which the system takes back when it needs them.
WATCHED = """
import json, runpy, sys, threading, time

peak = [0]
def watch():
    while True:
        with open("/proc/self/status") as status:
            now = next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
        peak[0] = max(peak[0], 1024 * now)
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(f"most memory of its own: {peak[0]}")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_four_gigabytes_train_in_one(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < 1.5 * SIZE:
        pytest.skip("needs 6 GB of disk")
    try:
        for backend in ("jax", "torch"):
            command = [sys.executable, "-c", WATCHED, str(SCRIPTS / "run.py"), *DATA]
            command += [
                "--backend",
                backend,
                "--hidden-size",
                "8",
                "--batch-size",
                "2048",
                "--epochs",
                "1",
            ]
            finished = subprocess.run(
                [*command, "--out", backend], cwd=tmp_path, env=os.environ,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert finished.returncode == 0, finished.stderr
            assert (tmp_path / "data" / "train-inputs.npy").stat().st_size > SIZE
            summary = json.loads((tmp_path / backend / "summary.json").read_text())
            assert summary["steps"] == 489
            *_, last = finished.stdout.splitlines()
            peak = int(last.rpartition(" ")[2])
            assert 10**8 < peak < LIMIT
    finally:
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
