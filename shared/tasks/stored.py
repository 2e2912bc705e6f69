"""Generated arrays in .npy files, mapped into memory, so that a data set may be larger than memory.

    stored = Stored(Path("data/large"), {"task": …, "seed": …}, {"train-inputs": Form(…), …})
    with stored.alone():
        if not stored.complete():
            array = stored.create("train-inputs")      # to be filled
            …
            stored.finish()
    array = stored.read("train-inputs")                # read-only, nothing is loaded yet

data.json, written last, says what the folder holds.
"""

import fcntl
import json
import math
import os
import shutil
import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from shared.errors import InvalidInput
from shared.system.files import write_atomically
from shared.system.folders import occupants, reserved
from shared.system.json_files import Json, read_values

IDENTITY = "data.json"
UNFINISHED = ".part"


class Form(NamedTuple):
    """Shape and dtype of an array, without its numbers."""

    shape: tuple[int, ...]
    dtype: DTypeLike

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"of {np.dtype(self.dtype)} {self.shape}"


@dataclass(frozen=True)
class Stored:
    """Arrays by name in a folder.

    Args:
        folder: it is made if it is missing.
        identity: the settings that decide the data, in JSON's types.
        forms: name → shape and dtype, of all arrays.
    """

    folder: Path
    identity: dict[str, Any]
    forms: Mapping[str, Form]

    @contextmanager
    def alone(self) -> Generator[None, None, None]:
        """Makes the folder, and keeps other processes out of it; waits for one that is already
        there.

        Raises:
            InvalidInput: it cannot be made, or its disk has not enough space left for the data.
        """
        with ExitStack() as stack:
            if not self.folder.exists():
                self._check_space(next(p for p in self.folder.absolute().parents if p.exists()))
                stack.enter_context(reserved(self.folder, "--data.folder"))
            handle = os.open(self.folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another process in {self.folder}", file=sys.stderr, flush=True)
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def complete(self) -> bool:
        """Tells whether the folder holds the complete data.

        Raises:
            InvalidInput: the folder holds other data, or anything else.
        """
        names = occupants(self.folder, "--data.folder")
        if IDENTITY in names:
            self._check_identity()
            return True
        # What a killed process left: unfinished files, or all of them where it was finishing.
        begun = {self._file(name, UNFINISHED).name for name in self.forms}
        ended = {file.removesuffix(UNFINISHED) for file in begun}
        finishing = {file.removesuffix(UNFINISHED) for file in names} == ended
        if names - begun - (ended if finishing else set()):
            raise InvalidInput(
                f"--data.folder {self.folder}: expected a new or empty folder, or one with "
                f"{IDENTITY}, got one with other files"
            )
        self._check_space(self.folder)
        return False

    def create(self, name: str) -> np.ndarray:
        """Makes an array of zeros to be filled; it counts once `finish` has been called."""
        shape, dtype = self.forms[name]
        return np.lib.format.open_memmap(self._file(name, UNFINISHED), "w+", np.dtype(dtype), shape)

    def finish(self) -> None:
        """Marks the created arrays as complete."""
        for name in self.forms:
            self._file(name, UNFINISHED).replace(self._file(name))
        write_atomically(self.folder / IDENTITY, json.dumps(self.identity, indent=2).encode())

    def read(self, name: str) -> np.ndarray:
        """Returns an array, mapped read-only.

        Raises:
            InvalidInput: its file is missing or damaged, or holds another array.
        """
        file, form = self._file(name), self.forms[name]
        try:
            found = np.lib.format.open_memmap(file, mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise InvalidInput(f"{file}: expected an array {form}, got: {error}") from error
        got = Form(found.shape, found.dtype)
        if str(got) != str(form):
            raise InvalidInput(f"{file}: expected an array {form}, got one {got}")
        return found

    def _check_space(self, where: Path) -> None:
        size = sum(form.bytes for form in self.forms.values())
        free = shutil.disk_usage(where).free
        if size > free:
            raise InvalidInput(
                f"--data.folder {self.folder}: the data needs {size / 1e9:.1f} GB; "
                f"its disk has {free / 1e9:.1f} GB left"
            )

    def _file(self, name: str, suffix: str = "") -> Path:
        return self.folder / f"{name}.npy{suffix}"

    def _check_identity(self) -> None:
        found: Json = read_values(self.folder / IDENTITY)
        if found == self.identity:
            return
        found = found if isinstance(found, dict) else {}
        other = [
            f"{name} {found[name]} instead of {value}"
            for name, value in self.identity.items()
            if name in found and found[name] != value
        ]
        raise InvalidInput(
            f"--data.folder {self.folder}: expected another folder, this one holds other "
            f"data: {', '.join(other) or 'of another version'}"
        )
