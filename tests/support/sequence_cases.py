"""Sequences of two features that are classes of their own: as arrays, and as a table."""

from dataclasses import replace
from typing import Any

import numpy as np

from shared.config import Config, resolve
from shared.tasks import TASKS
from shared.tasks.task import Task

COUNT, STEPS = 40, 9


def config(**data: Any) -> Config:
    defaults = TASKS["sequences"].defaults
    return resolve(replace(defaults, data=replace(defaults.data, **data)))


def made() -> dict[str, Any]:
    """40 sequences of 3 to 9 steps with two features; the padding is NaN."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(3, STEPS + 1, COUNT)
    inputs = 5 + 3 * draw.standard_normal((COUNT, STEPS, 2))
    inputs[np.arange(STEPS) >= lengths[:, None]] = np.nan
    return {"inputs": inputs, "lengths": lengths, "targets": np.arange(COUNT) % 4 == 0}


def rows(arrays: dict[str, Any]) -> dict[str, list[Any]]:
    """The same as a table with a row for each step."""
    pairs = [(i, t) for i, length in enumerate(arrays["lengths"]) for t in range(length)]
    return {
        "name": [f"s{i:02d}" for i, _ in pairs],
        "at": [t for _, t in pairs],
        "x": [float(arrays["inputs"][i, t, 0]) for i, t in pairs],
        "y": [float(arrays["inputs"][i, t, 1]) for i, t in pairs],
        "label": ["yes" if arrays["targets"][i] else "no" for i, _ in pairs],
    }


OF_TABLE: dict[str, Any] = {"sequence": ("name",), "target": ("label",), "features": ("x", "y")}


def same_inputs(one: Task, other: Task) -> None:
    for name in ("train", "valid", "test"):
        first, second = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(first.inputs, second.inputs)
        np.testing.assert_array_equal(first.lengths, second.lengths)
        np.testing.assert_array_equal(first.targets, second.targets)
