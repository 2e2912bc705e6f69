"""What a run ran on: versions and memory."""

import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = {"jax": ("jax", "jaxlib", "flax", "optax"), "torch": ("torch",)}


def versions(backend: str) -> dict[str, str]:
    """Versions of Python and of the packages that decide a backend's numbers."""
    names = ("rnn-parity", "numpy", *PACKAGES[backend])
    return {"python": platform.python_version()} | {name: _version(name) for name in names}


def peak_memory_mb() -> float:
    """Most memory that this process has had resident, in MB of 10^6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed as a package"
