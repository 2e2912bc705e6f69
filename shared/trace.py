"""A trace: everything that a training step computes, as arrays by name, phase after phase.

    inputs/…      inputs, targets, weights, and where there are any lengths and masks; learning_rate
    before/…      parameters by their canonical names, and the carried state: carry.h, carry.c
    embedded/…    embedded: what the first recurrent layer reads, (B, T, I)
    layers/…      0.outputs (B, T, D·H), 0.state.h (D, B, H), of an LSTM 0.state.c; then 1.outputs …
    logits/…      logits: (B, T, O), or (B, O) of the last step
    loss/…        loss, metric
    gradients/…   of the loss, by parameter
    norm/…        norm: the global norm of the gradients
    clipped/…     the gradients after clipping, by parameter; without clipping as they are
    moments/…     exp_avg.rnn.weight_ih_l0 …: what the optimizer remembers after the step
    weights/…     parameters after the step

B examples, T steps, I features, H units, D directions, O outputs. Both backends give the same names
and shapes; with S steps in one call every array has a leading axis S.

In files a trace is one safetensors file a step, step-000001.safetensors and so on, with these
names. Any program can write them: phases and tensors may be left out, others may be added. No
metadata is needed; with {"order": '["inputs/x", …]'} a file says itself in which order its names
are compared. Otherwise phases come in the order above, unknown ones last, and names in alphabetical
order with numbers by their value.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

import ml_dtypes  # noqa: F401  (NumPy then knows bfloat16, which files may hold)
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from shared.errors import InvalidInput
from shared.files import occupants, remove, reserved, write_atomically

Trace = dict[str, np.ndarray]
"""By name, in the order in which a step computes."""

PHASES = (
    "inputs", "before", "embedded", "layers", "logits", "loss", "gradients", "norm", "clipped",
    "moments", "weights",
)  # fmt: skip
FORMAT = "rnn-parity trace 1"
FILE = re.compile(r"step-(\d+)\.safetensors")
"""Names of the files of a folder of traces."""
UNFINISHED = ".unfinished-traces-"
"""How a folder's name begins while traces are being written into it."""


def below(phase: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors as those of a phase."""
    return {f"{phase}/{name}": tensor for name, tensor in tensors.items()}


def given(batch: Any, rate: Any, weights: Mapping[str, Any], carry: Sequence[Any]) -> dict:
    """What a step starts from: a `Batch`, its learning rate, and the state before it."""
    named = batch._asdict() | {"learning_rate": rate}
    del named["reset"]
    inputs = {name: array for name, array in named.items() if array is not None}
    return below("inputs", inputs) | below("before", {**weights, **_state("carry", carry)})


def forward(embedded: Any, layers: Sequence[Any], final: Sequence[Any], logits: Any) -> dict:
    """What a network computes.

    Args:
        layers: outputs of each recurrent layer, or only of the last one where a framework keeps
            the others to itself.
        final: (h,) or (h, c), each (L·D, B, H).
    """
    width = layers[-1].shape[-1] // final[0].shape[-1] or 1
    depth = final[0].shape[0] // width
    seen = {"embedded/embedded": embedded}
    for layer in range(depth):
        known = layer - depth + len(layers)
        if known >= 0:
            seen[f"layers/{layer}.outputs"] = layers[known]
        rows = [part[layer * width : (layer + 1) * width] for part in final]
        seen |= below("layers", _state(f"{layer}.state", rows))
    return seen | {"logits/logits": logits}


def ordered(names: Iterable[str]) -> list[str]:
    """Names in the order in which their tensors are compared."""
    return sorted(names, key=_key)


def phase_of(name: str) -> str:
    return name.partition("/")[0]


def split_steps(trace: Mapping[str, np.ndarray]) -> list[Trace]:
    """The steps that a call of a backend traced, one by one."""
    count = len(next(iter(trace.values())))
    return [{name: array[i] for name, array in trace.items()} for i in range(count)]


def write_trace(folder: Path, step: int, trace: Mapping[str, np.ndarray]) -> None:
    """Writes one step into a folder, which must exist."""
    # Not np.ascontiguousarray, which gives a scalar an axis.
    tensors = {name: np.asarray(array, order="C") for name, array in trace.items()}
    metadata = {"format": FORMAT, "step": str(step), "order": json.dumps(list(trace))}
    write_atomically(folder / f"step-{step:06}.safetensors", save(tensors, metadata))


@contextmanager
def new_folders(parent: Path, names: Sequence[str], overwrite: bool) -> Iterator[list[Path]]:
    """Folders for traces, which take their places below `parent` when the body has written all of
    them; until then, what stood there stays.

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
    """The files of a folder of traces, by step.

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
    tensors: Trace = {}
    name = ""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            for name in file.keys():  # noqa: SIM118
                tensors[name] = file.get_tensor(name)
    except (OSError, SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        where = f" in {name}" if name else ""
        raise InvalidInput(
            f"{path}: expected a trace in safetensors, got{where}: {error}"
        ) from error
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


def _state(prefix: str, parts: Sequence[Any]) -> dict[str, Any]:
    return {f"{prefix}.{name}": part for name, part in zip("hc", parts, strict=False)}


def _key(name: str) -> tuple:
    phase = phase_of(name)
    rank = PHASES.index(phase) if phase in PHASES else len(PHASES)
    pieces = re.split(r"(\d+)", name)
    return rank, [(int(piece), "") if i % 2 else (0, piece) for i, piece in enumerate(pieces)]
