"""What a comparison needs of a backend, in several processes that take the same steps together.

    with started(2) as crew:                                # shared/parity/crew.py
        backend = load(crew, config, task.fingerprint)      # in place of `load_backend`
        state = backend.init(snapshot)
        state, trace = backend.trace(state, batch, rates)

The processes are sent states and learning rates, and no batches: each reads its own rows. Rank 0
answers. The others send checksums of what they hold, and a checksum that differs is an error.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.config import Config
from shared.errors import InvalidInput
from shared.parity.comparison import Diverged
from shared.parity.crew import Crew
from shared.parity.messages import Facts
from shared.protocol import Batch, Snapshot
from shared.protocol.backend import Metrics
from shared.protocol.gaps import counted
from shared.protocol.trace import Trace

DIFFERENCES = {
    "inputs": "read different inputs at step {}",
    "before": "begin step {} with different weights or states",
    "weights": "hold different weights after step {}",
    "moments": "hold different moments after step {}",
    "carry": "hold different states after step {}",
}
"""How two processes differ, by phase; the other phases are computed."""


@dataclass(eq=False)
class Held:
    """A state that the processes hold."""

    key: int
    step: int


def load(crew: Crew, config: Config, fingerprint: str) -> "InProcesses":
    """Has every process load data and backend.

    Args:
        config: resolved.
        fingerprint: that of the data that this process has read.

    Raises:
        InvalidInput: the backend cannot be used so, or a process reads other data.
    """
    number, answers = crew.load(config)
    for rank, answer in enumerate(answers):
        found = answer.facts.fingerprint
        if found != fingerprint:
            raise InvalidInput(
                f"process {rank} of {crew.count} reads other data: expected {fingerprint}, "
                f"got {found}"
            )
    return InProcesses(crew, number, [answer.facts for answer in answers])


@dataclass
class InProcesses:
    """What a comparison needs of a backend (`shared/protocol/backend.py`), in several processes.

    A state knows the number of its next step, and with it the batch: of the batches that its
    methods are given, nothing is looked at.
    """

    crew: Crew
    number: int
    facts: list[Facts]
    """Those of each process, by rank."""
    unused: list[int] = field(default_factory=list)
    """Keys of states that nothing refers to any more."""
    keys: int = 0
    busy: set[int] = field(default_factory=set)
    """Parts of a batch in which there were targets at some step."""
    unequal: bool = False
    """Whether parts of one batch had unequal numbers of targets at some step."""

    @property
    def device(self) -> str:
        found = list(dict.fromkeys(facts.device for facts in self.facts))
        many = f", in each of {self.crew.count} processes" if self.crew.count > 1 else ""
        return found[0] + many if len(found) == 1 else ", ".join(found)

    @property
    def path(self) -> str:
        return self.facts[0].path

    @property
    def notes(self) -> list[str]:
        return self.facts[0].notes

    @property
    def parameters(self) -> list[str]:
        return self.facts[0].parameters

    @property
    def own_masks(self) -> bool:
        return self.facts[0].own_masks

    @property
    def extent(self) -> str:
        """Returns how much took part in the steps so far, and what they did not exercise."""
        processes = "1 process" if self.crew.count == 1 else f"{self.crew.count} processes"
        shared = self.facts[0].devices
        unused = self.crew.count * self.crew.devices - shared
        idle = self.parts - len(self.busy)
        missing = ["several hosts"]
        missing += [] if "gpu" in self.device else ["GPUs"]
        missing += [f"{counted(unused, 'device')} of {shared + unused}"] if unused > 0 else []
        missing += [] if self.unequal else [f"{self.shares} with unequal numbers of targets"]
        missing += [f"rows for {idle} of {self.parts} {self.shares}"] if idle else []
        return (
            f"{processes} of this machine, {counted(shared, 'device')} in all; "
            f"not exercised: {', '.join(missing)}"
        )

    @property
    def shares(self) -> str:
        """Returns what a batch is shared among."""
        return "processes" if self.crew.count > 1 else "devices"

    @property
    def parts(self) -> int:
        """Returns among how many of them."""
        return self.crew.count if self.crew.count > 1 else self.crew.devices

    def init(self, snapshot: Snapshot) -> Held:
        state = Held(self.keys, snapshot.step)
        self.keys += 1
        unused = [self.unused.pop() for _ in range(len(self.unused))]
        weakref.finalize(state, self.unused.append, state.key).atexit = False
        self._ask("init", state.key, snapshot, unused)
        return state

    def advance(
        self, states: Sequence[Held], batches: Sequence[Batch[np.ndarray]], rates: np.ndarray
    ) -> tuple[list[Held], list[Metrics]]:
        (state,) = states
        return [state], [self._take("advance", state, rates)]

    def trace(self, state: Held, batch: Batch[np.ndarray], rates: np.ndarray) -> tuple[Held, Trace]:
        trace = self._take("trace", state, rates)
        found = targets_of(self.parts, trace["inputs/weights"])
        self.busy |= {*np.flatnonzero(found.any(0)).tolist()}
        self.unequal |= bool((found != found[:, :1]).any())
        return state, trace

    def export(self, state: Held) -> Snapshot:
        return self._ask("export", state.key, step=state.step)

    def _take(self, what: str, state: Held, rates: np.ndarray) -> Any:
        found = self._ask(what, state.key, state.step, rates, step=state.step + 1)
        state.step += len(rates)
        return found

    def _ask(self, what: str, *request: Any, step: int = 0) -> Any:
        """Returns the answer of rank 0.

        Args:
            step: number of the first step that is asked for, from 1.

        Raises:
            Diverged: the processes hold different numbers.
        """
        answers = self.crew.ask(what, self.number, *request)
        self.facts = [answer.facts for answer in answers]
        steps = zip(*(answer.checksums for answer in answers), strict=True)
        for i, by_rank in enumerate(steps):
            for phase, expected in by_rank[0].items():
                for rank, found in enumerate(by_rank):
                    if found[phase] != expected:
                        differ = DIFFERENCES.get(phase, f"compute different {phase} at step {{}}")
                        raise Diverged(f"processes 0 and {rank} {differ.format(step + i)}")
        return answers[0].value


def targets_of(parts: int, weights: np.ndarray) -> np.ndarray:
    """Returns the weight of the targets in each part of each step's batch, (S, parts).

    Args:
        weights: those of a `Batch`, (S, B) or (S, B, T).
    """
    steps, rows = weights.shape[:2]
    size = -(-rows // parts)
    by_row = np.zeros((steps, parts * size))
    by_row[:, :rows] = weights.reshape(steps, rows, -1).sum(2)
    return by_row.reshape(steps, parts, size).sum(2)
