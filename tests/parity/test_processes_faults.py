"""Processes that take steps together and fail: each fault ends in one clear line, and leaves no
process behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from shared.config import Config, resolve
from shared.errors import InvalidInput, LostProcess
from shared.parity import crew, lockstep
from shared.parity.comparison import Diverged
from shared.parity.crew import Crew
from shared.parity.lockstep import Side
from shared.tasks import TASKS, load_task
from tests.support.command_line import SCRIPTS

CONFIG: Config = resolve(replace(TASKS["hello"].defaults, precision="float64", epochs=20))
CHILD = """
import os
from shared.parity import worker
rank = int(os.environ["RANK"])
{}
worker.main()
"""
DIFFERENT_WEIGHTS = """
take = worker._trace
def other(program, state, start, rates):
    state, trace, sums = take(program, state, start, rates)
    if rank == 1:
        trace["weights/head.bias"][3:] += 1e-12
    return state, trace, worker.checksums(trace)
worker._trace = other
"""
OTHER_DATA = """
load = worker._load
worker._load = lambda *given: load(*given)._replace(fingerprint=f"data of {rank}")
"""
HAS_NO_FILE = """
from shared.errors import InvalidInput
load = worker._load
def load_unless_first(config, team):
    if rank == 1:
        raise InvalidInput("sales.csv: expected a file, got none")
    return load(config, team)
worker._load = load_unless_first
"""
ENDS_AT_ITS_START = """
if rank == 1:
    raise SystemExit("no such library")
"""


def with_change(change: str) -> list[str]:
    """The program of a process, with a change in its code."""
    return [sys.executable, "-P", "-c", CHILD.format(change)]


@contextmanager
def side(change: str = "", count: int = 2) -> Iterator[tuple[Crew, Side]]:
    with crew.started(count, worker=with_change(change)) as found:
        yield found, lockstep.side(CONFIG, load_task(CONFIG), "torch/handcrafted", found)


def gone(pid: int) -> bool:
    """Tells whether a process ends within a few seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":  # it has ended, and nobody has asked how
            return True
        time.sleep(0.05)
    return False


def steps(of: Side, count: int) -> None:
    for _ in lockstep.step_traces(CONFIG, of, count):
        pass


def test_a_killed_process_is_named_at_once_and_none_is_left() -> None:
    with side() as (found, taken):
        pids = found.pids
        steps(taken, 2)
        os.kill(pids[1], signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(LostProcess, match=r"^process 1 of 2 was killed by SIGKILL$"):
            steps(taken, 2)
        with pytest.raises(LostProcess, match=r"^process 1 of 2 was killed by SIGKILL$"):
            steps(taken, 2)
        assert time.monotonic() - began < 20
    assert all(map(gone, pids))


@pytest.mark.slow
def test_a_stopped_process_is_an_error_and_not_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(crew, "QUIET_S", 4.0)
    with side() as (found, taken):
        pids = found.pids
        steps(taken, 2)
        os.kill(pids[0], signal.SIGSTOP)
        expected = r"^no answer from process 0.* of 2: expected one within 4 s, in which they"
        with pytest.raises(LostProcess, match=expected):
            steps(taken, 2)
    assert all(map(gone, pids))


def test_a_process_that_ends_at_its_start_says_why() -> None:
    expected = r"^process 1 of 2 ended with exit code 1: no such library$"
    with pytest.raises(LostProcess, match=expected), side(ENDS_AT_ITS_START):
        pass


def test_what_one_process_refuses_is_said_with_its_number() -> None:
    expected = r"^process 1: sales\.csv: expected a file, got none$"
    with pytest.raises(InvalidInput, match=expected), side(HAS_NO_FILE):
        pass


def test_a_process_that_reads_other_data_is_refused() -> None:
    expected = r"^process 0 of 2 reads other data: expected [0-9a-f]+, got data of 0$"
    with pytest.raises(InvalidInput, match=expected), side(OTHER_DATA):
        pass


def test_processes_that_hold_different_weights_are_named_with_the_step() -> None:
    with side(DIFFERENT_WEIGHTS) as (_, taken):
        expected = r"^processes 0 and 1 hold different weights after step 4$"
        with pytest.raises(Diverged, match=expected):
            steps(taken, 5)


def test_states_that_nothing_refers_to_are_given_up() -> None:
    with side() as (_, taken):
        backend = taken.backend
        kept = backend.init(taken.start)
        for _ in range(3):
            backend.init(taken.start)
        batch = taken.batches.take(0, 1)
        kept, trace = backend.trace(kept, batch, lockstep.rates(CONFIG, taken, 0, 1))
        first = backend.export(kept)
        assert first.step == 1
        later, again = backend.trace(
            backend.init(taken.start), batch, lockstep.rates(CONFIG, taken, 0, 1)
        )
        assert later is not kept
        assert (again["loss/loss"] == trace["loss/loss"]).all()


@pytest.mark.slow
def test_an_interrupted_proof_leaves_no_process(tmp_path) -> None:
    """Stopped as Ctrl-C does it, while steps are taken."""
    words = ["--processes", "2", "--traces", "T", "--out", "X"]
    with subprocess.Popen(
        [sys.executable, str(SCRIPTS / "parity.py"), *words],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        deadline = time.monotonic() + 120
        while not list(tmp_path.rglob("step-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=120)
    assert (program.returncode, errors) == (130, "parity.py: interrupted\n")
    assert len(children) == 2
    assert all(gone(int(child)) for child in children)
    assert not list(tmp_path.iterdir())


def test_processes_end_with_a_program_that_is_killed(tmp_path) -> None:
    code = (
        "import sys, time\nfrom shared.parity.crew import started\n"
        "with started(2) as crew:\n    print(*crew.pids, flush=True)\n    time.sleep(100)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        pids = [int(word) for word in program.stdout.readline().split()]
        program.kill()
    assert len(pids) == 2
    assert all(map(gone, pids))
