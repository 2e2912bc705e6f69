"""Files that are either complete or absent, whatever stops the process that writes them."""

import os
import re
import secrets
import zlib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from shared.system.folders import occupants, remove

if TYPE_CHECKING:
    pass


TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
"""Names of files that a killed process was writing."""

DAMAGED = (OSError, ValueError, EOFError, KeyError, RuntimeError, BadZipFile, zlib.error)
"""Errors that NumPy raises if a file is no NPY or NPZ file, or is damaged."""


@contextmanager
def naming(path: Path) -> Generator[None, None, None]:
    """Makes an OSError raised inside name this file; errors of writing do not name it by
    themselves."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def brief(error: Exception) -> str:
    """Returns an error's message, cut to 200 characters: some repeat the file's content."""
    said = str(error)
    return said if len(said) <= 200 else f"{said[:200]}…"


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file as a whole: a reader sees the old content or the new, never a part.

    Raises:
        OSError: it cannot be written; the message names the file, and nothing is left behind.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with naming(path):
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _keep_name(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _keep_name(folder: Path) -> None:
    """Makes a file's new name outlive a power failure, by writing its folder to the disk, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # of file systems that do not know it
            os.fsync(handle)
    finally:
        os.close(handle)


def remove_temporary(folder: Path) -> None:
    """Removes the unfinished files of processes that were killed."""
    remove(folder, (name for name in occupants(folder) if TEMPORARY.fullmatch(name)))


# JSON's numbers as dacite should see them: 3 will do for a float, and True is no number although
# Python counts it among the integers. What does not fit is left to dacite, which names the field.
