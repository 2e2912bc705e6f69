"""The process's memory allocator: it keeps the pages that one step frees for the next step.

    keep_pages()            # before a framework is imported
    described()             # what the allocator does, for the run's summary

Both frameworks allocate the large temporaries anew in each step. By default glibc maps such an
array from the system and unmaps it when it is freed. The arena of a worker thread (XLA computes in
some) gives its memory back as well. So the pages are faulted in and zeroed again in each step.
glibc can be told to keep them.
"""

import ctypes
import os
import sys

# malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGEST = 2**30
OLDER_LARGEST = 2**25
"""Largest threshold for mapped memory that glibc accepted before 2.35."""

LEFT = "as the system has it"
KEPT = "glibc: one arena, freed blocks of up to {} MB are kept"
CONFIGURED = "glibc, as the environment configures it"

ENVIRONMENT = (
    "MALLOC_ARENA_MAX", "MALLOC_ARENA_TEST", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_",
)  # fmt: skip
"""Variables that glibc reads; a user who sets one has made a choice."""

_state = LEFT


def keep_pages() -> str:
    """Makes glibc's allocator keep freed memory, up to 1 GB, in this process from now on.

    All threads share one arena. Other arenas consist of heaps of 64 MB, and glibc unmaps a heap
    that has become empty, whatever the thresholds are.

    Does nothing if another allocator is at work (macOS, musl, one loaded in front of glibc's), or
    if the user has configured it in the environment.

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
    """Describes in words how this process's allocator is set."""
    return _state


def _configured() -> bool:
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return "glibc.malloc." in tunables or any(name in os.environ for name in ENVIRONMENT)


def _glibc() -> ctypes.CDLL | None:
    """Returns the C library if it is glibc and `malloc` is its own, else None.

    Another allocator loaded in front of it, such as jemalloc, may have a `mallopt` that does
    nothing.
    """
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
    """Returns the address at which the library that contains a function is loaded."""
    symbol = _Symbol()
    address = ctypes.cast(getattr(loaded, name), ctypes.c_void_p)
    found = loaded.dladdr(address, ctypes.byref(symbol))
    return symbol.base if found else None
