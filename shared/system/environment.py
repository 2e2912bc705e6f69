"""What a run ran on: versions and memory."""

import os
import platform
import resource
import sys
import zlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from shared.errors import InvalidInput

PACKAGES = {"jax": ("jax", "jaxlib", "flax", "optax"), "torch": ("torch",)}


def versions(backend: str) -> dict[str, str]:
    """Returns the versions of Python and of the packages that decide a backend's numbers."""
    names = ("rnn-parity", "numpy", *PACKAGES[backend])
    return {"python": platform.python_version()} | {name: _version(name) for name in names}


def machine() -> str:
    """Describes system and processor for a reader of measurements."""
    return f"{platform.system()} {platform.machine()}, {_processor()}"


def cores() -> int:
    """Returns the number of usable cores: the CPU affinity, capped by the container's quota."""
    try:
        found = len(os.sched_getaffinity(0))
    except AttributeError:  # a system without affinities
        found = os.cpu_count() or 1
    try:  # "max 100000", or of each 100000 µs so many
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        return max(1, min(found, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return found


def processor_fingerprint() -> str:
    """Returns 8 hexadecimal digits, equal for processors that run the same machine code."""
    known = f"{platform.machine()} {_processor_says('flags', 'Features')}"
    return f"{zlib.crc32(known.encode()):08x}"


def busy_s() -> float | None:
    """Returns the processor time in seconds of this machine since its start.

    It covers all cores and processes, and the time that a hypervisor gave to others instead. None
    if the system does not tell.
    """
    try:
        first = Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0]
        user, nice, system, _, _, irq, softirq, steal, *_ = map(int, first.split()[1:])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def peak_memory_mb() -> float:
    """Returns the largest resident memory of this process so far, in MB of 10^6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def check_memory(needed: int, what: str) -> None:
    """Refuses what does not fit into this machine's memory, before the system runs out of it.

    Raises:
        InvalidInput: `needed` bytes are more than the physical memory.
    """
    present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > present:
        raise InvalidInput(
            f"{what} need {needed / 1e9:.1f} GB; this machine has {present / 1e9:.1f} GB"
        )


def _processor() -> str:
    return _processor_says("model name") or "unknown processor"


def _processor_says(*names: str) -> str:
    """Returns the first value in Linux's /proc/cpuinfo under one of these names.

    Elsewhere it returns the processor's name.
    """
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(names):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed as a package"
