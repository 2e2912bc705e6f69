"""The clock of a run: what a step costs, and when the next checkpoint is due."""

import math
import time
from dataclasses import dataclass, field

import numpy as np

from shared.config.interval import Every
from shared.protocol import Backend


@dataclass
class Timing:
    """Milliseconds a step, between two calls of the backend whose results have come.

    That is what a step costs the user. Preparing its batch counts, unless it is done while the
    device computes; compiling does not count. Call `start` once, then `stop` whenever a call of
    the backend has come back.
    """

    backend: Backend
    together: int = 1
    """Runs whose steps are taken in one call; each has its share of the time."""
    per_step: list[float] = field(default_factory=list[float])
    first: float = math.nan
    mark: float = math.nan
    compiled: float = 0.0

    def start(self) -> None:
        """Begins to measure a call."""
        self.mark, self.compiled = time.perf_counter(), self.backend.compile_s

    def stop(self, steps: int) -> None:
        """Ends the call of so many steps, and begins the next."""
        compiling = self.backend.compile_s - self.compiled
        seconds = time.perf_counter() - self.mark - compiling
        milliseconds = 1000 * seconds / (steps * self.together)
        if compiling or math.isnan(self.first):
            self.first = milliseconds
        else:
            self.per_step.append(milliseconds)
        self.start()

    @property
    def step_ms(self) -> float:
        """Median milliseconds of a step. A run of a single call has only its first one, less the
        compilation."""
        return float(np.median(self.per_step)) if self.per_step else self.first


@dataclass
class Due:
    """The time at which the next checkpoint is to be written."""

    every: Every
    origin: int
    """The step of the last evaluation, from which steps are counted."""

    def __post_init__(self) -> None:
        self.written()

    def written(self) -> None:
        """Notes that a checkpoint was written just now."""
        self._mark = time.monotonic()

    def after(self, step: int) -> bool:
        """Tells whether a checkpoint is due after a step at which a call ends."""
        steps = self.every.steps
        if steps is not None:
            return (step - self.origin) % steps == 0
        return time.monotonic() - self._mark >= self.every.seconds
