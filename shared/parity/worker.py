"""A process of a crew: takes the steps that `shared/parity/crew.py` asks for.

    python -m shared.parity.worker FD       # started there, with a launcher's variables

It joins the others as a process of a training run does, and reads its own rows of every batch. It
ends when the process that started it closes the connection, or is gone.
"""

import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from shared.config import Config
from shared.errors import InvalidInput
from shared.parity.messages import Alive, Answer, Facts, Failed
from shared.protocol import Backend, Snapshot, load_backend
from shared.protocol.backend import Metrics
from shared.protocol.batching import Batches
from shared.protocol.processes import joined
from shared.protocol.trace import Trace, phase_of
from shared.system.team import Team
from shared.tasks import load_task
from shared.tasks.batches import training_batches
from shared.tasks.together import load_together

BEAT_S = 1.0
"""Seconds between two signs of life."""


@dataclass(frozen=True)
class Channel:
    """The connection to the process that asks, for several threads of this one."""

    connection: Connection
    lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, message: Answer | Alive | Failed) -> None:
        with self.lock:
            self.connection.send(message)


class Loaded(NamedTuple):
    """A backend with the batches of its process."""

    backend: Backend
    batches: Batches
    fingerprint: str

    def facts(self) -> Facts:
        of = self.backend
        return Facts(
            of.device, of.devices, of.path, of.notes, of.parameters, of.own_masks, self.fingerprint
        )


def main() -> None:
    """Serves until the connection is closed."""
    channel = Channel(Connection(int(sys.argv[1])))
    threading.Thread(target=_beat, args=(channel,), daemon=True).start()
    try:
        _serve(channel)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # nobody asks any more
        os._exit(0)
    except BaseException as error:
        invalid = isinstance(error, InvalidInput)
        said = str(error) if invalid else f"{type(error).__name__}: {error}"
        channel.say(Failed(invalid, said.strip().partition("\n")[0]))
        os._exit(1)


def _beat(channel: Channel) -> None:
    """Gives signs of life; ends the process, wherever it waits, once nobody hears them."""
    while True:
        try:
            channel.say(Alive(time.process_time()))
        except OSError:
            os._exit(1)
        time.sleep(BEAT_S)


def _serve(channel: Channel) -> None:
    """Answers requests, each a tuple that begins with what is asked for: the first is "load"."""
    request = channel.connection.recv()
    # Never left in order, as that waits for the others, which may be gone: `main` ends the process.
    stack = ExitStack()  # has a name, since one that is collected is left
    team = stack.enter_context(joined(request[1]))
    programs: list[Loaded] = []
    states: dict[int, Any] = {}
    while True:
        channel.say(_answer(request, team, programs, states))
        request = channel.connection.recv()


def _answer(
    request: tuple[Any, ...], team: Team, programs: list[Loaded], states: dict[int, Any]
) -> Answer:
    value, sums = None, []
    match request:
        case "load", Config() as config:
            programs.append(_load(config, team))
            number = len(programs) - 1
        case "init", int(number), int(key), Snapshot() as snapshot, list(unused):
            for old in unused:
                del states[old]
            states[key] = programs[number].backend.init(snapshot)
        case (("trace" | "advance" as kind), int(number), int(key), int(start), rates):
            take = _trace if kind == "trace" else _advance
            states[key], value, sums = take(programs[number], states[key], start, rates)
        case "export", int(number), int(key):
            value = programs[number].backend.export(states[key])
            sums = [_of_snapshot(value)]
        case _:
            raise ValueError(f"expected a request, got {request[0]}")
    return Answer(value if team.first else None, sums, programs[number].facts())


def _load(config: Config, team: Team) -> Loaded:
    task = load_together(lambda: load_task(config), team)
    batches = training_batches(config, task, team)
    backend = load_backend(config, task.signature, team, batches.batch_size)
    return Loaded(backend, batches, task.fingerprint)


def _trace(
    program: Loaded, state: Any, start: int, rates: np.ndarray
) -> tuple[Any, Trace, list[dict[str, str]]]:
    batch = program.batches.take(start, len(rates))
    state, trace = program.backend.trace(state, batch, rates)
    return state, trace, checksums(trace)


def _advance(
    program: Loaded, state: Any, start: int, rates: np.ndarray
) -> tuple[Any, Metrics, list[dict[str, str]]]:
    batch = program.batches.take(start, len(rates))
    (state,), (metrics,) = program.backend.advance([state], [batch], rates)
    found = Metrics(*map(np.asarray, metrics))
    return state, found, checksums({"loss": found.loss, "gradients": found.norms})


def checksums(arrays: Trace) -> list[dict[str, str]]:
    """Returns, for each step, a checksum of the arrays of each phase.

    Args:
        arrays: by name, each with a leading axis for the steps.
    """
    phases: dict[str, list[np.ndarray]] = {}
    for name, array in arrays.items():
        phases.setdefault(phase_of(name), []).append(array)
    steps = len(next(iter(arrays.values())))
    return [
        {phase: _checksum(array[i] for array in of) for phase, of in phases.items()}
        for i in range(steps)
    ]


def _of_snapshot(snapshot: Snapshot) -> dict[str, str]:
    return {
        "weights": _checksum(snapshot.weights.values()),
        "moments": _checksum(snapshot.moments.values()),
        "carry": _checksum(snapshot.carry),
    }


def _checksum(arrays: Iterable[np.ndarray]) -> str:
    found = hashlib.blake2b(digest_size=8)
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    main()
