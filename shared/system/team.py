"""The processes that train one run together, and how they agree.

    with joined(config) as team:            # shared/protocol/processes.py
        with team.agreed():                 # what stops one process stops all, with the same words
            task = load(…)
        names = team.gather(task.source)    # that of each process, by rank

Every method but `several` and `first` has to be called by all processes, in the same order: each
waits for the others.
"""

import pickle
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from shared.errors import InvalidInput, LostProcess, TrainingDiverged

Value = TypeVar("Value")


def _alone(own: bytes) -> list[bytes]:
    return [own]


@dataclass(frozen=True)
class Team:
    rank: int = 0
    count: int = 1
    """Number of processes."""
    local_rank: int = 0
    local_count: int = 1
    node: str = ""
    """Text that is equal for processes of one host."""
    exchange: Callable[[bytes], list[bytes]] = _alone
    """Function that gives bytes to all processes and returns those of each, by rank."""

    @property
    def several(self) -> bool:
        return self.count > 1

    @property
    def first(self) -> bool:
        """True in the process that writes the run's files."""
        return self.rank == 0

    def gather(self, value: Value) -> list[Value]:
        """Returns the value of each process, by rank."""
        if not self.several:
            return [value]
        return [pickle.loads(found) for found in self.exchange(pickle.dumps(value))]

    def of_first(self, value: Value) -> Value:
        """Returns the value of rank 0; what the others give is not looked at."""
        if not self.several:
            return value
        return pickle.loads(self.exchange(pickle.dumps(value) if self.first else b"")[0])

    def any(self, flag: bool) -> bool:
        """Tells whether it is true in one process or more."""
        return any(self.gather(flag))

    @contextmanager
    def agreed(self) -> Generator[None, None, None]:
        """Has what one process raises inside raised in all of them, at its end.

        The processes must do inside what needs no other. Where several fail, the error is that of
        the lowest rank.

        Raises:
            InvalidInput, TrainingDiverged, OSError: as inside, in any process.
        """
        own: Exception | None = None
        try:
            yield
        except LostProcess:
            raise
        except Exception as error:
            if not self.several:
                raise
            own = error
        found = self.gather(None if own is None else _told(own))
        failed = [rank for rank, error in enumerate(found) if error is not None]
        if not failed:
            return
        if own is not None and failed[0] == self.rank:
            raise own
        where = "" if len(failed) == self.count else f"process {failed[0]} of {self.count}: "
        raise _retold(found[failed[0]], where)


ALONE = Team()
"""A run of a single process. Nothing is sent."""


def _told(error: Exception) -> tuple[str, Any]:
    """Returns what the other processes need to know of an error."""
    if isinstance(error, OSError):
        return "OSError", (error.errno, str(error.strerror or error), error.filename)
    for kind in (InvalidInput, TrainingDiverged):
        if isinstance(error, kind):
            return kind.__name__, str(error)
    return "", f"{type(error).__name__}: {error}"


def _retold(told: Any, where: str) -> Exception:
    """Returns another process's error."""
    kind, what = told
    if kind == "OSError":
        number, reason, file = what
        return OSError(number, f"{where}{reason}", file) if number else OSError(f"{where}{reason}")
    kinds = {"InvalidInput": InvalidInput, "TrainingDiverged": TrainingDiverged}
    return kinds.get(kind, LostProcess)(f"{where}{what}")
