"""What a run leaves behind: a folder with its configuration, one JSON line a step, and a summary.

    config.json                    the resolved configuration
    metrics.jsonl                  {"step", "epoch", "split", "loss", "accuracy" or "mae"} a line
    checkpoint-<step>.safetensors  the last ones and the best: shared/checkpoint.py
    schema.json                    what the network's inputs and outputs mean: shared/schema.py
    predictions.npz                what it predicts for the test part: shared/predictions.py
    events.out.tfevents.…          the history for TensorBoard, if wanted: shared/events.py
    curves.png, predictions.png    loss over the steps; what is predicted, as the task needs
    summary.json                   written last: a folder without it holds an unfinished run
    run.lock                       while a process writes: shared/lock.py

Each file is whole or not there, but for the last line of metrics.jsonl. JSON files and checkpoints
have checksums of themselves; that of metrics.jsonl stands in each checkpoint and in summary.json.

Everything that compares or reports reads these folders, and nothing else.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from shared import checkpoint, events, lock, predictions, schema, segments
from shared.config import Config, from_json
from shared.errors import DamagedFile, InvalidInput
from shared.files import (
    TEMPORARY,
    naming,
    occupants,
    parse,
    read_signed,
    remove,
    remove_temporary,
    reserved,
    write_atomically,
    write_signed,
)
from shared.summary import Summary

CONFIG, METRICS, CURVES, SUMMARY = "config.json", "metrics.jsonl", "curves.png", "summary.json"
SPLITS = ("train", "valid", "test")
PICTURE = "predictions.png"
RESULTS = (SUMMARY, CURVES, PICTURE, predictions.FILE)


def check_free(folder: Path, overwrite: bool) -> None:
    """Refuses a folder that a new run must not write to.

    Raises:
        InvalidInput: it holds another run and overwrite is False, or anything that is no run.
    """
    names = {name for name in occupants(folder) if not TEMPORARY.fullmatch(name)} - {lock.FILE}
    if names and not _is_run(folder, names):
        raise InvalidInput(
            f"--out {folder}: expected a new or empty folder, got one with other files"
        )
    if names and not overwrite:
        raise InvalidInput(
            f"--out {folder}: holds another run; continue it with --resume {folder}, "
            "replace it with --overwrite, or name another folder"
        )


def _is_run(folder: Path, names: Collection[str]) -> bool:
    """Whether a folder with these files is a run's: others, too, have a config.json."""
    if CONFIG not in names or METRICS in names:
        return CONFIG in names
    try:
        read_config(folder / CONFIG, edited=True)
    except InvalidInput:
        return False
    return True


@contextmanager
def created(folder: Path, config: Config, overwrite: bool) -> Iterator[lock.Lock]:
    """A run folder that holds nothing but the configuration, and is locked.

    Raises:
        InvalidInput: it cannot be made or written to, or another process writes it or has just
            finished a run there.
    """
    with reserved(folder, "--out"), lock.held(folder, "--out") as own:
        check_free(folder, overwrite)
        # The old configuration goes last: until then the folder is known to be a run's.
        clear(folder, but=(CONFIG,))
        save_config(folder, config)
        yield own


def clear(folder: Path, but: Collection[str] = ()) -> None:
    """Removes all files of a run."""
    own = {CONFIG, METRICS, schema.FILE, *RESULTS}
    own |= {checkpoint.path(folder, step).name for step in checkpoint.steps(folder)}
    remove(folder, own - {*but})
    events.clear(folder)
    remove_temporary(folder)


def reopen(folder: Path, config: Config) -> None:
    """Makes a run unfinished again: what its end left would not fit what now comes."""
    remove(folder, RESULTS)
    remove_temporary(folder)
    save_config(folder, config)


def save_config(folder: Path, config: Config) -> None:
    write_signed(folder / CONFIG, config)


def save_summary(folder: Path, summary: Summary) -> None:
    write_signed(folder / SUMMARY, summary)


def read_config(file: Path, *, edited: bool = False) -> Config:
    """The configuration in a JSON file.

    Args:
        edited: it may have been changed by hand since a run wrote it.

    Raises:
        InvalidInput: the file is missing, damaged, or is not a configuration of this version.
    """
    advice = f"; --config {file} trains a new run with it as it is"
    return read_signed(file, from_json, edited=edited, advice=advice)


