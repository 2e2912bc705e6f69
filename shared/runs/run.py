"""A finished run, read from its folder."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from shared.config import Config
from shared.errors import InvalidInput
from shared.runs import segments
from shared.runs.history import METRICS, SPLITS, records
from shared.runs.run_folder import CONFIG, SUMMARY, check_run, read_config, read_summary
from shared.runs.summary import Summary


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
    """Curves by split: train, valid, test."""
    metric: str

    @property
    def label(self) -> str:
        """Name of what computed it: "jax handcrafted", or for a resumed run "jax → torch
        handcrafted"."""
        return segments.label(self.summary.segments)

    @property
    def resumed(self) -> bool:
        return len(self.summary.segments) > 1


def read_run(folder: Path | str) -> Run:
    """Reads a finished run.

    Raises:
        InvalidInput: the folder is missing, holds no run or an unfinished one, or a damaged file.
    """
    folder = Path(folder)
    check_run(folder)
    config = read_config(folder / CONFIG)
    if not (folder / SUMMARY).exists():
        raise InvalidInput(
            f"{folder}: expected a finished run, got one without {SUMMARY}; "
            f"the command run --resume {folder} finishes it"
        )
    summary = read_summary(folder)
    if not segments.covers(summary.segments, summary.steps):
        raise InvalidInput(
            f"{folder / SUMMARY}: expected segments that cover its {summary.steps} steps, "
            f"got {segments.described(summary.segments) or 'none'}"
        )
    metric = summary.metric
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for _, record in records(folder / METRICS, metric):
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
