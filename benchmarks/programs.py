"""Whole programs on the clock, from start to exit: the job, and how long it takes to begin."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.results import Program, Results
from benchmarks.run import FEW, ROOT, ContenderFailed, Plan, Say, environment
from shared.errors import InvalidInput

TUTORIAL, OURS, AGAIN = "job, benchmarks/tutorial.py", "job, scripts/run.py", "job, run.py again"
HELP, COLD, WARM = "--help", "hello, cold", "hello, warm"
START, JOB = (HELP, COLD, WARM), (TUTORIAL, OURS, AGAIN)


def commands(device: str, scratch: Path) -> dict[str, list[str]]:
    """Returns name → arguments of Python. A first run has an empty cache of compiled programs,
    unless one of the others has filled it; the one after it finds what it needs."""
    run = str(ROOT / "scripts" / "run.py")
    cuda = "cuda" if device == "gpu" else "cpu"
    hello = [run, "--backend", "jax", "--device", device]
    job = [*hello, "--task", "random-labels", "--epochs", "1"]
    return {
        HELP: [run, "--help"],
        COLD: [*hello, "--out", str(scratch / "cold")],
        WARM: [*hello, "--out", str(scratch / "warm")],
        TUTORIAL: [str(ROOT / "benchmarks" / "tutorial.py"), "--device", cuda],
        OURS: [*job, "--out", str(scratch / "job")],
        AGAIN: [*job, "--out", str(scratch / "again")],
    }


def measure(results: Results, plan: Plan, save: Callable[[], None], say: Say) -> None:
    """Runs the planned programs in turn, round by round, and appends to the results.

    Raises:
        InvalidInput: one of them cannot run here.
        ContenderFailed: one of them failed.
    """
    names = START * ("start" in plan.parts) + JOB * ("job" in plan.parts)
    rounds = min(FEW, plan.repeats) if names else 0
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as scratch:
            for name, command in commands(plan.device, Path(scratch)).items():
                if name in names:
                    say(f"programs, round {number}/{rounds}", name)
                    results.programs.append(_run(name, number, command, Path(scratch)))
        save()


def _run(name: str, number: int, command: list[str], scratch: Path) -> Program:
    # A cache that a program keeps for its user lies in scratch, empty at first.
    env = environment("auto") | {"XDG_CACHE_HOME": str(scratch / "cache")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, *command], env=env, cwd=scratch, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            last = output.read().decode(errors="replace").strip().splitlines()[-1:]
            if process.returncode == 2:  # what it was asked for cannot be had here
                raise InvalidInput(f"{name}: {' '.join(last)}")
            raise ContenderFailed(f"{name}: exit code {process.returncode}: {' '.join(last)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum(getattr(after, k) - getattr(before, k) for k in ("ru_utime", "ru_stime"))
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return Program(name, number, round(wall, 3), round(cpu, 3), round(peak, 1))


def walls(results: Results) -> dict[str, dict[int, float]]:
    """Returns program → round → seconds from start to exit."""
    found: dict[str, dict[int, float]] = {}
    for program in results.programs:
        found.setdefault(program.name, {})[program.round] = program.wall_s
    return found
