"""The Backend protocol in NumPy, for tests of what stands around it: loops, seeds, resuming.

Not a network: a step computes one number from everything it is given (weights, carry, batch, masks)
and moves every weight and moment by it. So a run that has lost or repeated any of them ends in
other numbers, as with a real backend, and nothing is imported or compiled.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from shared.config import Config
from shared.config.choices import moment_names
from shared.protocol import Batch, Snapshot
from shared.protocol.backend import Evaluation, Metrics
from shared.protocol.dataset import Signature
from shared.protocol.sampling import Sampling
from shared.protocol.weights import Weights, network_shapes, state_shapes
from shared.system.team import ALONE, Team


class State(NamedTuple):
    weights: Weights
    moments: dict[str, np.ndarray]
    carry: tuple[np.ndarray, ...]
    step: int


class Backend:
    def __init__(self, config: Config, signature: Signature, team: Team = ALONE, rows: int = 0):
        self.team, self.devices = team, 1
        self.config, self.signature = config, signature
        self.device, self.path, self.notes = "numpy", "numbers in NumPy", []
        self.own_masks = False
        self.compile_s, self.compilation = 0.0, "nothing to compile"
        sizes = signature.input_size, signature.output_size
        self.parameters = [*network_shapes(config.network, *sizes)]

    def init(self, snapshot: Snapshot) -> State:
        names = moment_names(self.config.optimization)
        zeros = {f"{m}.{n}": np.zeros_like(w) for m in names for n, w in snapshot.weights.items()}
        return State(snapshot.weights, zeros | snapshot.moments, snapshot.carry, snapshot.step)

    def advance(
        self, states: Sequence[State], batches: Sequence[Batch[np.ndarray]], rates: np.ndarray
    ) -> tuple[list[State], list[Metrics]]:
        if len(states) > 1:
            self.path = f"numbers in NumPy, {len(states)} seeds in one program"
        pairs = zip(states, batches, strict=True)
        new, metrics = zip(*(self._advance(*pair, rates) for pair in pairs), strict=True)
        return [*new], [*metrics]

    def _advance(
        self, state: State, batch: Batch[np.ndarray], rates: np.ndarray
    ) -> tuple[State, Metrics]:
        found = []
        for i, rate in enumerate(rates):
            parts: list[Any] = [None if part is None else part[i] for part in batch]
            now = Batch(*parts)
            state, loss, norms = self._step(state, now, rate)
            found.append((loss, 1 / (1 + loss), norms))
        return state, Metrics(*map(np.array, zip(*found, strict=True)))

    def together(self, operations: float) -> bool:
        return True

    def evaluate(self, state: State, batches: Iterable[Batch[np.ndarray]]) -> Evaluation:
        off = [(self._told(state) - batch.targets.mean()) ** 2 for batch in batches]
        return Evaluation(float(np.mean(off)), float(1 / (1 + np.mean(off))))

    def predict(
        self,
        state: State,
        inputs: np.ndarray,
        lengths: np.ndarray | None = None,
        carry: tuple[np.ndarray, ...] | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        shape = inputs.shape[: 1 + self.signature.per_step]
        outputs = np.full((*shape, self.signature.output_size), self._told(state))
        return outputs + state.weights["head.bias"], self._carry(state, len(inputs))

    def generate(
        self,
        state: State,
        logits: np.ndarray,
        carry: tuple[np.ndarray, ...],
        noise: np.ndarray,
        how: Sampling,
    ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
        return (logits + noise).argmax(axis=1).astype(np.int32), logits, carry

    def export(self, state: State) -> Snapshot:
        return Snapshot(state.weights, state.moments, state.carry, state.step)

    def _step(
        self, state: State, batch: Batch[np.ndarray], rate: float
    ) -> tuple[State, float, list[float]]:
        read = _number(batch.inputs, batch.targets, batch.weights, batch.lengths, batch.masks)
        before = self._carry(state, len(batch.inputs))
        carry = tuple(0.5 * part * (not batch.reset) + read for part in before)
        off = self._told(state) + read + sum(map(_mean, before))
        gradients = {n: off + 0.1 * w for n, w in state.weights.items()}
        moments = {
            key: 0.9 * m + 0.1 * gradients[key.partition(".")[2]] ** (2 if "sq" in key else 1)
            for key, m in state.moments.items()
        }
        moved = {
            n: (w - 0.01 * rate * (gradients[n] + self._moment(moments, n))).astype(w.dtype)
            for n, w in state.weights.items()
        }
        norms = [_mean(gradients[n] ** 2) ** 0.5 for n in self.parameters]
        moments = {key: m.astype(self.config.precision) for key, m in moments.items()}
        carry = tuple(part.astype(self.config.precision) for part in carry)
        return State(moved, moments, carry, state.step + 1), 0.1 + off**2, norms

    def _moment(self, moments: dict[str, np.ndarray], name: str) -> Any:
        return sum(m for key, m in moments.items() if key.partition(".")[2] == name)

    def _carry(self, state: State, rows: int) -> tuple[np.ndarray, ...]:
        shapes = state_shapes(self.config.network, rows)
        return state.carry or tuple(np.zeros(s, self.config.precision) for s in shapes)

    def _told(self, state: State) -> float:
        """What the weights say."""
        return sum(map(_mean, state.weights.values())) / len(state.weights)


def _mean(array: np.ndarray) -> float:
    """The same to the last bit, wherever in memory it lies."""
    return math.fsum(array.ravel()) / max(1, array.size)


def _number(*parts: np.ndarray | None) -> float:
    """A number in [0, 1) that any change of any element changes."""
    said = hashlib.sha256(b"".join(p.tobytes() for p in parts if p is not None)).digest()
    return int.from_bytes(said[:6]) / 2**48
