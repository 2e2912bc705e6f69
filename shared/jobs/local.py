"""Training of many runs on this machine, each in a process on its share of the cores."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from shared.jobs.command import run_command, run_options
from shared.jobs.job import Job, Outcome
from shared.runs.run_folder import save_config
from shared.system import process
from shared.system.children import Children
from shared.system.signals import SIGNALS, Interrupted


def run_here(
    plan: Sequence[Job], at_once: int, tune_allocator: bool, keep_going: bool
) -> list[Outcome]:
    """Trains the runs that are not done; after a signal, or a failure without `keep_going`, it
    starts no other run."""
    states = [job.state for job in plan]
    shares = list(range(at_once))
    stop = Event()

    def bind() -> None:
        """Limits this thread, and so the processes that it starts, to its share of the cores."""
        share = shares.pop()
        if at_once > 1 and hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, cores[share::at_once])

    def train(number: int, job: Job, state: str) -> Outcome:
        if stop.is_set():
            return Outcome(job, "was not started")
        announce(f"{number} of {len(plan)}: {job.folder}" + " (done)" * (state == "done"))
        try:
            return Outcome(job, None if state == "done" else _train(job, children))
        except BaseException:  # also SystemExit, if the run failed
            stop.set()
            raise

    def _train(job: Job, children: Children) -> str | None:
        with tempfile.TemporaryDirectory() as scratch:
            save_config(Path(scratch), job.config)
            file, folder = Path(scratch, "config.json"), str(job.folder)
            options = run_options(job.config, job.state, folder, file, job.overwrite)
            command = run_command(options, tune_allocator)
            if keep_going:
                return run_quietly(command, folder, children)
            run_or_exit(command, folder, children, quiet=at_once > 1)
            return None

    with Children() as children, ThreadPoolExecutor(at_once, initializer=bind) as pool:
        try:
            return list(pool.map(train, range(1, len(plan) + 1), plan, states))
        except BaseException:  # also KeyboardInterrupt
            stop.set()
            raise


def announce(line: str) -> None:
    """Prints a line at once: print would let another thread write between it and its end."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run_or_exit(command: Sequence[str], name: str, children: Children, quiet: bool) -> None:
    """Runs a program; ends this one if it fails.

    Args:
        name: what the program trains, for a message about a signal that killed it.
        quiet: show nothing that it prints but errors.
    """
    code = children.run(command, stdout=subprocess.DEVNULL if quiet else None)
    if code < 0:
        process.say(f"{name} was killed by signal {-code}")
    if code:  # it has said why
        sys.exit(code if code > 0 else 1)


def run_quietly(command: Sequence[str], name: str, children: Children) -> str | None:
    """Runs a program that shows nothing; returns the last line of its stderr if it fails.

    Raises:
        Interrupted: a signal ended it.
    """
    with tempfile.TemporaryFile() as errors:
        code = children.run(command, stdout=subprocess.DEVNULL, stderr=errors)
        errors.seek(0)
        line = last_line(errors.read())
    if code - 128 in SIGNALS:
        raise Interrupted(code - 128, line)
    if code < 0:
        line = f"was killed by signal {-code}"
    if code == 0:
        return None
    failure = line or f"ended with the exit code {code}"
    announce(f"{name}: {failure}")
    return failure


def last_line(errors: bytes) -> str:
    """Returns the last line of what a program wrote on stderr, without the command's name."""
    lines = errors.decode(errors="replace").replace("\r", "\n").split("\n")
    line = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return line.removeprefix("rnn-parity run: ")
