"""Checkpoints: a snapshot and the run's position in one safetensors file, which never changes.

weights/<name>      canonical weights            (shared/protocol/weights.py)
moments/<name>      optimizer moments, "exp_avg.rnn.weight_ih_l0"
carry/<k>           recurrent state, h then c
metadata            format, step, fingerprint of the data, SHA-256 of the history so far, scores of
                    training and of the best validation, which backend took which steps, and the
                    SHA-256 of all of this

A run folder has one for each step at which it was written, checkpoint-200.safetensors: the newest,
some before it, and those that were best in validation.
"""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared.errors import DamagedFile, InvalidInput
from shared.protocol import Snapshot
from shared.runs.segments import Segment
from shared.system.folders import occupants, remove
from shared.system.json_files import parse
from shared.system.tensor_files import read_tensors, write_tensors

FORMAT = "rnn-parity checkpoint 2"
PATTERN = "checkpoint-<step>.safetensors"
SQUARES = ("exp_avg_sq", "square_avg")
"""Moments that are means of squares."""


@dataclass(frozen=True)
class Running:
    """Sums over the training steps since the last evaluation."""

    steps: int = 0
    loss: float = 0.0
    metric: float = 0.0

    def add(self, loss: float, metric: float) -> "Running":
        # One after the other: a resumed run adds the same numbers in the same order.
        return Running(self.steps + 1, self.loss + loss, self.metric + metric)


class Checkpoint(NamedTuple):
    snapshot: Snapshot
    data: str
    """Fingerprint of the data (see `shared/tasks/task.py`)."""
    train: dict[str, float] | None = None
    """Mean loss and metric of the training steps between the last two evaluations; None before
    that."""
    best: dict[str, float] | None = None
    """Loss, metric and step of the best validation so far; None without a validation part."""
    segments: Sequence[Segment] = ()
    """Record of which backend took which steps so far."""
    running: Running = Running()
    """Sums over the steps since the last evaluation."""
    history: str = hashlib.sha256().hexdigest()
    """SHA-256 of the lines of metrics.jsonl up to its step."""

    @property
    def best_step(self) -> int | None:
        return None if self.best is None or "step" not in self.best else int(self.best["step"])


def path(folder: Path, step: int) -> Path:
    return folder / PATTERN.replace("<step>", str(step))


def steps(folder: Path) -> list[int]:
    """Returns the steps of a run folder's checkpoints, in order."""
    pattern = re.compile(re.escape(PATTERN).replace("<step>", r"(0|[1-9]\d{0,17})"))
    found = (pattern.fullmatch(name) for name in occupants(folder))
    return sorted(int(match[1]) for match in found if match)


