"""Training that shows all that a step computes, to name the first number that is not finite.

The steps are those of `Backend.trace`, one at a time. A trace costs as much as many steps, as every
array of it is brought to NumPy.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.protocol import Backend, Batch
from shared.protocol.backend import Metrics, State
from shared.protocol.trace import Trace, phase_of


@dataclass(frozen=True)
class Anomaly:
    """The first number of a step that is not finite."""

    name: str
    """Phase and tensor, as in `shared/protocol/trace.py`: "logits/logits"."""
    index: tuple[int, ...]
    value: float
    count: int
    """Number of the tensor's values that are not finite."""

    def __str__(self) -> str:
        where = f"[{', '.join(map(str, self.index))}]" * bool(self.index)
        others = f", one of {self.count} in it" * (self.count > 1)
        if self.name == "norm/norm":  # those of the gradients come before it
            others = ", the gradients are finite but not the sum of their squares"
        return (
            f"{self.name}{where} is {self.value}, the first number that is not finite "
            f"(phase {phase_of(self.name)}{others}),"
        )


def advance(
    backend: Backend, state: State, batch: Batch[np.ndarray], rates: np.ndarray
) -> tuple[State, Metrics, Anomaly | None]:
    """Takes steps as `Backend.advance`, but stops after a step in which something is not finite.
    The metrics are those up to this step."""
    taken: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    found = None
    for i in range(len(rates)):
        one: Any = Batch(*(None if part is None else part[i : i + 1] for part in batch))
        state, stacked = backend.trace(state, one, rates[i : i + 1])
        trace = {name: array[0] for name, array in stacked.items()}
        names = [f"gradients/{name}" for name in backend.parameters]
        if not trace.keys() >= {*names}:  # a trace of Flax's cells has the canonical ones
            names = [name for name in trace if phase_of(name) == "gradients"]
        norms = [norm(trace[name]) for name in names]
        taken.append((trace["loss/loss"], trace["loss/metric"], np.array(norms)))
        found = first_anomaly(trace)
        if found is not None:
            break
    loss, metric, norms = (np.stack(column) for column in zip(*taken, strict=True))
    return state, Metrics(loss, metric, norms), found


def first_anomaly(trace: Trace) -> Anomaly | None:
    """Finds the first number of a step that is not finite, in the order in which the step
    computes."""
    for name, array in trace.items():
        if array.dtype.kind != "f":
            continue
        wrong = ~np.isfinite(array)
        if wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            return Anomaly(name, index, float(array[index]), int(wrong.sum()))
    return None


def norm(array: np.ndarray) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.square(array, dtype=np.float64).sum()))
