"""Traces in files: one safetensors file a step, step-000001.safetensors and so on.

Any program can write them, with the names of `shared/protocol/trace.py`: phases and tensors may be
left out, others may be added. No metadata is needed; with {"order": '["inputs/x", …]'} a file says
itself in which order its names are compared. Otherwise phases come in the protocol's order, unknown
ones last, and names in alphabetical order with numbers by their value.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

import numpy as np

from shared.errors import InvalidInput
from shared.protocol.trace import Trace, ordered
from shared.system.folders import occupants, remove, reserved
from shared.system.tensor_files import read_tensors, write_tensors

FORMAT = "rnn-parity trace 1"
FILE = re.compile(r"step-(\d+)\.safetensors")
"""Names of the files of a folder of traces."""
UNFINISHED = ".unfinished-traces-"
"""Beginning of a folder's name while traces are being written into it."""


def write_trace(folder: Path, step: int, trace: Mapping[str, np.ndarray]) -> None:
    """Writes one step into a folder, which must exist."""
    metadata = {"format": FORMAT, "step": str(step), "order": json.dumps(list(trace))}
    write_tensors(folder / f"step-{step:06}.safetensors", trace, metadata)


@contextmanager
def new_folders(parent: Path, names: Sequence[str], overwrite: bool) -> Iterator[list[Path]]:
    """Makes folders for traces. They take their places below `parent` when the body has written all
    of them; until then, the old content stays.

    Raises:
        InvalidInput: there are traces already and overwrite is False, or other files, or they
            cannot be made.
    """
    found = {name: occupants(parent / name, "--traces") for name in names}
    others = occupants(parent, "--traces") - set(names)
    left = {name for name in others if name.startswith(UNFINISHED)}  # by a run that was killed
    if others - left or any(not FILE.fullmatch(file) for files in found.values() for file in files):
        raise InvalidInput(f"--traces {parent}: expected a new or empty folder, got one with files")
    if (left or any(found.values())) and not overwrite:
        raise InvalidInput(f"--traces {parent}: holds other traces; --overwrite replaces them")
    with reserved(parent, "--traces"), TemporaryDirectory(prefix=UNFINISHED, dir=parent) as scratch:
        for name in names:
            Path(scratch, name).mkdir()
        yield [Path(scratch, name) for name in names]
        for name, files in found.items():
            remove(parent / name, files)
            Path(scratch, name).replace(parent / name)
        for name in left:
            rmtree(parent / name)


def steps_in(folder: Path) -> dict[int, Path]:
    """Returns the files of a folder of traces, by step.

    Raises:
        InvalidInput: there is no such folder, or no trace in it, or a safetensors file of another
            name, which would be left out.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: expected a folder of traces, got nothing of that name")
    found: dict[int, Path] = {}
    for file in sorted(folder.iterdir()):
        if match := FILE.fullmatch(file.name):
            step = int(match[1])
            if step in found:
                raise InvalidInput(f"{folder}: expected one file of step {step}, got two")
            found[step] = file
        elif file.suffix == ".safetensors" and not file.name.startswith("."):
            raise InvalidInput(
                f"{folder}: expected files step-000001.safetensors …, got {file.name}"
            )
    if not found:
        raise InvalidInput(f"{folder}: expected files step-000001.safetensors …, got none")
    return dict(sorted(found.items()))


def read_trace(path: Path) -> Trace:
    """Reads one step.

    Raises:
        InvalidInput: it is missing, truncated, no safetensors file, or has no tensor, or tensors of
            other kinds than real numbers, integers and booleans.
    """
    tensors, metadata, _ = read_tensors(path, "a trace in safetensors")
    if not tensors:
        raise InvalidInput(f"{path}: expected a trace, got a file without tensors")
    for name, array in tensors.items():
        if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
            raise InvalidInput(f"{path}: {name}: expected real numbers, got {array.dtype}")
    return {name: tensors[name] for name in _said_order(path, metadata, tensors)}


def _said_order(path: Path, metadata: Mapping[str, str], tensors: Trace) -> list[str]:
    if "order" not in metadata:
        return ordered(tensors)
    try:
        order = json.loads(metadata["order"])
        if sorted(order) == sorted(tensors):
            return order
    except (ValueError, TypeError, RecursionError):
        pass
    raise InvalidInput(f"{path}: expected the metadata 'order' to list every tensor once")
