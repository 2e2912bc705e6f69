"""How far two float32 runs may lie apart: as far as one framework's runs lie from one another.

The envelope is made of runs in one framework. Their weights are moved by one unit in the last place
before every step, as if the step before had been rounded otherwise. It would be too little to move
them only once, at the start: where training converges it forgets its start, but another framework
rounds otherwise at every step.
"""

from typing import NamedTuple

import numpy as np

from shared.config import Config
from shared.parity.deviation import SMALLEST_LOSS
from shared.parity.lockstep import Side, rates
from shared.protocol import Snapshot
from shared.system.randomness import generator

ROUNDED = 2 * float(np.finfo(np.float32).eps)
"""Relative difference up to which two losses are equal but for the rounding of the loss itself.
Moving the weights leaves that rounding out."""


class Envelope(NamedTuple):
    """Relative deviations of the training loss, step by step."""

    cross: np.ndarray
    """(S,) between the two sides."""
    spread: dict[str, np.ndarray]
    """Largest deviation between any two runs of a side, by side, (S,)."""
    runs: int
    """Runs from which a side's spread comes; the one with unmoved weights is among them."""

    @property
    def edge(self) -> np.ndarray:
        """The largest spread up to each step, (S,). Curves cross one another, and at a crossing
        they are not closer than before."""
        spread = np.stack(list(self.spread.values())).max(0)
        return np.maximum(np.maximum.accumulate(spread), ROUNDED)

    @property
    def inside(self) -> np.ndarray:
        """True at the steps where the frameworks lie no further apart than the edge, (S,)."""
        return self.cross <= self.edge

    @property
    def sentence(self) -> str:
        steps, inside = len(self.cross), int(self.inside.sum())
        end = f"over the run: at most {self.cross.max():.1e}, the envelope {self.edge[-1]:.1e}"
        if inside == steps:
            return f"inside the envelope of {self.runs} runs a side at every step ({end})"
        beyond = np.where(
            self.inside, 1.0, self.cross / np.maximum(self.edge, np.finfo(float).tiny)
        )
        worst = int(beyond.argmax())
        past = 100 * (beyond[worst] - 1)
        by = f"at most {past:.0f}" if past >= 1 else "less than 1"
        return (
            f"inside the envelope of {self.runs} runs a side at {inside} of {steps} steps, past "
            f"its edge by {by} %, at step {worst + 1} ({end})"
        )


def measure(config: Config, first: Side, second: Side, steps: int, others: int) -> Envelope:
    """Runs both sides as they are, and each `others` more times with weights that are moved.

    Args:
        config: resolved, in float32.
    """
    losses = {}
    for side in (first, second):
        moving = [generator(config.seed, "envelope", k) for k in range(others)]
        runs = [_run(config, side, steps), *(_moved_run(config, side, steps, r) for r in moving)]
        losses[side.name] = np.stack(runs)
    plain = np.stack([runs[0] for runs in losses.values()])
    return Envelope(
        _spread(plain), {name: _spread(runs) for name, runs in losses.items()}, others + 1
    )


def moved(snapshot: Snapshot, rng: np.random.Generator) -> Snapshot:
    """Moves every weight by one representable number, up or down."""
    weights = {}
    for name, array in snapshot.weights.items():
        # In the weights' own precision: one unit of float64 would be rounded away.
        ends = np.array([-np.inf, np.inf], array.dtype)
        weights[name] = np.nextafter(array, rng.choice(ends, array.shape))
    return snapshot._replace(weights=weights)


def _run(config: Config, side: Side, steps: int) -> np.ndarray:
    """Returns the training losses (S,) of a side."""
    state, losses = side.backend.init(side.start), []
    at = 0
    while at < steps:
        count = side.batches.alike(at, min(side.batches.chunk, steps - at))
        batch = side.batches.take(at, count)
        now = rates(config, side, at, count)
        (state,), (metrics,) = side.backend.advance([state], [batch], now)
        losses.append(np.asarray(metrics.loss, np.float64))
        at += count
    return np.concatenate(losses)


def _moved_run(config: Config, side: Side, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the training losses (S,) of a side whose weights are moved before every step."""
    snapshot, losses = side.start, []
    for at in range(steps):
        state = side.backend.init(moved(snapshot, rng))
        batch, now = side.batches.take(at, 1), rates(config, side, at, 1)
        (state,), (metrics,) = side.backend.advance([state], [batch], now)
        losses.append(np.asarray(metrics.loss, np.float64))
        snapshot = side.backend.export(state)
    return np.concatenate(losses)


def _spread(losses: np.ndarray) -> np.ndarray:
    """Returns the largest relative deviation between any two of several runs' losses (K, S), by
    step."""
    return np.ptp(losses, axis=0) / np.maximum(np.abs(losses).max(0), SMALLEST_LOSS)
