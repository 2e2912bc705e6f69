"""Processes of one run, played by threads: what one gives, all get."""

from collections.abc import Callable
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any

from shared.system.team import Team

PATIENCE_S = 60.0


def in_threads(count: int, function: Callable[[Team], Any], hosts: int = 1) -> list[Any]:
    """Calls a function in as many threads, each with its place in one team.

    Args:
        hosts: how many there are; the ranks are shared out in order, to each as many.

    Returns:
        What the calls return, by rank.

    Raises:
        Exception: the one that ended the first of the calls that did not merely wait for it.
    """
    each = count // hosts
    assert each * hosts == count, "expected as many threads for each host"
    barrier, given = Barrier(count, timeout=PATIENCE_S), [b""] * count
    results: list[Any] = [None] * count
    errors: list[BaseException] = []

    def of(rank: int) -> Team:
        def exchange(own: bytes) -> list[bytes]:
            given[rank] = own
            barrier.wait()
            found = list(given)
            barrier.wait()  # so that nobody gives anew before all have it
            return found

        return Team(rank, count, rank % each, each, f"host{rank // each}", exchange)

    def call(rank: int) -> None:
        try:
            results[rank] = function(of(rank))
        except BaseException as error:
            errors.append(error)
            barrier.abort()  # the others would wait for it

    threads = [Thread(target=call, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in sorted(errors, key=lambda error: isinstance(error, BrokenBarrierError)):
        raise error
    return results


def refused(count: int, function: Callable[[Team], Any], hosts: int = 1) -> list[Exception]:
    """Calls a function as `in_threads` does, and returns the error of each call, by rank."""

    def call(team: Team) -> Exception:
        try:
            function(team)
        except Exception as error:
            return error
        raise AssertionError(f"rank {team.rank}: expected an error, got none")

    return in_threads(count, call, hosts)
