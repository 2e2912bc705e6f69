"""Several processes of this machine that take the steps of one side of a comparison together.

    with started(2) as crew:
        number, answers = crew.load(config)
        answers = crew.ask("init", number, key, snapshot, [])       # one of each process, by rank

Each of them runs `shared/parity/worker.py`, which joins the others as in training. What is asked of
them is in `shared/parity/in_processes.py`.
"""

import contextlib
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO, Any, NoReturn

from shared.config import Config
from shared.errors import InvalidInput, LostProcess
from shared.parity.messages import Alive, Answer, Failed

WORKER = (sys.executable, "-P", "-m", "shared.parity.worker")
"""Starts a process, where no folder of the user's can hide this package."""
QUIET_S = 30.0
LEAST_LOAD = 0.02
"""Seconds after which processes have failed if they use less of a core each in all that time: they
wait for one another. Compiling may take longer, but it computes. A process of JAX that waits was
seen to use 0.005."""
PATIENCE_S = 1.0
"""Seconds between two looks at whether they compute, and those in which the others may tell more of
an error."""


@dataclass
class Member:
    """A process, its connection, and what it writes to stderr."""

    process: subprocess.Popen[bytes]
    connection: Connection
    errors: IO[bytes]
    cpu_s: float = 0.0


@contextmanager
def started(count: int, devices: int = 1, worker: Sequence[str] = WORKER) -> Iterator["Crew"]:
    """Starts processes; on the way out they are killed.

    Args:
        devices: JAX's CPU devices of each process.
        worker: words of the program that serves.
    """
    members: list[Member] = []
    inbox: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    port = _port()
    try:
        for rank in range(count):
            members.append(_start([*worker], _environment(rank, count, devices, port)))
            reader = threading.Thread(target=_read, args=(rank, members[rank], inbox), daemon=True)
            reader.start()
        yield Crew(members, inbox, devices)
    finally:
        for member in members:
            _end(member)


