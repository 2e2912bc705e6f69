"""Arrays by name in safetensors files: written as a whole, and checked against their checksum.

    write_tensors(path, tensors, {"format": "…"}, checksum=True)
    found = read_tensors(path, "a checkpoint", format="…")

The checksum is part of the file's metadata: the SHA-256 of everything else in the file.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

# NumPy then knows bfloat16, which files may hold.
import ml_dtypes  # noqa: F401  # pyright: ignore[reportUnusedImport]
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from shared.errors import InvalidInput
from shared.system.files import brief, write_atomically
from shared.system.json_files import CHECKSUM


class Tensors(NamedTuple):
    """Content of a file."""

    arrays: dict[str, np.ndarray]
    metadata: dict[str, str]
    others: list[str]
    """Names of the arrays that were left out."""


def write_tensors(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
    *,
    checksum: bool = False,
) -> None:
    """Writes a file; the old file stays until the new one is complete.

    Raises:
        OSError: it cannot be written; the message names the file.
    """
    # safetensors writes the buffer as it lies in memory, so a transposed view is copied first. Not
    # with np.ascontiguousarray, which gives a scalar an axis.
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    said = dict(metadata or {})
    if checksum:
        said[CHECKSUM] = digest(arrays, said)
    write_atomically(path, save(arrays, said or None))


def read_tensors(
    path: Path,
    expected: str,
    *,
    format: str | None = None,
    wanted: Callable[[str], bool] = lambda name: True,
) -> Tensors:
    """Reads a file. If it has a checksum, the whole file is read and compared with it.

    Args:
        expected: what the file should be, for the refusal: "a checkpoint".
        format: required value of "format" in its metadata, beside a checksum; None for any file.
        wanted: which arrays to return, by name.

    Raises:
        InvalidInput: it is missing, no safetensors file, of another format, or damaged.
    """
    arrays: dict[str, np.ndarray] = {}
    name = ""
    if path.is_dir():
        raise InvalidInput(f"{path}: expected {expected}, got a folder")
    try:
        with cast(Any, safe_open(path, framework="numpy")) as file:  # its stub has no types
            metadata: dict[str, str] = file.metadata() or {}
            names: list[str] = list(file.keys())
            for name in names:
                if CHECKSUM in metadata or wanted(name):
                    arrays[name] = file.get_tensor(name)
    except OSError as error:
        raise InvalidInput(f"{path}: expected {expected}, got: {brief(error)}") from error
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        where = f" in {name}" if name else ""
        reason = f"one that is cut off or damaged: {brief(error)}"
        raise InvalidInput(f"{path}: expected {expected}, got{where}: {reason}") from error
    if format is not None and metadata.get("format") != format:
        raise InvalidInput(f"{path}: expected format '{format}', got {metadata.get('format')!r}")
    whole = CHECKSUM in metadata or format is not None
    if whole and metadata.get(CHECKSUM) != digest(arrays, metadata):
        raise InvalidInput(
            f"{path}: expected contents that match its {CHECKSUM}, got others: it is damaged"
        )
    kept = {name: array for name, array in arrays.items() if wanted(name)}
    return Tensors(kept, metadata, [name for name in names if name not in kept])


def digest(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """Returns the SHA-256 of names, types, shapes, bytes and metadata, without the checksum
    itself."""
    said = {name: text for name, text in metadata.items() if name != CHECKSUM}
    found = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        found.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        found.update(array.data if array.size else b"")
    return found.hexdigest()
