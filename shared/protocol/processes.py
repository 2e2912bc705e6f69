"""How the processes of one run find each other, in the framework that they train with.

    with joined(config) as team:
        …                               # process team.rank of team.count

The variables of a launcher (`shared/system/launch.py`) say that there are several. What sends and
receives is `processes.py` of the backend.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import NamedTuple, Protocol

from shared.config import Config
from shared.errors import InvalidInput, LostProcess
from shared.protocol.backend import part_of
from shared.system import process
from shared.system.heartbeat import BEAT_S, BEATS, tell, was_told, watch
from shared.system.launch import Place, place
from shared.system.team import ALONE, Team

CLAIM_S = 10.0
"""Seconds after which the others do not answer which of them tells why the run ends."""


class Messages(Protocol):
    """What `processes.py` of a backend offers."""

    def join(self, place: Place, device: str) -> None:
        """Meets the other processes, and stays with them until this one ends.

        Args:
            device: as `Config.device`.

        Raises:
            InvalidInput: the port or the device cannot be used.
            LostProcess: the others did not come in time.
        """
        ...

    def exchange(self, own: bytes) -> list[bytes]:
        """Gives bytes to all processes and returns those of each, by rank."""
        ...

    def claim(self) -> bool:
        """Returns True in the first process that asks, which tells why the run ends."""
        ...

    def is_lost(self, error: Exception) -> bool:
        """Tells whether an error comes of another process that is gone."""
        ...


class Joined(NamedTuple):
    team: Team
    messages: Messages


_joined: dict[str, Joined] = {}
"""What this process has joined, by backend: it joins once, for all its runs."""


@contextmanager
def joined(config: Config) -> Iterator[Team]:
    """Joins the other processes of a run; a process that was started alone is a team of its own.

    If it ends in an error, one process says it: a command prints nothing in the others, and ends
    without waiting for them.

    Args:
        config: resolved.

    Raises:
        InvalidInput: the launcher's variables cannot be used, or the configuration cannot be
            trained in several processes.
        LostProcess: another process is gone, or did not come in time.
    """
    found = place()
    if found is None:
        yield ALONE
        return
    try:
        team, messages = _join(config, found)
    except BaseException:
        process.part(silent=None)
        raise
    try:
        yield team
    except GeneratorExit:  # nobody holds it any more, which is no error
        raise
    except BaseException as error:
        process.ignore_signals()  # it ends; a launcher that stops all may say it once more
        claimed = messages.claim()
        if claimed:
            tell()
        # What knows who was first may have been in rank 0, which has said it and ended.
        process.part(silent=not claimed or (not team.first and was_told()))
        if isinstance(error, Exception) and messages.is_lost(error):
            raise LostProcess(lost(team)) from error
        raise


def lost(team: Team) -> str:
    """Says that another process is gone."""
    return (
        f"process {team.rank} of {team.count} lost its connection to another one, which has ended"
    )


def is_lost(config: Config, error: Exception) -> bool:
    """Tells whether an error comes of another process of the run that is gone."""
    found = _joined.get(config.backend)
    return isinstance(error, LostProcess) or (found is not None and found.messages.is_lost(error))


def _gone(team: Team, messages: Messages, rank: int) -> None:
    """Ends this process, whatever it does or waits for, because another one is silent."""
    claimed: list[bool] = []
    asking = Thread(target=lambda: claimed.append(messages.claim()), daemon=True)
    asking.start()
    asking.join(CLAIM_S)
    process.part(silent=claimed == [False])  # no answer: who would say it is cut off, too
    process.end(
        f"process {team.rank} of {team.count} has heard nothing of process {rank} for "
        f"{BEATS * BEAT_S:g} s: its host is cut off, or it hangs; --resume goes on from the last "
        "checkpoint"
    )


def _join(config: Config, found: Place) -> Joined:
    if config.implementation == "native" and config.network.dropout:
        raise InvalidInput(
            f"--implementation native --dropout {config.network.dropout:g}: expected no dropout in "
            f"{found.count} processes, or --implementation handcrafted: the framework's own layers "
            "draw masks for the rows of one process, not for those of the batch"
        )
    if config.backend not in _joined:
        messages: Messages = part_of(config.backend, "processes")  # pyright: ignore
        messages.join(found, config.device)
        team = Team(
            rank=found.rank,
            count=found.count,
            local_rank=found.local_rank,
            local_count=found.local_count,
            node=found.node,
            exchange=messages.exchange,
        )
        try:
            watch(team, found.address, partial(_gone, team, messages))
        except OSError as error:
            raise LostProcess(f"process {team.rank} of {team.count}: {error}") from error
        except (RuntimeError, ValueError) as error:
            if messages.is_lost(error):
                raise LostProcess(lost(team)) from error
            raise
        _joined[config.backend] = Joined(team, messages)
    return _joined[config.backend]