class Crew:
    """Processes that were started together."""

    def __init__(
        self, members: Sequence[Member], inbox: "queue.SimpleQueue[tuple[int, Any]]", devices: int
    ):
        self._members = members
        self._inbox = inbox
        self._programs = 0
        self._failure = ""
        self.count = len(members)
        self.devices = devices

    @property
    def pids(self) -> list[int]:
        """Returns the number that the system gave to each process, by rank."""
        return [member.process.pid for member in self._members]

    @property
    def described(self) -> str:
        """Returns what a contender's name is followed by: "in 2 processes with 4 devices each"."""
        if self.count == 1:
            return f"on {self.devices} devices"
        each = f" with {self.devices} devices each" if self.devices > 1 else ""
        return f"in {self.count} processes{each}"

    def load(self, config: Config) -> tuple[int, list[Answer]]:
        """Has every process load data and backend; returns the number of the program they are."""
        self._programs += 1
        return self._programs - 1, self.ask("load", config)

    def ask(self, *request: Any) -> list[Answer]:
        """Sends a request to every process, and returns their answers by rank.

        Raises:
            InvalidInput: as a process raised it.
            LostProcess: one has ended, or all wait, now or at an earlier request.
        """
        if self._failure:
            raise LostProcess(self._failure)
        try:
            return self._asked(request)
        except (InvalidInput, LostProcess) as error:
            self._failure = str(error)
            raise

    def _asked(self, request: tuple[Any, ...]) -> list[Answer]:
        told = pickle.dumps(request, pickle.HIGHEST_PROTOCOL)
        for member in self._members:  # from threads: one that is stopped reads nothing
            threading.Thread(target=_send, args=(member, told), daemon=True).start()
        answers: dict[int, Answer] = {}
        quiet_s, used = 0.0, self._cpu_s
        while len(answers) < self.count:
            began = time.monotonic()
            rank, message = self._next(PATIENCE_S)
            if isinstance(message, Answer):
                answers[rank] = message
            elif rank >= 0:
                self._lost(rank, message)
            quiet_s += min(time.monotonic() - began, PATIENCE_S)  # it may have been stopped: Ctrl-Z
            if self._cpu_s - used >= LEAST_LOAD * QUIET_S * self.count:
                quiet_s, used = 0.0, self._cpu_s
            elif quiet_s > QUIET_S:
                left = [str(rank) for rank in range(self.count) if rank not in answers]
                raise LostProcess(
                    f"no answer from process {', '.join(left)} of {self.count}: expected one "
                    f"within {QUIET_S:.0f} s, in which they computed nothing"
                )
        return [answers[rank] for rank in range(self.count)]

    @property
    def _cpu_s(self) -> float:
        return sum(member.cpu_s for member in self._members)

    def _next(self, patience_s: float) -> tuple[int, Answer | Failed | None]:
        """Returns the rank and the message of the next process that says more than that it lives:
        None from one that has ended, and rank -1 if none came in time."""
        deadline = time.monotonic() + patience_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                rank, message = self._inbox.get(timeout=left)
            except queue.Empty:
                break
            if not isinstance(message, Alive):
                return rank, message
            self._members[rank].cpu_s = message.cpu_s
        return -1, None

    def _lost(self, rank: int, message: Failed | None) -> NoReturn:
        """Raises the error of a process, or of another one whose end it only noticed."""
        ends = {rank: message}
        deadline = time.monotonic() + PATIENCE_S
        while len(ends) < self.count and (left := deadline - time.monotonic()) > 0:
            other, later = self._next(left)
            if other >= 0 and not isinstance(later, Answer):
                ends.setdefault(other, later)
        said = {other: end for other, end in ends.items() if isinstance(end, Failed)}
        for other, end in said.items():
            if end.invalid:
                same = len({end.message for end in said.values()}) == 1
                where = "" if same and len(said) == self.count else f"process {other}: "
                raise InvalidInput(f"{where}{end.message}")
        reasons = {other: self._reason(other, end) for other, end in ends.items()}
        killed = [other for other, reason in reasons.items() if reason.startswith("was killed")]
        first = killed[0] if killed else rank
        raise LostProcess(f"process {first} of {self.count} {reasons[first]}")

    def _reason(self, rank: int, end: Failed | None) -> str:
        member = self._members[rank]
        if end is not None:
            return f"failed: {end.message}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            member.process.wait(PATIENCE_S)
        code = member.process.returncode
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        member.errors.seek(0)
        lines = member.errors.read().decode(errors="replace").strip().splitlines()
        return f"ended with exit code {code}" + (f": {lines[-1]}" if lines else "")


def _start(command: list[str], environment: dict[str, str]) -> Member:
    ours, theirs = Pipe()
    errors = tempfile.TemporaryFile()  # noqa: SIM115, as `_end` closes it
    with theirs:
        # In a session of its own, which a terminal's Ctrl-C does not reach: it ends with this one.
        process = subprocess.Popen(
            [*command, str(theirs.fileno())],
            env=environment,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            start_new_session=True,
        )
    return Member(process, ours, errors)


def _end(member: Member) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(member.process.pid, signal.SIGKILL)
    member.process.wait()
    member.errors.close()


def _read(rank: int, member: Member, inbox: "queue.SimpleQueue[tuple[int, Any]]") -> None:
    """Puts what a process says into the inbox, and None when it has ended."""
    with member.connection, contextlib.suppress(EOFError, OSError):
        while True:
            inbox.put((rank, member.connection.recv()))
    inbox.put((rank, None))


def _send(member: Member, told: bytes) -> None:
    with contextlib.suppress(OSError):  # it has ended, which its reader notices
        member.connection.send_bytes(told)


def _environment(rank: int, count: int, devices: int, port: int) -> dict[str, str]:
    """Returns the variables of a process: those of torchrun, and its devices."""
    of_one = {} if count == 1 else {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    return {
        **os.environ,
        **of_one,
        "RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "JAX_NUM_CPU_DEVICES": str(devices),
        "RNN_PARITY_SHARE": "always",  # however small the network: read in rnn_jax/sharding.py
    }


def _port() -> int:
    """Returns a free port whose next one is free, too: there JAX's processes meet."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port
