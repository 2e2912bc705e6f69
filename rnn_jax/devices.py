"""The devices of a run: which there are, which is taken, and what it is called."""

import contextlib
import os
from typing import Any

import jax
from jax.sharding import Mesh

from shared.errors import InvalidInput
from shared.system.environment import cores

SETTINGS = ("JAX_NUM_CPU_DEVICES", "JAX_PLATFORMS", "XLA_FLAGS")
"""Variables that decide which devices JAX sees."""


def use_all_cores(processes: int = 1) -> None:
    """Makes a device of each core that this process may use, unless the user has set their number
    (JAX_NUM_CPU_DEVICES, XLA_FLAGS) or JAX has begun to compute.

    Args:
        processes: those of a run on this host, among which its cores are shared.
    """
    chosen = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen or jax.config.jax_num_cpu_devices != -1:  # pyright: ignore
        return
    with contextlib.suppress(RuntimeError):  # it has begun
        jax.config.update("jax_num_cpu_devices", max(1, cores() // processes))


def find(name: str) -> Any:
    """Returns this process's first device of a kind: "auto", "cpu", "gpu" or "tpu".

    Raises:
        InvalidInput: JAX has no such device.
    """
    try:
        return jax.local_devices(backend=None if name == "auto" else name)[0]
    except (RuntimeError, AssertionError, ValueError) as error:
        # With a wrong setting such as JAX_NUM_CPU_DEVICES=0 there is no other device either.
        reason = str(error).partition("\n")[0]
        with contextlib.suppress(RuntimeError, AssertionError, ValueError):
            present = ", ".join(sorted({device.platform for device in jax.devices()}))
            reason = f"JAX sees no such device, only: {present}"
        settings = "".join(f"; {k}={v}" for k, v in os.environ.items() if k in SETTINGS)
        raise InvalidInput(f"--device {name}: {reason or 'JAX sees none'}{settings}") from error


def named(device: Any, mesh: Mesh | None = None) -> str:
    """Names the devices of a run: "cpu:0 (cpu)", "cpu:0–1 (cpu), a batch shared among 2"; of
    several processes "cpu:0–1 (cpu), a batch shared among 4 in 2 processes"."""
    processes = jax.process_count()
    own = 1 if mesh is None else mesh.size // processes
    last = f"–{own - 1}" if own > 1 else ""
    share = "" if mesh is None else f", a batch shared among {mesh.size}"
    share += f" in {processes} processes" if share and processes > 1 else ""
    return f"{device.platform}:{device.local_hardware_id or 0}{last} ({device.device_kind}){share}"
