"""Launchers of the processes of one run, to be killed, stopped and signalled: torchrun as a user
calls it, and a bare one, which only sets the variables and never stops what it has started."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shared.parity import crew
from tests.support.command_line import SCRIPTS, WIDTH
from tests.support.launched import MARK

PROGRAM = f"""
import importlib, os, signal, sys, threading, time
sys.path.insert(0, {str(SCRIPTS.parent)!r})
RANK = int(os.environ["RANK"])
FIRST_START = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"

def before(module, owner, name, do, count=1):
    \"\"\"Has something done before the count-th call of a function or method.\"\"\"
    place = importlib.import_module(module)
    place = getattr(place, owner) if owner else place
    function, calls = getattr(place, name), []
    def changed(*given, **named):
        calls.append(None)
        if len(calls) == count and FIRST_START:
            do()
        return function(*given, **named)
    setattr(place, name, changed)

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

{{change}}
from shared.commands.{{command}} import main
from shared.system import process
process.run(main, several={{several}})
"""


class Ended(NamedTuple):
    codes: list[int]
    """That of torchrun; of bare processes, those of each, by rank; negative is a signal."""
    out: str
    err: str
    ours: list[str]
    """The lines of stderr that the command wrote."""
    seconds: float
    """How long it took from the moment from which it was waited for."""


@dataclass(frozen=True)
class Launched:
    """Processes that were started; none outlives the `with` that started them."""

    programs: list[subprocess.Popen[str]]
    mark: str
    """Value of the variable MARK, which all of their processes inherit."""
    streams: tuple[Path, Path]

    def pids(self) -> dict[int, dict[str, str]]:
        """Returns the environment of each process that runs, by its number."""
        found: dict[int, dict[str, str]] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
                parts = [word.partition("=") for word in words]
                named = {name: value for name, _, value in parts}
                if named.get(MARK) == self.mark:
                    found[int(folder.name)] = named
        return found

    def rank(self, rank: int) -> int:
        """Returns the number of the process of a rank, once it has been started."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            parents = {program.pid for program in self.programs}
            for pid, named in self.pids().items():
                bare = pid in parents and "TORCHELASTIC_RESTART_COUNT" not in named
                if named.get("RANK") == str(rank) and (bare or _parent(pid) in parents):
                    return pid
            time.sleep(0.02)
        raise AssertionError(f"rank {rank} was not started: {self.text()}")

    def text(self) -> str:
        return "\n".join(file.read_text() for file in self.streams)

    def wait_for(self, file: Path, limit_s: float = 60) -> None:
        """Waits until a file is there."""
        deadline = time.monotonic() + limit_s
        while not file.exists():
            assert time.monotonic() < deadline, f"{file} did not come: {self.text()}"
            assert any(program.poll() is None for program in self.programs), self.text()
            time.sleep(0.005)

    def said(self, text: str, limit_s: float = 60) -> None:
        """Waits until something was printed."""
        deadline = time.monotonic() + limit_s
        while text not in self.text():
            assert time.monotonic() < deadline, f"expected {text}, got {self.text()}"
            time.sleep(0.02)

    def ended(self, limit_s: float = 60, left_s: float = 20) -> Ended:
        """Waits until all have ended.

        Args:
            left_s: seconds in which what they have started has to end.

        Raises:
            AssertionError: they have not, in time.
        """
        began = time.monotonic()
        codes = [self._code(program, began + limit_s) for program in self.programs]
        seconds = time.monotonic() - began
        deadline = time.monotonic() + left_s
        while self.pids():
            assert time.monotonic() < deadline, f"left after {left_s} s: {self.pids().keys()}"
            time.sleep(0.05)
        out, err = (file.read_text() for file in self.streams)
        names = ("run.py: ", "rnn-parity run: ")
        ours = [line for line in err.splitlines() if line.startswith(names)]
        return Ended(codes, out, err, ours, seconds)

    def _code(self, program: subprocess.Popen[str], deadline: float) -> int:
        try:
            return program.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not ended in time: {self.text()}") from None


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


@contextmanager
def torchrun(
    program: Path,
    words: Sequence[str],
    *,
    cwd: Path,
    options: Sequence[str] = (),
    agents: int = 1,
    folders: Sequence[Path] = (),
    each: int = 2,
    **environment: str,
) -> Iterator[Launched]:
    """Starts torchrun, for one host or for several that are played by this one.

    Args:
        options: of torchrun.
        agents: hosts, which meet by static rendezvous.
        folders: those in which the hosts work; by default `cwd`.
        each: processes of a host.
    """
    port = str(crew._port())
    torch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(each)]
    torch += ["--master-port", port, *options]
    commands = [[*torch, str(program), *words]]
    if agents > 1:
        torch += ["--master-addr", "127.0.0.1", "--nnodes", str(agents)]
        ranks = range(agents)
        commands = [[*torch, "--node-rank", str(rank), str(program), *words] for rank in ranks]
    with _started(commands, [{}] * agents, folders or [cwd] * agents, environment) as found:
        yield found


@contextmanager
def bare(
    program: Path, words: Sequence[str], *, cwd: Path, count: int = 2, **environment: str
) -> Iterator[Launched]:
    """Starts processes with torchrun's variables and nothing that looks after them."""
    port = str(crew._port())
    variables = [
        {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
         "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for rank in range(count)
    ]  # fmt: skip
    command = [sys.executable, str(program), *words]
    with _started([command] * count, variables, [cwd] * count, environment) as found:
        yield found


@contextmanager
def _started(
    commands: Sequence[Sequence[str]],
    variables: Sequence[Mapping[str, str]],
    folders: Sequence[Path],
    environment: Mapping[str, str],
) -> Iterator[Launched]:
    mark = uuid.uuid4().hex
    shared = os.environ | WIDTH | {"OMP_NUM_THREADS": "1", MARK: mark} | {**environment}
    with tempfile.TemporaryDirectory() as streams:
        files = Path(streams, "out"), Path(streams, "err")
        found = Launched([], mark, files)
        try:
            with open(files[0], "ab") as out, open(files[1], "ab") as err:
                for command, own, folder in zip(commands, variables, folders, strict=True):
                    started = subprocess.Popen(
                        command, cwd=folder, env=shared | {**own}, stdin=subprocess.DEVNULL,
                        stdout=out, stderr=err, text=True, start_new_session=True,
                    )  # fmt: skip
                    found.programs.append(started)
            yield found
        finally:
            for pid in found.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for program in found.programs:
                program.wait(10)


def program(folder: Path, change: str = "", command: str = "run") -> Path:
    """Writes a command with a change in its code, and returns its file, run.py.

    Args:
        change: code that runs first. It may use RANK, FIRST_START, `before` and `kill`.
    """
    file = folder / "run.py"
    several = command == "run"
    file.write_text(PROGRAM.format(change=change, command=command, several=several))
    return file
