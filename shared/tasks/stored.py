"""Generated arrays in .npy files, mapped into memory: a data set may be larger than it.

    stored = Stored(Path("data/large"), {"task": …, "seed": …}, ["train-inputs", …])
    if not stored.complete():
        array = stored.create("train-inputs", shape, np.float32)     # to be filled
        …
        stored.finish()
    array = stored.read("train-inputs")                # read-only, nothing is loaded yet

data.json, written last, says what the folder holds.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from shared.errors import InvalidInput
from shared.files import occupants, read_values, write_atomically

IDENTITY = "data.json"
UNFINISHED = ".part"


@dataclass(frozen=True)
class Stored:
    """Arrays by name in a folder.

    Args:
        folder: it is made if it is missing.
        identity: what decides the data, in JSON's types.
        names: of all arrays.
    """

    folder: Path
    identity: dict[str, Any]
    names: Sequence[str]

    def complete(self) -> bool:
        """Whether the data lies there.

        Raises:
            InvalidInput: the folder holds other data, or anything else.
        """
        names = occupants(self.folder, "--data.folder")
        if IDENTITY in names:
            self._check_identity()
            return True
        if names - {self._file(name, UNFINISHED).name for name in self.names}:
            raise InvalidInput(
                f"--data.folder {self.folder}: expected a new or empty folder, or one with "
                f"{IDENTITY}, got one with other files"
            )
        return False

    def reserve(self, size: int) -> None:
        """Makes the folder for so many bytes.

        Raises:
            InvalidInput: it cannot be made, or its disk has not as many left.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise InvalidInput(
                f"--data.folder {self.folder}: expected a folder that can be written to, "
                f"got: {error.strerror}"
            ) from error
        if size > free:
            raise InvalidInput(
                f"--data.folder {self.folder}: the data needs {size / 1e9:.1f} GB; "
                f"its disk has {free / 1e9:.1f} GB left"
            )

    def create(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """An array of zeros to be filled; it counts once `finish` has been called."""
        return np.lib.format.open_memmap(self._file(name, UNFINISHED), "w+", np.dtype(dtype), shape)

    def finish(self) -> None:
        """What was created is complete."""
        for name in self.names:
            self._file(name, UNFINISHED).replace(self._file(name))
        write_atomically(self.folder / IDENTITY, json.dumps(self.identity, indent=2).encode())

    def read(self, name: str) -> np.ndarray:
        """An array, mapped read-only.

        Raises:
            InvalidInput: its file is missing or damaged.
        """
        file = self._file(name)
        try:
            return np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{file}: expected an array, got: {error}") from error

    def _file(self, name: str, suffix: str = "") -> Path:
        return self.folder / f"{name}.npy{suffix}"

    def _check_identity(self) -> None:
        found = read_values(self.folder / IDENTITY)
        if found != self.identity:
            found = found if isinstance(found, dict) else {}
            other = [
                f"{name} {found.get(name)} instead of {value}"
                for name, value in self.identity.items()
                if found.get(name) != value
            ]
            raise InvalidInput(
                f"--data.folder {self.folder}: expected another folder, this one holds other "
                f"data: {', '.join(other) or 'of another version'}"
            )
