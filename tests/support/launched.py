"""Processes of one run: the command as torchrun starts it, and processes that stay alive and answer
for many configurations what each computes of its rows."""

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from shared.config import Config
from shared.inference.evaluation import evaluate
from shared.parity import crew
from shared.parity.crew import Crew
from shared.parity.messages import Answer, Facts
from shared.protocol import Snapshot, load_backend
from shared.runs.checkpoint import flatten
from shared.system.team import ALONE, Team
from shared.tasks import load_task
from shared.tasks.batches import training_batches
from shared.tasks.start import first_position
from shared.tasks.together import load_together
from shared.training import train, train_seeds
from tests.support.command_line import SCRIPTS, WIDTH

LONGEST_S = 60
MARK = "RNN_PARITY_TEST"
"""Variable by which the processes that torchrun starts are found: each has a session of its own."""
SERVER = """
import os, sys
sys.path.insert(0, {root!r})
os.chdir(os.path.join({folder!r}, os.environ["RANK"]))
from shared.parity import worker
from tests.support.launched import answer
{change}
worker._answer = answer
worker.main()
"""
"""Program of a process that stays alive, with a change in its code."""
STEPS = 5
"""Most steps of a trace."""
RATE = 0.01
ROWS = 3
"""Sequences that are predicted."""


def torchrun(
    count: int, *arguments: str, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs `scripts/run.py` in several processes; none of them outlives the call.

    Raises:
        TimeoutExpired: they took longer than a minute, and were killed.
    """
    mark = uuid.uuid4().hex
    command = [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nproc-per-node", str(count), "--master-port", str(crew._port())),
        *(str(SCRIPTS / "run.py"), *arguments),
    ]
    variables = os.environ | WIDTH | {"OMP_NUM_THREADS": "1", MARK: mark} | environment
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=LONGEST_S)
    finally:
        process.kill()
        _kill_all(mark)
        process.wait()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _kill_all(mark: str) -> None:
    """Kills what is left of the processes with this mark in their environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


class Launched(NamedTuple):
    """Processes that stay alive. Each works in a folder of its own, named by its rank."""

    crew: Crew
    folder: Path

    def observed(self, config: Config) -> list[dict[str, np.ndarray]]:
        """Returns what `observe` finds in each process, by rank."""
        return [answer.value for answer in self.crew.ask("observe", config)]

    def trained(
        self, config: Config, run: Path | str, resume: bool = False, seeds: Sequence[int] = ()
    ) -> Path:
        """Trains a run, or one from each seed, and returns its folder, which only rank 0 has.

        Args:
            run: its folder, in that of each process.
        """
        self.crew.ask("train", config, str(run), resume, [*seeds])
        for rank in range(1, self.crew.count):
            left = [*(self.folder / str(rank)).iterdir()]
            assert not left, f"rank {rank} wrote {left}"
        return self.folder / "0" / run


@contextmanager
def processes(count: int, folder: Path, devices: int = 1, change: str = "") -> Iterator[Launched]:
    """Starts processes that stay alive; on the way out they are killed.

    Args:
        folder: where each gets a folder of its own.
        devices: JAX's CPU devices of each process.
        change: code that each of them runs first, such as a bug.
    """
    for rank in range(count):
        (folder / str(rank)).mkdir()
    program = SERVER.format(root=str(SCRIPTS.parent), folder=str(folder), change=change)
    with crew.started(count, devices, [sys.executable, "-P", "-c", program]) as found:
        yield Launched(found, folder)


@contextmanager
def two_when_needed(factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Launched]]:
    """Yields a function of a framework's name, which starts two processes when it is first called:
    they cannot take steps of both."""
    found: dict[str, Launched] = {}
    with ExitStack() as stack:

        def of(backend: str) -> Launched:
            if backend not in found:
                started = processes(2, factory.mktemp(backend))
                found[backend] = stack.enter_context(started)
            return found[backend]

        yield of


def answer(request: tuple[Any, ...], team: Team, *_: Any) -> Answer:
    """Answers a request in a process."""
    value = None
    match request:
        case "observe", Config() as config:
            value = observe(config, team)
        case "train", Config() as config, str(run), bool(resume), []:
            train(config, run, resume=resume, quiet=True)
        case "train", Config() as config, str(run), bool(resume), list(seeds):
            train_seeds(config, seeds, Path(run), resume=resume, quiet=True)
        case _:
            raise ValueError(f"expected a request, got {request}")
    return Answer(value, [], Facts("", 0, "", [], [], False, ""))


def observe(config: Config, team: Team = ALONE) -> dict[str, np.ndarray]:
    """Returns the arrays of everything that a process can be asked for: a trace of the first steps,
    the state after them, losses and norms of the next ones from that state, scores of the test
    part, the state after all, and outputs for a few sequences."""
    task = load_together(lambda: load_task(config), team)
    batches = training_batches(config, task, team)
    backend = load_backend(config, task.signature, team, batches.batch_size)
    found: dict[str, np.ndarray] = {}
    state, step = backend.init(first_position(config, task)), 0
    while step < STEPS:
        steps = batches.alike(step, STEPS - step)
        state, trace = backend.trace(state, batches.take(step, steps), np.full(steps, RATE))
        found |= {f"trace from {step}: {name}": array for name, array in trace.items()}
        step += steps
    kept = backend.export(state)
    found |= _named("after the trace", kept)
    steps = batches.alike(step, STEPS)
    (state,), (metrics,) = backend.advance(
        [backend.init(kept)], [batches.take(step, steps)], np.full(steps, RATE)
    )
    found |= {name: np.asarray(array) for name, array in metrics._asdict().items()}
    scores = evaluate(config, task, backend, state, task.test)
    found |= {f"scores: {name}": np.array(value) for name, value in scores._asdict().items()}
    found |= _named("at the end", backend.export(state))
    lengths = None if task.test.lengths is None else task.test.lengths[:ROWS]
    outputs, carry = backend.predict(state, np.asarray(task.test.inputs[:ROWS]), lengths)
    return found | {"outputs": outputs} | {f"carry {i}": part for i, part in enumerate(carry)}


def _named(when: str, snapshot: Snapshot) -> dict[str, np.ndarray]:
    flat: Mapping[str, np.ndarray] = flatten(snapshot)
    return {f"{when}: {name}": array for name, array in flat.items()}
