"""The process's memory allocator: pages that one step gives back stay for the next.

    keep_pages()            # before a framework is imported
    described()             # what the allocator does, for the run's summary

Both frameworks allocate the large temporaries of a step anew in each. By default glibc maps such an
array from the system and unmaps it when it is freed, and the arena of a worker thread (XLA computes
in some) gives its memory back as well: each step's pages are faulted in and zeroed again. It can be
told to keep them.
"""

import ctypes
import os
import sys

# malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGEST = 2**30
OLDER_LARGEST = 2**25
"""What glibc took as its largest threshold for mapped memory before 2.35."""

LEFT = "as the system has it"
KEPT = "glibc: one arena, freed blocks of up to {} MB are kept"
CONFIGURED = "glibc, as the environment configures it"

ENVIRONMENT = (
    "MALLOC_ARENA_MAX", "MALLOC_ARENA_TEST", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_",
)  # fmt: skip
"""Variables that glibc reads; a user who set one has made a choice."""

_state = LEFT


def keep_pages() -> str:
    """Makes glibc's allocator keep freed memory, up to 1 GB, in this process from now on.

    All threads share one arena: others consist of heaps of 64 MB, of which glibc unmaps those that
    have become empty, whatever the thresholds.

    Nothing happens where another allocator is at work (macOS, musl, one loaded in front of
    glibc's), or where the user has configured it in the environment.

    Returns:
        `described()`.
    """
    global _state
    libc = _glibc()
    if libc is None:
        return _state
    if _configured():
        _state = CONFIGURED
        return _state
    sizes = (size for size in (LARGEST, OLDER_LARGEST) if libc.mallopt(M_MMAP_THRESHOLD, size) == 1)
    taken = next(sizes, None)
    rest = [libc.mallopt(M_TRIM_THRESHOLD, LARGEST), libc.mallopt(M_ARENA_MAX, 1)]
    if taken and rest == [1, 1]:
        _state = KEPT.format(taken // 2**20)
    return _state


def described() -> str:
    """How this process's allocator is set, in words."""
    return _state


def _configured() -> bool:
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return "glibc.malloc." in tunables or any(name in os.environ for name in ENVIRONMENT)


def _glibc() -> ctypes.CDLL | None:
    """The C library, if it is glibc and `malloc` is its own: one loaded in front of it, such as
    jemalloc, may have a `mallopt` that does nothing."""
    if not sys.platform.startswith("linux"):
        return None
    loaded = ctypes.CDLL(None)
    try:
        places = [_library(loaded, name) for name in ("malloc", "gnu_get_libc_version")]
    except AttributeError:  # musl has neither gnu_get_libc_version nor mallopt
        return None
    return loaded if places[0] == places[1] is not None else None


class _Symbol(ctypes.Structure):
    """Dl_info of dlfcn.h."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _library(loaded: ctypes.CDLL, name: str) -> int | None:
    """Where the library that a function is in has been loaded."""
    symbol = _Symbol()
    address = ctypes.cast(getattr(loaded, name), ctypes.c_void_p)
    found = loaded.dladdr(address, ctypes.byref(symbol))
    return symbol.base if found else None
