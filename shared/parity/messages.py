"""What a process of `shared/parity/worker.py` says to the one that asks it (`crew.py`)."""

from typing import Any, NamedTuple


class Facts(NamedTuple):
    """What a backend says of itself in one process."""

    device: str
    devices: int
    """How many share a batch, in all processes."""
    path: str
    notes: list[str]
    parameters: list[str]
    own_masks: bool
    fingerprint: str
    """That of the data that the process reads."""


class Answer(NamedTuple):
    """The answer to a request."""

    value: Any
    """What was asked for, from rank 0; None from the others."""
    checksums: list[dict[str, str]]
    """For each step, the checksum of each phase, or of each kind of arrays."""
    facts: Facts


class Alive(NamedTuple):
    """A sign of life."""

    cpu_s: float
    """Processor time that the process has used so far, in seconds."""


class Failed(NamedTuple):
    """The last word of a process that cannot go on."""

    invalid: bool
    """True if it was `InvalidInput`."""
    message: str
