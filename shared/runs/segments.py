"""Segments of a run, each with the backend that took its steps; each resumption adds one."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Segment:
    """Steps from `start` (exclusive) to `end` (inclusive), and what computed them."""

    backend: str
    implementation: str
    start: int
    end: int
    step_ms: float
    """Milliseconds that a steady step took."""
    notes: list[str]
    """Notes for a reader of the numbers (see `shared/protocol/backend.py`)."""
    processes: int = 1
    devices: int = 1
    """Devices among which a batch was shared, in all processes."""

    @property
    def label(self) -> str:
        return f"{self.backend} {self.implementation}"

    @property
    def span(self) -> str:
        """First and last step, counted from 1 as everywhere: "steps 1–1000"."""
        return span(self.start, self.end)


def span(start: int, end: int) -> str:
    """Names the steps from `start` (exclusive) to `end` (inclusive): "steps 6–9", "step 6"."""
    return f"steps {start + 1}–{end}" if end - start > 1 else f"step {end}"


def covers(segments: Sequence[Segment], steps: int) -> bool:
    """Tells whether the segments follow each other without a gap, from step 0 to `steps`."""
    ends = [0, *(part.end for part in segments)]
    growing = all(part.start < part.end for part in segments)
    return growing and [part.start for part in segments] == ends[:-1] and ends[-1] == steps


def label(segments: Sequence[Segment]) -> str:
    """Names all that computed a run, in order: "jax handcrafted", "jax → torch handcrafted",
    "jax native → torch handcrafted"."""
    merged = _merged(segments)
    if len({part.implementation for part in merged}) == 1:
        return f"{' → '.join(part.backend for part in merged)} {merged[0].implementation}"
    return " → ".join(part.label for part in merged)


def described(segments: Sequence[Segment]) -> str:
    """Names the steps of each backend: "steps 1–1000 in jax handcrafted, steps 1001–1500 in torch
    handcrafted". A resumption in the same backend does not show."""
    return ", ".join(f"{part.span} in {part.label}" for part in _merged(segments))


def _merged(segments: Sequence[Segment]) -> list[Segment]:
    """Merges neighbours of one backend; in the result only label and steps mean anything."""
    groups = (list(group) for _, group in itertools.groupby(segments, lambda part: part.label))
    return [replace(parts[0], end=parts[-1].end) for parts in groups]
