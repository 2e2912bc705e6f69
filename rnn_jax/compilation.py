"""Compiled programs are kept on disk: a later process loads them instead of compiling again.

JAX's persistent cache, in $XDG_CACHE_HOME/rnn-parity/jax (~/.cache/rnn-parity/jax), at most 1 GB.
JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=false switches it off.
"""

import glob
import os
import re
import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import jax

from shared.system.environment import processor_fingerprint

_config: Any = jax.config  # whose values have no types

LARGEST = 10**9
"""Bytes on disk; beyond them the programs that were used longest ago are removed."""
UNREADABLE = "Error reading persistent compilation cache entry for"


class Programs:
    """The programs compiled since this object was made, and those of them that came from the cache.

    It switches the cache on, for the whole process. A folder that cannot be written to, a damaged
    file or a full disk only costs the time to compile; the damaged file is replaced.
    """

    def __init__(self) -> None:
        _use_cache()
        self._before = _events().copy()

    @property
    def requested(self) -> int:
        """Programs that were looked for in the cache."""
        return self._since("/jax/compilation_cache/compile_requests_use_cache")

    @property
    def cached(self) -> int:
        """Programs that were found there."""
        return self._since("/jax/compilation_cache/cache_hits")

    def __str__(self) -> str:
        if not _config.jax_compilation_cache_dir or not self.requested:
            return "compiled, without a cache"
        return f"{self.cached} of {self.requested} programs from the cache"

    def _since(self, event: str) -> int:
        return _events()[event] - self._before[event]


@cache
def _events() -> Counter[str]:
    """Returns how often each of JAX's events has happened, counted from the first call on."""
    events: Counter[str] = Counter()
    jax.monitoring.register_event_listener(lambda event, **_: events.update([event]))
    return events


def _use_cache() -> None:
    # One who names a folder has said where and how.
    if not _config.jax_enable_compilation_cache or _config.jax_compilation_cache_dir:
        return
    folder = _folder()
    if folder is None:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # A run compiles a few large programs and some tiny ones; together those take as long.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    # With a limit, JAX also locks the folder: no process reads what another is still writing.
    jax.config.update("jax_compilation_cache_max_size", LARGEST)
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache")
    _replace_damaged(folder)


def _replace_damaged(folder: Path) -> None:
    """Removes files that JAX cannot read, which it says in a warning. JAX writes no file that is
    there already, so it would compile such a program anew in every process."""
    usual = warnings.showwarning

    def show(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        damaged = re.match(f"{UNREADABLE} '(.+?)'", str(message))
        if damaged is None:
            usual(message, *args, **kwargs)
            return
        for file in folder.glob(f"{glob.escape(damaged[1])}-*-cache"):
            file.unlink(missing_ok=True)

    warnings.showwarning = show
    warnings.filterwarnings("always", UNREADABLE)


def _folder() -> Path | None:
    """Returns the folder of the programs for this processor; None if nothing can be written
    there."""
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        # A home may be shared by machines whose processors do not understand each other's code.
        folder = caches / "rnn-parity" / "jax" / processor_fingerprint()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None
