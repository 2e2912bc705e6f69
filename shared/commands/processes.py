"""The options --processes and --devices of `parity`: what they allow, and the processes."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.errors import InvalidInput, printable

if TYPE_CHECKING:
    from shared.parity.crew import Crew
    from shared.parity.lockstep import Side

MOST = 64
"""Largest number of processes, and of devices of each."""


def check_processes(
    processes: int | None, devices: int | None, contender: str, device: str
) -> None:
    """Refuses numbers of processes and devices that cannot be.

    Args:
        contender: the one whose steps they take.
        device: the setting --device.
    """
    if processes is None:
        if devices is not None:
            raise InvalidInput(
                "--devices: expected --processes N beside it, each of which has them"
            )
        return
    if not 1 <= processes <= MOST:
        raise InvalidInput(f"--processes: expected 1 to {MOST}, got {processes}")
    if devices is not None and not 1 <= devices <= MOST:
        raise InvalidInput(f"--devices: expected 1 to {MOST}, got {devices}")
    if devices is not None and not contender.startswith("jax/"):
        raise InvalidInput(
            "--devices: a process of PyTorch has one device; expected jax/handcrafted or "
            f"jax/native as the second of --contenders, got {contender}"
        )
    if devices is not None and device not in ("auto", "cpu"):
        raise InvalidInput(f"--devices: expected --device cpu, of which it counts, got {device}")
    if processes == 1 and (devices or 1) == 1:
        raise InvalidInput("--processes 1: expected 2 or more, or --devices 2 or more beside it")


@contextmanager
def crew(processes: int | None, devices: int | None, contender: str) -> Generator["Crew | None"]:
    """Starts the processes, or none where none are asked for.

    Raises:
        SystemExit: with 1, after a line that says so, if they differ from one another.
    """
    if processes is None:
        yield None
        return
    from shared.parity.comparison import Diverged
    from shared.parity.crew import started

    with started(processes, devices or 1) as found:
        try:
            yield found
        except Diverged as error:
            print(printable(f"NOT equal: {contender} {found.described}: {error}"))
            sys.exit(1)


def extent(side: "Side") -> list[str]:
    """Returns a line that says what took the steps of a side of several processes."""
    from shared.parity.in_processes import InProcesses

    backend = side.backend
    return [f"{side.name}: {backend.extent}"] if isinstance(backend, InProcesses) else []
