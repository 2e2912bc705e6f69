"""The devices of a run: which there are, which is taken, what it is called, and its threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from shared.config import Config
from shared.errors import InvalidInput
from shared.protocol.layer import GATES

SMALL = 50_000
"""Multiplications of a step's product with W_hh, B·G·H·H, up to which one thread computes: a second
one gains less than it costs to wake it. Measured: at 49 152 (GRU, B = 64, H = 16) one thread is 1.3
times as fast as two; at 65 536 (Elman, H = 32) two are 1.2 times as fast as one. For torch.nn's
layers it makes no difference there (1.00 to 1.03) on an idle machine; on a busy one two threads
wait for each other."""


def find(name: str) -> torch.device:
    """Returns the device of a kind: "auto", "cpu", "gpu" or "tpu".

    Raises:
        InvalidInput: PyTorch has no such device.
    """
    if name == "tpu":
        raise InvalidInput("--device tpu: PyTorch has none; expected auto, cpu or gpu")
    if name == "gpu" and not torch.cuda.is_available():
        raise InvalidInput("--device gpu: PyTorch sees no such device, only: cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def threads_for(config: Config) -> int:
    """Returns in how many threads a network of this size trains on a CPU: as many as torch has, or
    one (see `SMALL`). If OMP_NUM_THREADS is set, it decides."""
    network = config.network
    return threads_for_work(config.batch_size * GATES[network.cell] * network.hidden_size**2)


def threads_for_work(multiplications: int) -> int:
    """Returns in how many threads a CPU computes products of this size."""
    found = torch.get_num_threads()
    return 1 if multiplications <= SMALL and "OMP_NUM_THREADS" not in os.environ else found


def use_one_thread() -> None:
    """Makes torch compute in one thread from now on: where tensors are small, a second one
    waits."""
    torch.set_num_threads(1)


def named(device: torch.device, threads: int, processes: int = 1) -> str:
    """Names the device of a run: "cpu (2 threads)", "gpu:0 (NVIDIA H200)"; of several processes
    "cpu (1 thread), a batch shared among 2 processes"."""
    share = f", a batch shared among {processes} processes" if processes > 1 else ""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return f"gpu:{torch.cuda.current_device()} ({name}){share}"
    return f"cpu ({threads} thread{'s' * (threads > 1)}){share}"


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Sets the number of threads for a while; the number belongs to the process."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
