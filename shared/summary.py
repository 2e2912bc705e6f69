"""The last thing that a run writes: summary.json, what it did and what came of it."""

from dataclasses import dataclass

from shared.checkpoint import Segment

Scores = dict[str, float]
"""By name: "loss" (nats or squared error) and the task's metric, "accuracy" or "mae"; with them the
step that was scored, or for text the bits per character."""


@dataclass(frozen=True)
class Summary:
    task: str
    source: str
    """Where the data comes from."""
    data: str
    """Its fingerprint: equal in runs that saw the same data."""
    backend: str
    implementation: str
    path: str
    """The implementation that really ran."""
    notes: list[str]
    """What a reader of the numbers must know, for all segments."""
    cell: str
    precision: str
    device: str
    versions: dict[str, str]
    parameters: int
    seed: int
    steps: int
    segments: list[Segment]
    """Which backend took which steps; one, unless the run was resumed."""
    compile_s: float
    """Seconds spent compiling."""
    step_ms: float
    """Milliseconds of a steady step, its batch included: the median over calls of the backend."""
    total_s: float
    """Seconds from reading the data to the test. Times are those since the last resumption."""
    peak_memory_mb: float
    """Most memory that the process had resident, in MB of 10^6 bytes."""
    metric: str
    train: Scores
    """Means over the training steps since the last evaluation but one."""
    valid: Scores | None
    """The best validation."""
    test: Scores
    """Scored once, with the best checkpoint."""
    held_out: bool
    """False where the test part is the training part."""
    baseline: dict[str, float | str] | None
    """What a predictor without a network reaches on the test part, and its name."""
    sample: dict[str, str] | None
    """Input, prediction and target of the first test sequence, for tasks that spell sequences."""