class History:
    """Appends to metrics.jsonl: `flush` writes what was added since.

    Args:
        folder: the run folder.
        metric: name under which a metric is written, "accuracy" or "mae".
        log_every: training steps between two lines.
        keep: a resumed run keeps the training and validation lines up to this step. What comes
            after them is written again, also a line that was cut off when the run was killed.
    """

    def __init__(self, folder: Path, metric: str, log_every: int, keep: int = 0):
        self._metric = metric
        self._log_every = log_every
        self._path = folder / METRICS
        kept = b"".join(lines_up_to(keep, self._path, metric)) if keep else b""
        write_atomically(self._path, kept)
        self._digest = hashlib.sha256(kept)
        self._added: list[bytes] = []
        self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115

    def train(self, step: int, epoch: int, loss: float, metric: float) -> None:
        if step % self._log_every == 0:
            self.add(step, epoch, "train", loss, metric)

    def add(self, step: int, epoch: int, split: str, loss: float, metric: float) -> None:
        line = {"step": step, "epoch": epoch, "split": split, "loss": loss, self._metric: metric}
        self._added.append((json.dumps(line) + "\n").encode())

    def flush(self) -> None:
        """Raises OSError, with the name of the file, where it cannot be written."""
        content = b"".join(self._added)
        self._added.clear()
        with naming(self._path):
            left = memoryview(content)
            while left:
                left = left[self._file.write(left) :]
        self._digest.update(content)

    def sync(self) -> str:
        """Waits until all lines have reached the disk; returns their SHA-256."""
        self.flush()
        with naming(self._path):
            os.fsync(self._file.fileno())
        return self._digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
            else:  # what stopped the run counts, not that its last lines could not be written
                with suppress(OSError):
                    self.flush()
        finally:
            self._file.close()


def check_history(folder: Path, step: int, metric: str, digest: str, file: Path) -> None:
    """Compares metrics.jsonl up to a step with what a checkpoint says of it.

    Args:
        digest: its SHA-256, as `file` has it.

    Raises:
        DamagedFile: the file is missing, or damaged before that step.
    """
    path = folder / METRICS
    try:
        kept = b"".join(lines_up_to(step, path, metric))
    except InvalidInput as error:
        raise DamagedFile(str(error)) from error
    if hashlib.sha256(kept).hexdigest() != digest:
        raise DamagedFile(
            f"{path}: expected the lines up to step {step} that {file.name} was written after, "
            "got others: it is damaged, or was edited"
        )


def lines_up_to(step: int, path: Path, metric: str) -> list[bytes]:
    """The lines of metrics.jsonl that a run resumed after this step keeps.

    Raises:
        InvalidInput: the file is missing, or damaged before that step.
    """
    kept = []
    for line, record in _records(path, metric, cut_off=True):
        if record["step"] > step:
            break
        if record["split"] != "test":
            kept.append(line)
    return kept


def _records(
    path: Path, metric: str, cut_off: bool = False
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line of metrics.jsonl with what it says. With cut_off, a damaged last line is left out:
    it was being written when the run was killed."""
    types = {"step": int, "epoch": int, "split": str, "loss": float, metric: float}
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise InvalidInput(f"{path}: expected a run's history, got: {error.strerror}") from error
    for i, line in enumerate(lines):
        try:
            record = json.loads(line, parse_constant=_no_number)
            found = {name: type(value) for name, value in record.items()}
        except (ValueError, AttributeError, RecursionError):
            found = None
        if found == types and record["split"] in SPLITS:
            yield line, record
        elif not cut_off or i < len(lines) - 1:
            raise InvalidInput(
                f"{path}: expected {', '.join(types)} in line {i + 1}, got {line[:80]!r}"
            )


def _no_number(name: str) -> None:
    """JSON knows no NaN and no Infinity, but Python reads them."""
    raise ValueError(f"{name} is no number")


class Curve(NamedTuple):
    """One split's lines as arrays of equal length."""

    step: np.ndarray
    epoch: np.ndarray
    loss: np.ndarray
    metric: np.ndarray


@dataclass(frozen=True)
class Run:
    folder: Path
    config: Config
    summary: Summary
    curves: dict[str, Curve]
    """By split: train, valid, test."""
    metric: str

    @property
    def label(self) -> str:
        """What computed it: "jax handcrafted", or of a resumed run "jax → torch handcrafted"."""
        return segments.label(self.summary.segments)

    @property
    def resumed(self) -> bool:
        return len(self.summary.segments) > 1


def read_run(folder: Path) -> Run:
    """Reads a finished run.

    Raises:
        InvalidInput: the folder is missing, holds no run or an unfinished one, or a damaged file.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: expected a run folder, got nothing of that name")
    config = read_config(folder / CONFIG)
    if not (folder / SUMMARY).exists():
        raise InvalidInput(
            f"{folder}: expected a finished run, got one without {SUMMARY}; "
            f"run.py --resume {folder} finishes it"
        )
    summary = read_signed(folder / SUMMARY, partial(parse, Summary))
    if not segments.covers(summary.segments, summary.steps):
        raise InvalidInput(
            f"{folder / SUMMARY}: expected segments that cover its {summary.steps} steps, "
            f"got {segments.described(summary.segments) or 'none'}"
        )
    metric = summary.metric
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for _, record in _records(folder / METRICS, metric):
        rows[record["split"]].append(record)
    columns = ("step", "epoch", "loss", metric)
    curves = {
        split: Curve(*(np.array([record[name] for record in records]) for name in columns))
        for split, records in rows.items()
    }
    if hashlib.sha256((folder / METRICS).read_bytes()).hexdigest() != summary.history:
        raise InvalidInput(
            f"{folder / METRICS}: expected the lines that {SUMMARY} was written after, got others: "
            "it is damaged, or was edited"
        )
    if not rows["train"]:
        raise InvalidInput(f"{folder / METRICS}: expected training steps, got none")
    return Run(folder, config, summary, curves, metric)
