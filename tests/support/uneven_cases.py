"""Runs whose batches give several processes unequal counts of targets."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shared.config import Config, resolve
from shared.config.data import GeneratedData, HelloData, ParityData, SequencesData
from shared.tasks import TASKS
from tests.support.trap_cases import BASE

WORDS = ("hello", "orange", "pink", "lilac", "red", "turquoise")


def hello(words: tuple[str, ...], batch_size: int) -> Config:
    return resolve(replace(BASE, data=HelloData(words), batch_size=batch_size))


def last_value(rows: int, batch_size: int) -> Config:
    data = GeneratedData(rows, 4, 4, sequence_length=4, input_size=2)
    return small("last-value", data, batch_size)


def small(task: str, data: Any, batch_size: int) -> Config:
    network = replace(TASKS[task].defaults.network, hidden_size=4, num_layers=1)
    common = {"precision": "float64", "epochs": 3, "batch_size": batch_size}
    return resolve(replace(TASKS[task].defaults, network=network, data=data, **common))


def classes(folder: Path) -> Config:
    """Sequences of one length and of two classes, whose weights in the loss are not alike."""
    targets = np.arange(40) % 3 == 0
    inputs = np.random.default_rng(0).standard_normal((40, 5, 2))
    np.savez(folder / "made.npz", inputs=inputs, targets=targets)
    data = SequencesData((str(folder / "made.npz"),), class_weights="balanced")
    return small("sequences", data, 12)


CASES: dict[str, Callable[[Path], Config]] = {
    "three words": lambda _: hello(WORDS[:3], 2),
    "six words": lambda _: hello(WORDS, 4),
    "a batch of 5 of 8": lambda _: last_value(13, 8),
    "a batch of 4 of 8": lambda _: last_value(12, 8),
    "parts of 2, 2, 1 and no rows": lambda _: last_value(8, 5),
    "weighted classes": classes,
    "a target at every step": lambda _: small("parity", ParityData(24, 4, 4, 3, 7, 9), 8),
}


def part_rows(rows: int, processes: int) -> list[slice]:
    """The rows of each process, as `Batches` gives them to it."""
    size = -(-rows // processes)
    return [slice(p * size, (p + 1) * size) for p in range(processes)]
