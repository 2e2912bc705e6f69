"""The lock of a run folder: only one process at a time writes it. run.lock names that process.

The operating system releases a lock when its process ends, however that happens. So a file that is
left behind says nothing by itself. If nobody holds its lock, the file is stale and is taken over.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from shared.errors import InvalidInput, printable

FILE = "run.lock"


class Lock(NamedTuple):
    folder: Path
    handle: int
    stale: str | None
    """Process named by a file that was left behind; None if there was no such file."""

    def check(self) -> None:
        """Checks that the lock is still in place; to be called before each write.

        Raises:
            OSError: somebody has removed the lock's file, so that another process may hold it.
        """
        if not _is_at(self.handle, self.folder / FILE):
            raise OSError(
                errno.ENOLCK, "it was removed, and another process may write this run",
                str(self.folder / FILE),
            )  # fmt: skip


@contextmanager
def held(folder: Path, option: str) -> Generator[Lock, None, None]:
    """Holds the lock of a folder, which must exist.

    Args:
        option: "--out" or "--resume", for the refusal.

    Raises:
        InvalidInput: another process holds it, or the folder cannot be written to.
    """
    path = folder / FILE
    try:
        handle = _open(path)
        if handle is None:
            raise InvalidInput(
                f"{option} {folder}: another process writes this run: {_holder(path)}; "
                "wait for it, or stop it"
            )
        stale = _holder(path) if path.stat().st_size else None
        name = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(name).encode(), 0)
        except OSError:  # such as of a full disk
            os.close(handle)
            raise
    except OSError as error:
        raise InvalidInput(
            f"{option} {folder}: expected a folder that can be written to, got of its {FILE}: "
            f"{error.strerror}"
        ) from error
    try:
        yield Lock(folder, handle, stale)
    finally:
        with contextlib.suppress(OSError):
            if _is_at(handle, path):  # and not one of another process
                path.unlink()  # before it is given up: no other can hold a file without a name
        os.close(handle)


def _open(path: Path) -> int | None:
    """Opens the file and takes its lock; returns None if another process holds it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its holder may have removed it between the two.
            if _is_at(handle, path):
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Tells whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except OSError:
        return False


def _holder(path: Path) -> str:
    """Returns the holder of a lock, as its file names it."""
    try:
        name = json.loads(path.read_text(encoding="utf-8"))
        said = f"process {int(name['process'])} on {name['host']} since {name['since']}"
        return printable(said[:200])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return "a process that has not said its name"
