"""The processes of a run: how they meet, and what they send. gloo; between GPUs, NCCL.

A step sends one flat buffer, its gradients: `sharding.total` over the devices of all processes.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import numpy as np
from jax._src import distributed, xla_bridge
from jax._src.lib import _jax  # pyright: ignore[reportPrivateImportUsage]
from jax.experimental import multihost_utils

from rnn_jax import devices
from rnn_jax.coordinator import HEARTBEAT_S
from shared.errors import InvalidInput, LostProcess
from shared.system import process
from shared.system.launch import Place
from shared.system.network import own_address

JOIN_S = 300
"""Seconds in which all processes have to come."""
SMALLEST = 1024
"""Bytes of the smallest message: each power of two above it is compiled once."""

_place: list[Place] = []
_kept: list[Any] = []
"""What must live as long as the process."""


def join(place: Place, device: str) -> None:
    """Meets the other processes, and stays with them until this one ends. One that has done so
    already stays where it is.

    A process has as many CPU devices as its share of the host's cores, or, of several GPUs, that of
    its local rank.

    Raises:
        InvalidInput: the port cannot be used.
        LostProcess: the others did not come in time.
    """
    _place[:] = [place]
    if jax.distributed.is_initialized():
        return
    port = place.port + 1 + place.restarts
    if place.rank == 0:
        _coordinate(place, port)
    devices.use_all_cores(place.local_count)
    # It handles SIGTERM by itself, and speaks of it.
    jax.config.update("jax_enable_preemption_service", False)
    host = f"[{place.address}]" if ":" in place.address else place.address
    nobody = f"process {place.rank} of {place.count} found no other at {host}:{port}"
    late = f"{nobody}: expected all within {JOIN_S} s"
    patience = threading.Timer(JOIN_S, process.end, [late])  # JAX would abort, with a stack trace
    patience.daemon = True
    patience.start()
    try:
        jax.distributed.initialize(
            f"{host}:{port}",
            place.count,
            place.rank,
            local_device_ids=[place.local_rank],
            initialization_timeout=2 * JOIN_S,
            heartbeat_timeout_seconds=HEARTBEAT_S,
            # Where rank 0 would have others meet. They meet elsewhere.
            coordinator_bind_address="127.0.0.1:0" if place.rank == 0 else None,
        )
        if place.several_hosts:
            xla_bridge.register_backend_factory("cpu", partial(_cpu_client, place))
        with _without_output():  # gloo tells whom it met
            exchange(b"")
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise LostProcess(f"{nobody}: {reason}") from error
    finally:
        patience.cancel()


def _cpu_client(place: Place) -> Any:
    """Returns JAX's CPU client, which the others reach at the address from which this process
    reaches them. By itself gloo takes that of the host's name, which many a host has as its own."""
    named = os.environ.get("GLOO_SOCKET_IFNAME")
    at = {"interface": named} if named else {"hostname": own_address(place.address, place.port)}
    client = distributed.global_state.client
    return xla_bridge.make_cpu_client(
        _jax.make_gloo_tcp_collectives(distributed_client=client, **at)
    )


def exchange(own: bytes) -> list[bytes]:
    """Gives bytes to all processes and returns those of each, by rank."""
    sizes = multihost_utils.process_allgather(np.array([len(own)], np.int32)).ravel()
    size = max(SMALLEST, 1 << (int(sizes.max()) - 1).bit_length())
    padded = np.zeros(size, np.uint8)
    padded[: len(own)] = np.frombuffer(own, np.uint8)
    found = multihost_utils.process_allgather(padded)
    return [row[:length].tobytes() for row, length in zip(found, sizes, strict=True)]


def claim() -> bool:
    """Returns True in the first process that asks, which tells why the run ends."""
    state: Any = distributed.global_state
    client, state.client = state.client, None  # its end would wait for those that are gone
    _kept.append(client)
    try:
        client.key_value_set("ended", str(_place[0].rank))
    except RuntimeError:
        return False
    return True


def is_lost(error: Exception) -> bool:
    """Tells whether an error comes of another process that is gone."""
    said = str(error).lower()
    # Which of the two depends on whether it came before a program's call had returned.
    kinds = (jax.errors.JaxRuntimeError, ValueError)
    of_jax = isinstance(error, kinds) and not isinstance(error, InvalidInput)
    return of_jax and ("gloo" in said or "nccl" in said)


def _coordinate(place: Place, port: int) -> None:
    """Starts the place where all meet, and waits until it is there."""
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "rnn_jax.coordinator", str(port), str(place.count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a signal to the processes is not for it
    )
    assert child.stdout is not None
    if child.stdout.readline() != b"ready\n":
        raise InvalidInput(
            f"port {port} on {place.address}: expected a free one for JAX's processes, got one "
            "that cannot be used; torchrun takes another with --master-port"
        )
    _kept.append(child)


@contextmanager
def _without_output() -> Iterator[None]:
    """Silences what C++ prints."""
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)
        with contextlib.suppress(OSError):
            os.close(nowhere)