@dataclass
class Retention:
    """Rule for the checkpoints of a run that stay: the last few, and the best at the time of
    each."""

    folder: Path
    keep: int
    bests: dict[int, int | None] = field(default_factory=dict)
    """Step of a checkpoint → step of the best validation until then, as far as it is known."""

    def write(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint; when it is complete, removes those that need not stay."""
        step = checkpoint.snapshot.step
        write(path(self.folder, step), checkpoint)
        self.bests[step] = checkpoint.best_step
        self.clean()

    def clean(self) -> None:
        """Removes checkpoints that need not stay; removes none if that cannot be told."""
        found = steps(self.folder)
        last = found[-self.keep :]
        for step in last:
            if step not in self.bests:
                try:
                    self.bests[step] = read(path(self.folder, step)).best_step
                except DamagedFile:
                    return
        stay = {*last, *(self.bests[step] for step in last)}
        remove(self.folder, (path(self.folder, step).name for step in found if step not in stay))


def flatten(snapshot: Snapshot) -> dict[str, np.ndarray]:
    """Returns the tensors of a snapshot by their names in a file."""
    tensors = {f"weights/{name}": array for name, array in snapshot.weights.items()}
    tensors |= {f"moments/{name}": array for name, array in snapshot.moments.items()}
    return tensors | {f"carry/{k}": part for k, part in enumerate(snapshot.carry)}


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint; until it is complete, there is no file of that name."""
    tensors = flatten(checkpoint.snapshot)
    metadata = {
        "format": FORMAT,
        "step": str(checkpoint.snapshot.step),
        "data": checkpoint.data,
        "train": json.dumps(checkpoint.train),
        "best": json.dumps(checkpoint.best),
        "segments": json.dumps([asdict(segment) for segment in checkpoint.segments]),
        "running": json.dumps(asdict(checkpoint.running)),
        "history": checkpoint.history,
    }
    write_tensors(path, tensors, metadata, checksum=True)


def read(path: Path) -> Checkpoint:
    """Reads a checkpoint that `write` wrote.

    Raises:
        DamagedFile: the file is missing, damaged, or not a checkpoint of this version; or it holds
            something that no run writes, such as weights that are not finite.
    """
    try:
        tensors, metadata, _ = read_tensors(path, "a checkpoint", format=FORMAT)
    except InvalidInput as error:
        raise DamagedFile(str(error)) from error
    try:
        groups: dict[str, dict[str, np.ndarray]] = {"weights": {}, "moments": {}, "carry": {}}
        for key, array in tensors.items():
            group, name = key.split("/", 1)
            groups[group][name] = array
        carry = tuple(groups["carry"][key] for key in sorted(groups["carry"]))
        snapshot = Snapshot(groups["weights"], groups["moments"], carry, int(metadata["step"]))
        segments = [parse(Segment, values) for values in json.loads(metadata["segments"])]
        train, best = json.loads(metadata["train"]), json.loads(metadata["best"])
        running = parse(Running, json.loads(metadata["running"]))
        found = Checkpoint(
            snapshot, metadata["data"], train, best, segments, running, metadata["history"]
        )
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise DamagedFile(f"{path}: expected a checkpoint, got a damaged one: {error!r}") from error
    try:
        _check(found)
    except (InvalidInput, OverflowError) as error:
        raise DamagedFile(f"{path}: {error}") from error
    return found


def read_last(folder: Path) -> tuple[Checkpoint, Checkpoint]:
    """Reads the newest checkpoint of a run, and the one that was best in validation.

    There must be at least one. Without validation it returns the newest twice.

    Raises:
        DamagedFile: one cannot be read; the message names another one from which to go on.
    """
    newest, *others = reversed(steps(folder))
    try:
        return read_with_best(folder, newest)
    except DamagedFile as error:
        for step in others:
            try:
                read_with_best(folder, step)
            except DamagedFile:
                continue
            raise DamagedFile(f"{error}; {offer(folder, step)}") from error
        raise DamagedFile(f"{error}; {anew(folder)}") from error


def read_with_best(folder: Path, step: int) -> tuple[Checkpoint, Checkpoint]:
    """Reads a checkpoint of a run, and the one that was best in validation until then."""
    file = path(folder, step)
    found = read(file)
    if found.snapshot.step != step:
        raise DamagedFile(f"{file}: expected the step of its name, got {found.snapshot.step}")
    if found.best_step in (None, step):
        return found, found
    return found, read(path(folder, found.best_step))


def offer(folder: Path, step: int) -> str:
    """Says how to go on from a whole checkpoint if those after it cannot be used."""
    later = [path(folder, n).name for n in steps(folder) if n > step]
    return f"{path(folder, step).name} is whole: remove {' and '.join(later)} to go on from it"


def anew(folder: Path) -> str:
    """Says how to begin anew with a run that cannot go on."""
    return f"--config {folder / 'config.json'} --out {folder} --overwrite begins anew"


def _check(found: Checkpoint) -> None:
    """Refuses values that no run writes: training ends before anything that is not finite is
    saved."""
    if found.snapshot.step < 0:
        raise InvalidInput(f"step: expected 0 or more, got {found.snapshot.step}")
    if not 0 <= found.running.steps <= found.snapshot.step:
        raise InvalidInput(
            f"running: expected 0 to {found.snapshot.step} steps, got {found.running.steps}"
        )
    for what, scores in (
        ("train", found.train), ("best", found.best), ("running", asdict(found.running)),
    ):  # fmt: skip
        if scores is not None and not isinstance(scores, dict):
            raise InvalidInput(f"{what}: expected scores by name, got {scores!r}")
        for name, value in (scores or {}).items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise InvalidInput(f"{what}: {name}: expected a finite number, got {value!r}")
    step = (found.best or {}).get("step")
    if step is not None and not (0 < step <= found.snapshot.step and step == int(step)):
        raise InvalidInput(f"best: expected a step from 1 to {found.snapshot.step}, got {step}")
    for name, array in flatten(found.snapshot).items():
        if not np.isfinite(array).all():
            raise InvalidInput(
                f"{name}: expected finite numbers, got {array[~np.isfinite(array)].flat[0]}"
            )
        if name.startswith(tuple(f"moments/{square}." for square in SQUARES)) and (array < 0).any():
            raise InvalidInput(
                f"{name}: expected a mean of squares, 0 or more, got {array[array < 0].flat[0]}"
            )
