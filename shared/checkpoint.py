"""Checkpoints: a snapshot and the run's position in one safetensors file, written atomically.

weights/<name>      canonical weights            (shared/weights.py)
moments/<name>      optimizer moments, "exp_avg.rnn.weight_ih_l0"
carry/<k>           recurrent state, h then c
metadata            format, step, fingerprint of the data, training and best validation scores, and
                    which backend took which steps
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from shared.backend import Snapshot
from shared.errors import InvalidInput
from shared.files import parse, write_atomically
from shared.segments import Segment

FORMAT = "rnn-parity checkpoint 1"
LAST, BEST = "checkpoint-last.safetensors", "checkpoint-best.safetensors"
SQUARES = ("exp_avg_sq", "square_avg")
"""Moments that are means of squares."""


class Checkpoint(NamedTuple):
    snapshot: Snapshot
    data: str
    """Fingerprint of the data (see `shared/tasks/task.py`)."""
    train: dict[str, float] | None = None
    """Mean loss and metric of the training steps since the evaluation before; None at step 0."""
    best: dict[str, float] | None = None
    """Loss, metric and step of the best validation so far; None without a validation part."""
    segments: Sequence[Segment] = ()
    """Which backend took which steps so far."""


def flatten(snapshot: Snapshot) -> dict[str, np.ndarray]:
    """The tensors of a snapshot by the names that they have in a file."""
    tensors = {f"weights/{name}": array for name, array in snapshot.weights.items()}
    tensors |= {f"moments/{name}": array for name, array in snapshot.moments.items()}
    return tensors | {f"carry/{k}": part for k, part in enumerate(snapshot.carry)}


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint; until it is complete, the file that stood there stays as it was."""
    tensors = flatten(checkpoint.snapshot)
    # safetensors writes the buffer as it lies in memory: a transposed view must be copied first.
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    metadata = {
        "format": FORMAT,
        "step": str(checkpoint.snapshot.step),
        "data": checkpoint.data,
        "train": json.dumps(checkpoint.train),
        "best": json.dumps(checkpoint.best),
        "segments": json.dumps([asdict(segment) for segment in checkpoint.segments]),
    }
    write_atomically(path, save(tensors, metadata))


def read(path: Path) -> Checkpoint:
    """Reads what `write` wrote.

    Raises:
        InvalidInput: the file is missing, damaged, or not a checkpoint of this version; or it holds
            what no run writes, such as weights that are not finite.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InvalidInput(f"{path}: expected a checkpoint, got: {error}") from error
    if metadata.get("format") != FORMAT:
        raise InvalidInput(f"{path}: expected format '{FORMAT}', got {metadata.get('format')!r}")
    try:
        groups: dict[str, dict[str, np.ndarray]] = {"weights": {}, "moments": {}, "carry": {}}
        for key, array in tensors.items():
            group, name = key.split("/", 1)
            groups[group][name] = array
        carry = tuple(groups["carry"][key] for key in sorted(groups["carry"]))
        snapshot = Snapshot(groups["weights"], groups["moments"], carry, int(metadata["step"]))
        segments = [parse(Segment, values) for values in json.loads(metadata["segments"])]
        train, best = json.loads(metadata["train"]), json.loads(metadata["best"])
        found = Checkpoint(snapshot, metadata["data"], train, best, segments)
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise InvalidInput(
            f"{path}: expected a checkpoint, got a damaged one: {error!r}"
        ) from error
    try:
        _check(found)
    except (InvalidInput, OverflowError) as error:
        raise InvalidInput(f"{path}: {error}") from error
    return found


def _check(found: Checkpoint) -> None:
    """Refuses what no run writes: training ends before anything that is not finite is saved."""
    if found.snapshot.step < 0:
        raise InvalidInput(f"step: expected 0 or more, got {found.snapshot.step}")
    for what, scores in (("train", found.train), ("best", found.best)):
        if scores is not None and not isinstance(scores, dict):
            raise InvalidInput(f"{what}: expected scores by name, got {scores!r}")
        for name, value in (scores or {}).items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise InvalidInput(f"{what}: {name}: expected a finite number, got {value!r}")
    for name, array in flatten(found.snapshot).items():
        if not np.isfinite(array).all():
            raise InvalidInput(
                f"{name}: expected finite numbers, got {array[~np.isfinite(array)].flat[0]}"
            )
        if name.startswith(tuple(f"moments/{square}." for square in SQUARES)) and (array < 0).any():
            raise InvalidInput(
                f"{name}: expected a mean of squares, 0 or more, got {array[array < 0].flat[0]}"
            )
