"""Coverage: what the steps of a proof differentiated and moved, parameter by parameter.

    coverage = Coverage(second.weights(), tolerance)
    coverage.add(trace)                     # at every step, torch's trace
    coverage.gaps(frozen={"embedding.weight"})

"Proved equal" holds for what was exercised. Where a gradient is zero at every step, a port that
computes another one is not found. A weight that moves by less than the tolerance may as well have
moved in the wrong direction.

A gradient counts if it is larger than the rounding of others. That of a bias before a normalisation
is zero in mathematics, but not in floating point.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from shared.parity.uncovered import Gradients, gates, parts, told_of_weight
from shared.protocol.gaps import Gap, Rows, of_rows
from shared.protocol.trace import Trace
from shared.protocol.weights import Weights

ROUNDING = 100
"""Largest gradient that is nothing but the rounding of others, in units in the last place of the
largest gradient of the step. A thousand would hide what really is small in float32."""


class Covered(NamedTuple):
    """What the steps did with one parameter."""

    gradient: float
    """Share of its elements that had a gradient at some step, in [0, 1]."""
    moved: float
    """Share of its elements that were at some step not what they were at the start, in [0, 1]."""
    movement: float
    """Largest movement of an element from the start, over the largest magnitude in the tensor."""


class Coverage:
    """Gathers, step by step, which parts of which parameters had gradients and moved.

    Args:
        start: the weights before the first step, by torch's names.
        tolerance: largest deviation that counts as equal.
    """

    def __init__(self, start: Weights, tolerance: float):
        self._tolerance = tolerance
        self._start = {name: array for name, array in start.items() if array.size}
        # The largest gradient of each element at any step, over the largest of all at that step.
        self._peaks = {name: np.zeros(array.shape) for name, array in self._start.items()}
        self._moved = {name: np.zeros(array.shape, bool) for name, array in self._start.items()}
        self._movements: dict[str, float] = {}
        self._rounding = 0.0

    def add(self, trace: Trace) -> None:
        """Takes note of a step, of "gradients/…" and "weights/…" in its trace. A parameter that is
        not there had no gradient and did not move."""
        gradients = {}
        for name in self._start:
            array = trace.get(f"gradients/{name}")
            if array is not None:
                gradients[name] = np.abs(array.astype(np.float64))
                eps = float(np.finfo(array.dtype).eps)
                self._rounding = max(self._rounding, ROUNDING * eps)
        finite = (array[np.isfinite(array)].max(initial=0.0) for array in gradients.values())
        largest = max(finite, default=0.0) or 1.0
        for name, array in gradients.items():
            # What is not finite is a gradient, too.
            share = np.where(np.isfinite(array), array / largest, np.inf)
            np.maximum(self._peaks[name], share, out=self._peaks[name])
        for name, start in self._start.items():
            after = trace.get(f"weights/{name}")
            if after is not None:
                self._moved[name] |= after != start
                with np.errstate(invalid="ignore", over="ignore"):  # training may diverge
                    movement = float(np.abs(after - start).max() / (np.abs(after).max() or 1.0))
                movement = movement if np.isfinite(movement) else np.inf
                self._movements[name] = max(self._movements.get(name, 0.0), movement)

    def of(self, name: str) -> Covered:
        """Returns what is known of a parameter with elements."""
        alive = self._peaks[name] > self._rounding
        moved = self._moved[name].mean()
        return Covered(float(alive.mean()), float(moved), self._movements.get(name, 0.0))

    def rows(self, name: str, padding: int | None = None) -> Rows:
        """Returns which rows of an embedding were read, as its gradient tells, where nobody saw
        the indices. That the row of padding was read cannot be told, and is taken for granted."""
        alive = self._peaks[name] > self._rounding
        read = np.asarray(alive.reshape(len(alive), -1).any(1))
        if padding is not None:
            read[padding] = True
        return Rows(padding, read)

    def gaps(
        self, frozen: Collection[str] = (), embeddings: Mapping[str, Rows] | None = None
    ) -> list[Gap]:
        """Returns what was not exercised; empty if everything was.

        Args:
            frozen: parameters that were at no step meant to be trained.
            embeddings: by the name of each embedding's weight, which rows were read.
        """
        embeddings = embeddings or {}
        alive = {name: peaks > self._rounding for name, peaks in self._peaks.items()}
        count = len(self._start)
        found = []
        still = not any(peaks.any() for peaks in self._peaks.values())
        if still:
            found.append(Gap("no-gradients", count=count, of=count))
        moves = any(movement > self._tolerance for movement in self._movements.values())
        if self._movements and not moves:
            found.append(Gap("nothing-moved", count=count, of=count))
        for name, here in alive.items():
            rows = embeddings.get(name)
            if rows is not None:
                found += of_rows(name, rows)
            if name in frozen:
                continue
            if here.any():
                if not told_of_weight(name, alive):
                    gradients = Gradients(here, self._peaks[name] > 0)
                    found += parts(name, gradients, gates(self._start, name), rows)
                found += self._unmoved(name, here) if moves else []
            elif not still:
                found.append(Gap("no-gradient", name, rounding=bool(self._peaks[name].any())))
        return found

    def _unmoved(self, name: str, alive: np.ndarray) -> list[Gap]:
        """Returns whether a parameter with gradients, or some of its elements, never moved."""
        moved, size = self._moved[name], alive.size
        if not moved.any():
            return [Gap("not-moved", name, size, size)]
        if self._movements[name] <= self._tolerance:
            return [Gap("moved-little", name)]
        # The step of a smaller gradient may be less than the rounding of the weight.
        still = alive & (self._peaks[name] > self._tolerance) & ~moved
        return [Gap("not-moved", name, int(still.sum()), size)] if still.any() else []
