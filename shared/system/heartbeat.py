"""Processes of one run that tell each other that they are alive: rank 0 each, and each rank 0.

A process that ends closes its connections, which the others notice at once. One whose host is cut
off, has lost its power or hangs says nothing, and would be waited for.
"""

import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

from shared.system.team import Team

BEAT_S = 1.0
BEATS = 90
"""Number of beats in a row that are missing where a process counts as gone. They are counted, and
not the time, because the run may be stopped as a whole and go on later."""
MEET_S = 60.0

_connections: list[socket.socket] = []
_told = Event()


def watch(team: Team, address: str, gone: Callable[[int], None]) -> None:
    """Starts threads that watch the other processes until this one ends; to be called by all.

    Args:
        address: host of rank 0.
        gone: called in a thread with the rank of a process that is silent.

    Raises:
        OSError: the processes cannot connect.
    """
    server = None
    with team.agreed():
        if team.first:
            server = _server()
    port = team.of_first(server.getsockname()[1] if server else 0)
    with team.agreed():
        if server is None:
            own = socket.create_connection((address, port), MEET_S)
            own.sendall(struct.pack("!i", team.rank))
            found = {0: own}
        else:
            found = _accepted(server, team.count - 1)
    _connections.extend(found.values())
    for rank, connection in found.items():
        Thread(target=_beat, args=(connection, rank, gone), daemon=True).start()


def tell() -> None:
    """Tells the others that this process ends and says why, before they notice it."""
    for connection in _connections:
        with suppress(OSError):
            connection.send(b"!")


def was_told() -> bool:
    """Returns True if another process has told so; it waits for what is on its way."""
    return bool(_connections) and _told.wait(3 * BEAT_S)


def _server() -> socket.socket:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    return socket.create_server(("", 0), family=family, backlog=1024, dualstack_ipv6=both)


def _accepted(server: socket.socket, count: int) -> dict[int, socket.socket]:
    """Returns the connections of the other processes, by rank."""
    found: dict[int, socket.socket] = {}
    deadline = time.monotonic() + MEET_S
    with server:
        while len(found) < count:
            server.settimeout(max(0.01, deadline - time.monotonic()))
            connection, _ = server.accept()
            connection.settimeout(MEET_S)
            said = connection.recv(4, socket.MSG_WAITALL)
            if len(said) == 4:
                found[struct.unpack("!i", said)[0]] = connection
    return found


def _beat(connection: socket.socket, rank: int, gone: Callable[[int], None]) -> None:
    missing, sent = 0, 0.0
    connection.settimeout(BEAT_S)
    try:
        while missing < BEATS:
            try:
                if time.monotonic() - sent >= BEAT_S:
                    connection.send(b".")
                    sent = time.monotonic()
                # At once, so that nothing is unread where this process ends: TCP would then drop
                # what it said last.
                said = connection.recv(1024)
                if b"!" in said:
                    _told.set()
                if not said:
                    return
                missing = 0
            except TimeoutError as error:
                missing = missing + 1 if error.errno is None else BEATS
    except (ConnectionResetError, BrokenPipeError):  # it has ended
        return
    except OSError:  # such as "no route to host"
        pass
    gone(rank)
