"""How the tests' programs are compiled: quickly, and each once.

Of most tests' time XLA took the most, for small programs that run once. `configure`, before JAX is
imported, sets variables that the processes which tests start inherit:

- compiled programs are kept in .cache/jax, for all workers and processes, and for the next time;
- XLA leaves out most optimizations and its fusion emitters: a sixth of the time for the gradient
  of a small LSTM, and the same numbers but for rounding.

COMPILED=as-for-a-user leaves everything on: CI runs the slow tests of compiled steps so.
"""

import os
import shutil
from pathlib import Path

from shared.system.environment import processor_fingerprint

CACHE = Path(__file__).parents[2] / ".cache" / "jax"
LARGEST = 2 * 10**9
"""Bytes beyond which the cache begins anew: nothing in it is ever removed one by one, since JAX
would lock the folder for that and look at every file whenever it writes one."""
AS_FOR_A_USER = os.environ.get("COMPILED") == "as-for-a-user"


def configure() -> None:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE / processor_fingerprint())
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    if not AS_FOR_A_USER:
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
        os.environ["XLA_FLAGS"] = (
            "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        )


def without_cache() -> dict[str, str]:
    """The environment of a process that has no cache but its own."""
    own = ("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


def make_room() -> None:
    """Called once, by the process that starts the workers."""
    if sum(file.stat().st_size for file in CACHE.rglob("*") if file.is_file()) > LARGEST:
        shutil.rmtree(CACHE)
