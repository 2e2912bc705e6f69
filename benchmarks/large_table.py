"""A table of ten million rows: time and memory until it is read, and until a network trains on it.

    python -m benchmarks.large_table
    python -m benchmarks.large_table --rows 1000000 --groups 10

The table is made in a temporary folder: times minute by minute, two features and a target, with
`--groups` a further column of names. Each measurement is a process of its own. One reads the table
with `load_task`. The others are `scripts/run.py` in each framework: the first step is on the clock
until its line stands in the run's history, then the run gets a signal to stop.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.run import ROOT, ContenderFailed
from benchmarks.tables import formatted
from shared.config.data import ForecastData
from shared.runs.history import METRICS
from shared.tasks import TASKS, load_task

LONGEST_S = 600
"""Seconds after which a run without a step has failed."""
DAY = 1440


class Measured(NamedTuple):
    name: str
    seconds: float
    cpu_s: float
    """Processor time of the whole process, also of its stop."""
    peak_bytes: int
    """Most memory of the process."""


def make(path: Path, rows: int, groups: int) -> None:
    """Writes the table: a daily rhythm that follows a feature of an hour ago, and noise."""
    import polars as pl

    rng = np.random.default_rng(0)
    length = rows // groups
    minutes = np.arange(length)
    columns: dict[str, np.ndarray | pl.Series] = {}
    if groups > 1:
        columns["group"] = np.repeat([f"series {i}" for i in range(groups)], length)
    columns["time"] = np.tile(np.datetime64("2000-01-01T00:00", "ms") + 60_000 * minutes, groups)
    a, b = rng.standard_normal((2, groups, length))
    rhythm = np.sin(2 * np.pi * minutes / DAY)
    target = 10 + rhythm + np.roll(a, 60, axis=1) + 0.3 * rng.standard_normal((groups, length))
    columns |= {name: array.ravel() for name, array in (("a", a), ("b", b), ("target", target))}
    pl.DataFrame(columns).write_csv(path, float_precision=3)


def data_of(path: Path, groups: int) -> ForecastData:
    return ForecastData(
        path=(str(path),),
        target=("target",),
        features=("a", "b"),
        time="time",
        group=("group",) * (groups > 1),
    )


def load(path: Path, groups: int) -> None:
    """Reads the table and prints the seconds that it took."""
    start = time.perf_counter()
    load_task(replace(TASKS["forecast"].defaults, data=data_of(path, groups)))
    print(time.perf_counter() - start)


def measured_load(path: Path, groups: int, scratch: Path) -> Measured:
    command = ["-m", "benchmarks.large_table", "--groups", str(groups), "--load", str(path)]
    output = scratch / "load.txt"
    process = _started(command, output)
    used = _finished("load_task", process, output, {0})
    return Measured("load_task", float(output.read_text().split()[-1]), *used)


def measured_run(backend: str, path: Path, groups: int, scratch: Path) -> Measured:
    """Measures a run from its start to its first step, and its memory until it has stopped."""
    folder, output = scratch / backend, scratch / f"{backend}.txt"
    command = [str(ROOT / "scripts" / "run.py"), "--task", "forecast", "--backend", backend]
    data = data_of(path, groups)
    for name in ("path", "target", "features", "group"):
        values = getattr(data, name)
        command += [f"--data.{name}", *values] if values else []
    command += ["--data.time", "time", "--out", str(folder)]
    start = time.perf_counter()
    process = _started(command, output)
    history = folder / METRICS
    while not (history.exists() and history.stat().st_size):
        time.sleep(0.01)
        late = time.perf_counter() - start > LONGEST_S
        if late:
            process.kill()
        if late or os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
    seconds = time.perf_counter() - start
    os.kill(process.pid, signal.SIGTERM)  # which a process that has ended does not mind
    name = f"first step, {backend}"
    return Measured(name, seconds, *_finished(name, process, output, {0, 128 + signal.SIGTERM}))


def _started(command: Sequence[str], output: Path) -> subprocess.Popen[bytes]:
    with output.open("wb") as file:
        return subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=file, stderr=file)


def _finished(
    name: str, process: subprocess.Popen[bytes], output: Path, expected: set[int]
) -> tuple[float, int]:
    """Waits for a process; returns its processor time in seconds, and its most memory in bytes.

    Raises:
        ContenderFailed: it ended in another way than expected.
    """
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in expected:
        last = output.read_text(errors="replace").strip().splitlines()[-1:]
        raise ContenderFailed(f"{name}: exit code {process.returncode}: {' '.join(last)}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return usage.ru_utime + usage.ru_stime, peak


def measure(rows: int, groups: int) -> str:
    """Returns a table in Markdown.

    Raises:
        ContenderFailed: a process failed.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        path, output = scratch / "table.csv", scratch / "make.txt"
        sizes = ["--rows", str(rows), "--groups", str(groups)]
        # By a process of its own: Linux counts the memory of a parent as that of its children.
        command = ["-m", "benchmarks.large_table", *sizes, "--make", str(path)]
        _finished("the table", _started(command, output), output, {0})
        size = path.stat().st_size
        found = [measured_load(path, groups, scratch)]
        found += [measured_run(backend, path, groups, scratch) for backend in ("jax", "torch")]
    lines = [
        [one.name, f"{one.seconds:.1f}", f"{one.cpu_s:.1f}",
         f"{one.peak_bytes / 1e6:.0f}", f"{one.peak_bytes / size:.2f}"]
        for one in found
    ]  # fmt: skip
    header = ["", "seconds", "processor time, s", "most memory, MB", "times the file"]
    return f"{rows} rows, {size / 1e6:.0f} MB:\n\n{formatted(header, lines)}"


def main() -> None:
    about = "Reads a large table and begins to train on it; prints times and memory."
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_table", description=about)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the table")
    parser.add_argument("--groups", type=int, default=1, help="series among which they are shared")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make is not None:
        make(given.make, given.rows, given.groups)
    elif given.load is not None:
        load(given.load, given.groups)
    else:
        print(measure(given.rows, given.groups))


if __name__ == "__main__":
    main()
