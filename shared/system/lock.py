"""One process at a time writes a run folder: run.lock, with the name of the one that does.

The operating system ends a lock with its process, however that ends. So a file that is left behind
says nothing by itself: it is stale where nobody holds its lock, and is taken over.
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
    """Whom a file named that was left behind; None where there was none."""

    def check(self) -> None:
        """To be called before something is written.

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
    """The file with its lock held; None where another process holds it."""
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
    """Whether a file that is open still has its name."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except OSError:
        return False


def _holder(path: Path) -> str:
    """Who holds a lock, as its file says."""
    try:
        name = json.loads(path.read_text(encoding="utf-8"))
        said = f"process {int(name['process'])} on {name['host']} since {name['since']}"
        return printable(said[:200])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return "a process that has not said its name"
