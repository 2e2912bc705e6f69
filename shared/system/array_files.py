"""Arrays by name in .npz files of NumPy: nothing is unpickled, and a file is written as a whole."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from shared.errors import InvalidInput
from shared.system.files import DAMAGED, brief, write_atomically


def read_npz(path: Path, wanted: Callable[[str], bool]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Reads the arrays that are wanted.

    Args:
        wanted: which arrays to return, by name.

    Returns:
        Name → array, and the names of the other arrays.

    Raises:
        InvalidInput: it is missing, damaged or another file, or an array holds Python objects.
    """
    name = ""
    try:
        with np.load(path, allow_pickle=False) as file:
            names: list[str] = list(file.files)
            arrays: dict[str, np.ndarray] = {}
            for name in filter(wanted, names):
                arrays[name] = file[name]
    except (*DAMAGED, TypeError, AttributeError) as error:
        where = f" in {name}" if name else ""
        raise InvalidInput(f"{path}: expected an .npz file, got{where}: {brief(error)}") from error
    return arrays, [name for name in names if name not in arrays]


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a file; the old file stays until the new one is complete.

    Raises:
        InvalidInput: a dtype that NumPy's files do not have, such as bfloat16.
        OSError: it cannot be written; the message names the file.
    """
    for name, array in arrays.items():
        if array.dtype.kind == "V":
            raise InvalidInput(
                f"{name}: expected a dtype of NumPy's own, which alone an .npz file holds, got "
                f"{array.dtype}; .safetensors holds it"
            )
    content = io.BytesIO()
    np.savez(content, **dict(arrays))  # pyright: ignore[reportArgumentType]
    write_atomically(path, content.getvalue())
