"""The processes of a run: how they meet, and what they send. gloo; between GPUs, NCCL.

A step sends one flat buffer: its gradients, with loss and metric. DistributedDataParallel is not
used: it divides the sum by the number of processes, which is right only where each has as many
targets, and it hides when it sends. FSDP2 shards what is small here.
"""

import atexit
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from shared.errors import InvalidInput, LostProcess
from shared.system.launch import Place
from shared.system.network import interface_of, own_address

JOIN_S = 300
"""Seconds in which all processes have to come."""
ANSWER_S = 1800
"""Seconds that a process waits for the others: one may read a large table meanwhile. One that has
ended is noticed at once."""
CLAIM_S = 5
"""Seconds in which a process that ends asks whether another one tells why."""

_place: list[Place] = []


def join(place: Place, device: str) -> None:
    """Meets the other processes, and stays with them until this one ends. One that has done so
    already stays in its group.

    Args:
        device: as `Config.device`; of several GPUs, each process takes that of its local rank.

    Raises:
        InvalidInput: the host has fewer GPUs than processes, or the processes cannot meet there.
    """
    gpus = torch.cuda.device_count() if device in ("auto", "gpu") else 0
    if 0 < gpus < place.local_count:
        raise InvalidInput(
            f"--device {device}: expected a GPU for each of {place.local_count} processes of this "
            f"host, got {gpus}; --device cpu needs none"
        )
    if gpus:
        torch.cuda.set_device(place.local_rank)
    _place[:] = [place]
    if dist.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
    try:
        _choose_interface(place)
        dist.init_process_group(
            backend,
            store=_store(place),
            rank=place.rank,
            world_size=place.count,
            timeout=timedelta(seconds=ANSWER_S),
        )
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise LostProcess(
            f"process {place.rank} of {place.count} found no other at "
            f"{place.address}:{place.port}: {reason}"
        ) from error
    atexit.register(dist.destroy_process_group)


def _store(place: Place) -> Any:
    """Returns the place where the processes meet, once all are there: torchrun's own, or one in
    rank 0.

    That of torchrun outlives a restart where its port is given, with the addresses of those that
    have been before.
    """
    of_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)
    store = dist.TCPStore(  # pyright: ignore[reportPrivateImportUsage]
        place.address,
        place.port,
        place.count,
        is_master=place.rank == 0 and not of_torchrun,
        timeout=timedelta(seconds=JOIN_S),
        wait_for_workers=False,
    )
    of_start = f"start-{place.restarts}"
    found = dist.PrefixStore(of_start, store)  # pyright: ignore[reportPrivateImportUsage]
    # gloo would wait for one that does not come as long as for an answer.
    found.set(f"here-{place.rank}", "")
    found.wait([f"here-{rank}" for rank in range(place.count)])
    return found


def _choose_interface(place: Place) -> None:
    """Has gloo use the network interface through which this host reaches the others. By itself it
    takes the address of the host's name, which many a host has as its own."""
    if place.several_hosts and "GLOO_SOCKET_IFNAME" not in os.environ:
        name = interface_of(own_address(place.address, place.port))
        if name is not None:
            os.environ["GLOO_SOCKET_IFNAME"] = name


def exchange(own: bytes) -> list[bytes]:
    """Gives bytes to all processes and returns those of each, by rank."""
    found: list[bytes] = [b""] * dist.get_world_size()
    dist.all_gather_object(found, own)
    return found


def total(tensors: Sequence[torch.Tensor]) -> None:
    """Replaces tensors, in place, by their sums over all processes. All are sent as one."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, sums in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(sums.view_as(tensor))


def rows(tensor: torch.Tensor, axis: int) -> torch.Tensor:
    """Returns the rows of all processes, one after the other along an axis."""
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts, dim=axis)


def claim() -> bool:
    """Returns True in the first process that asks, which tells why the run ends."""
    place = _place[0]
    # Its end would wait for those that are gone.
    atexit.unregister(dist.destroy_process_group)
    try:
        store = dist.distributed_c10d._get_default_store()
        store.set_timeout(timedelta(seconds=CLAIM_S))
        return store.add(f"ended-{place.restarts}", 1) == 1
    except RuntimeError:  # it was in rank 0, which is gone
        return place.rank == 1


def is_lost(error: Exception) -> bool:
    """Tells whether an error comes of another process that is gone."""
    if isinstance(error, (dist.DistBackendError, dist.DistNetworkError, dist.DistStoreError)):
        return True
    return isinstance(error, RuntimeError) and "gloo" in str(error).lower()
