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


def use_all_cores() -> None:
    """Makes a device of each core that this process may use, unless the user has set their number
    (JAX_NUM_CPU_DEVICES, XLA_FLAGS) or JAX has begun to compute."""
    chosen = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen or jax.config.jax_num_cpu_devices != -1:  # pyright: ignore
        return
    with contextlib.suppress(RuntimeError):  # it has begun
        jax.config.update("jax_num_cpu_devices", cores())


def find(name: str) -> Any:
    """Returns the first device of a kind: "auto", "cpu", "gpu" or "tpu".

    Raises:
        InvalidInput: JAX has no such device.
    """
    try:
        return jax.devices(None if name == "auto" else name)[0]
    except (RuntimeError, AssertionError, ValueError) as error:
        # With a wrong setting such as JAX_NUM_CPU_DEVICES=0 there is no other device either.
        reason = str(error).partition("\n")[0]
        with contextlib.suppress(RuntimeError, AssertionError, ValueError):
            present = ", ".join(sorted({device.platform for device in jax.devices()}))
            reason = f"JAX sees no such device, only: {present}"
        settings = "".join(f"; {k}={v}" for k, v in os.environ.items() if k in SETTINGS)
        raise InvalidInput(f"--device {name}: {reason or 'JAX sees none'}{settings}") from error


def named(device: Any, mesh: Mesh | None = None) -> str:
    """Names the devices of a run: "cpu:0 (cpu)", "cpu:0–1 (cpu), a batch shared among 2"."""
    last = "" if mesh is None else f"–{mesh.devices.flat[-1].id}"
    share = "" if mesh is None else f", a batch shared among {mesh.size}"
    return f"{device.platform}:{device.id}{last} ({device.device_kind}){share}"
