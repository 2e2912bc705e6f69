"""What a run leaves behind: a folder with its configuration, one JSON line a step, and a summary.

    config.json                    the resolved configuration
    metrics.jsonl                  {"step", "epoch", "split", "loss", "accuracy" or "mae"} a line
    checkpoint-{last,best}.safetensors
    curves.png
    summary.json                   written last: a folder without it holds an unfinished run

Everything that compares or reports reads these folders, and nothing else.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from shared import checkpoint
from shared.config import Config, from_json, to_json
from shared.errors import InvalidInput

CONFIG, METRICS, CURVES, SUMMARY = "config.json", "metrics.jsonl", "curves.png", "summary.json"
FILES = (CONFIG, METRICS, CURVES, SUMMARY, checkpoint.LAST, checkpoint.BEST)


def check_free(folder: Path, overwrite: bool) -> None:
    """Refuses a folder that a new run must not write to.

    Raises:
        InvalidInput: it holds another run and overwrite is False, or anything that is no run.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InvalidInput(f"--out {folder}: expected a folder, got a file")
    if (folder / CONFIG).exists():
        if not overwrite:
            raise InvalidInput(
                f"--out {folder}: holds another run; continue it with --resume {folder}, "
                "replace it with --overwrite, or name another folder"
            )
    elif any(folder.iterdir()):
        raise InvalidInput(
            f"--out {folder}: expected a new or empty folder, got one with other files"
        )


def create(folder: Path, config: Config) -> None:
    """Makes a run folder that holds nothing but the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    save_config(folder, config)


def free_folder(parent: Path, name: str) -> Path:
    """The first of name-1, name-2, … that does not exist in a folder."""
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"


def save_config(folder: Path, config: Config) -> None:
    _write_json(folder / CONFIG, to_json(config))


def save_summary(folder: Path, summary: dict[str, Any]) -> None:
    _write_json(folder / SUMMARY, summary)


def read_config(file: Path) -> Config:
    """The configuration in a JSON file.

    Raises:
        InvalidInput: the file is missing, is not JSON, or is not a configuration of this version.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file}: expected a run's configuration, got: {error}") from error
    try:
        return from_json(values)
    except InvalidInput as error:
        raise InvalidInput(f"{file}: {error}") from error


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
        kept = []
        if keep and path.exists():
            with open(path, encoding="utf-8") as lines:
                kept = list(_lines_up_to(keep, lines))
        checkpoint.write_atomically(path, "".join(kept).encode())
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


def _lines_up_to(step: int, lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            return
        if record["step"] > step:
            return
        if record["split"] != "test":
            yield line


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
    summary: dict[str, Any]
    curves: dict[str, Curve]
    """By split: train, valid, test."""
    metric: str

    @property
    def label(self) -> str:
        return f"{self.config.backend} {self.config.implementation}"


def read_run(folder: Path) -> Run:
    """Reads a finished run.

    Raises:
        InvalidInput: the folder is missing, holds no run or an unfinished one, or a damaged file.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: expected a run folder, got nothing of that name")
    config = read_config(folder / CONFIG)
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        lines = [json.loads(line) for line in open(folder / METRICS, encoding="utf-8")]  # noqa: SIM115
        metric = summary["metric"]
        curves = {}
        for split in ("train", "valid", "test"):
            rows = [line for line in lines if line["split"] == split]
            columns = ("step", "epoch", "loss", metric)
            curves[split] = Curve(*(np.array([row[name] for row in rows]) for name in columns))
    except FileNotFoundError as error:
        name = Path(error.filename).name
        raise InvalidInput(f"{folder}: expected a finished run, got one without {name}") from error
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(
            f"{folder}: expected a finished run, got a damaged one: {error!r}"
        ) from error
    return Run(folder, config, summary, curves, metric)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    content = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    checkpoint.write_atomically(path, content.encode())
