"""What a run leaves behind: a folder with its configuration, one JSON line a step, and a summary.

    config.json                    the resolved configuration
    metrics.jsonl                  {"step", "epoch", "split", "loss", "accuracy" or "mae"} a line
    checkpoint-{last,best}.safetensors
    schema.json                    what the network's inputs and outputs mean: shared/schema.py
    predictions.npz                what it predicts for the test part: shared/predictions.py
    curves.png, predictions.png    loss over the steps; what is predicted, as the task needs
    summary.json                   written last: a folder without it holds an unfinished run

Everything that compares or reports reads these folders, and nothing else.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from shared import checkpoint, predictions, schema, segments
from shared.config import Config, from_json
from shared.errors import InvalidInput
from shared.files import occupants, parse, read_json, remove, write_atomically, write_json
from shared.summary import Summary

CONFIG, METRICS, CURVES, SUMMARY = "config.json", "metrics.jsonl", "curves.png", "summary.json"
SPLITS = ("train", "valid", "test")
PICTURE = "predictions.png"
RESULTS = (SUMMARY, CURVES, PICTURE, predictions.FILE)
FILES = (CONFIG, METRICS, schema.FILE, checkpoint.LAST, checkpoint.BEST, *RESULTS)


def check_free(folder: Path, overwrite: bool) -> None:
    """Refuses a folder that a new run must not write to.

    Raises:
        InvalidInput: it holds another run and overwrite is False, or anything that is no run.
    """
    names = occupants(folder)
    if CONFIG in names:
        if not overwrite:
            raise InvalidInput(
                f"--out {folder}: holds another run; continue it with --resume {folder}, "
                "replace it with --overwrite, or name another folder"
            )
    elif names:
        raise InvalidInput(
            f"--out {folder}: expected a new or empty folder, got one with other files"
        )


def create(folder: Path, config: Config) -> None:
    """Makes a run folder that holds nothing but the configuration.

    Raises:
        InvalidInput: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove(folder, FILES)
        save_config(folder, config)
    except OSError as error:
        raise InvalidInput(
            f"--out {folder}: expected a folder that can be written to, got: {error}"
        ) from error


def reopen(folder: Path, config: Config) -> None:
    """Makes a run unfinished again: what its end left would not fit what now comes."""
    remove(folder, RESULTS)
    save_config(folder, config)


def save_config(folder: Path, config: Config) -> None:
    write_json(folder / CONFIG, config)


def save_summary(folder: Path, summary: Summary) -> None:
    write_json(folder / SUMMARY, summary)


def read_config(file: Path) -> Config:
    """The configuration in a JSON file.

    Raises:
        InvalidInput: the file is missing, is not JSON, or is not a configuration of this version.
    """
    return read_json(file, from_json)


class History:
    """Appends to metrics.jsonl.

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
        path = folder / METRICS
        kept = lines_up_to(keep, path, metric) if keep else []
        write_atomically(path, b"".join(kept))
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def train(self, step: int, epoch: int, loss: float, metric: float) -> None:
        if step % self._log_every == 0:
            self.add(step, epoch, "train", loss, metric)

    def add(self, step: int, epoch: int, split: str, loss: float, metric: float) -> None:
        line = {"step": step, "epoch": epoch, "split": split, "loss": loss, self._metric: metric}
        self._file.write(json.dumps(line) + "\n")

    def flush(self) -> None:
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


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
            kept.append(line.rstrip() + b"\n")
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
        raise InvalidInput(f"{folder}: expected a finished run, got one without {SUMMARY}")
    summary = read_json(folder / SUMMARY, partial(parse, Summary))
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
    if not rows["train"]:
        raise InvalidInput(f"{folder / METRICS}: expected training steps, got none")
    return Run(folder, config, summary, curves, metric)
