"""Files with numbers as a user writes them, and what a refusal of one must look like."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.system.tables import Table, read_table


def csv(folder: Path, content: str | bytes) -> Path:
    file = folder / "table.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def table(folder: Path, content: str | bytes, name: str = "sales.csv") -> Table:
    """Writes a file and reads it as a table."""
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table([file])


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "table.npz", **arrays)  # pyright: ignore[reportArgumentType]
    return folder / "table.npz"


def refused(file: Path, read: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{re.escape(str(file))}(: |, ){message}$"):
        read()


INPUTS = np.arange(24.0).reshape(2, 3, 4)
