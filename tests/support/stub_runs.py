"""Runs that were never trained: folders with a schema and predictions, for pictures and cards."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.figure import Figure

from shared.config import Config
from shared.report.style import new_figure
from shared.runs import predictions
from shared.runs.run import Run
from shared.runs.schema import Schema, save_schema
from shared.runs.segments import Segment
from shared.runs.summary import Reference
from shared.tasks import TASKS
from shared.tasks.task import Column, Measured, Scale, Series


def remembered_figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """A list to which the figures of predictions are added as they are made."""
    figures: list[Figure] = []

    def remembered(*args: Any) -> Figure:
        figures.append(new_figure(*args))
        return figures[-1]

    for kind in ("class", "forecast", "step", "value"):
        monkeypatch.setattr(f"shared.report.{kind}_plots.new_figure", remembered)
    return figures


Made = tuple[Schema, dict[str, np.ndarray]]


def schema(**options: Any) -> Schema:
    defaults = {
        "task": "made", "data": "0123", "input_size": 4, "output_size": 3, "tokens": False,
        "per_step": False, "loss": "cross_entropy", "vocabulary": [], "unit": "char",
        "continues": False, "between": None, "reverse": False, "end": None, "streams": False,
        "classes": [], "series": None, "measured": None, "mean": [], "std": [], "image": None,
        "longest": 5,
    }  # fmt: skip
    return Schema(**(defaults | options))


def stub(
    folder: Path,
    told: Schema,
    found: predictions.Predictions,
    backend: str = "jax",
    **known: Any,
) -> Run:
    """A run of which pictures and cards need no more than this.

    Args:
        known: facts of the summary that are others.
    """
    folder.mkdir()
    save_schema(folder, told)
    digest = predictions.save(folder, found) if found else None
    task = told.task if told.task in TASKS else "hello"
    defaults = TASKS[task].defaults
    config = replace(defaults if task == told.task else Config(), backend=cast(Any, backend))
    facts = {
        "task": told.task, "source": "made by hand", "data": "0123456789abcdef", "seed": 0,
        "backend": backend, "segments": [Segment(backend, "handcrafted", 0, 1500, 1.0, [])],
        "baselines": [Reference("always 1", {"loss": 0.17})], "test": {"loss": 0.1, "step": 9},
        "valid": {"loss": 0.2}, "held_out": True, "score": "loss", "unit": "", "about": {},
        "parameters": 1234, "steps": 1500, "total_s": 12.3, "device": "cpu", "notes": [],
        "precision": "float32", "versions": {"numpy": "2.0"}, "predictions": digest,
    }  # fmt: skip
    summary = cast(Any, type("Summary", (), facts | known)())
    return Run(folder, config, summary, {}, "accuracy")


def many_series(groups: int = 6, horizon: int = 7, targets: int = 1, count: int = 240) -> Made:
    """Forecasts of several groups, each with a mean of its own, of the logarithm of the first
    target. They end at different days, and the second group lacks ten of them."""
    draw = np.random.default_rng(5)
    names = [f"store {i + 1}" for i in range(groups)] if groups > 1 else [""]
    columns = [Column(f"sales_{i}", unit="€", log=i == 0) for i in range(targets)]
    scales = {name: [Scale(2.0 + i / 3, 0.3)] * targets for i, name in enumerate(names)}
    series = Series(
        columns, targets, 14, horizon, 7, "date", "1d", ["store"] if groups > 1 else [], scales,
        False, naive={name: [2.0] * targets for name in names},
    )  # fmt: skip
    days = np.arange(count + horizon)
    noise = draw.normal(0, 0.2, (groups, len(days)))
    waves = [np.sin(2 * np.pi * days / 7 + i) + noise[i] for i in range(groups)]
    rows = [
        np.stack([wave[i : i + count] for i in range(horizon)], axis=1)[..., None]
        + np.zeros(targets)
        for wave in waves
    ]
    first = np.datetime64("2024-01-01", "us")
    times = [first + np.arange(count) * np.timedelta64(1, "D") for _ in names]
    kept = [np.ones(count, bool) for _ in names]
    if groups > 1:
        kept[1][100:110] = False
    targets_ = np.concatenate([one[own] for one, own in zip(rows, kept, strict=True)])
    noise = draw.normal(0, 0.1, targets_.shape) * np.sqrt(np.arange(1, horizon + 1))[:, None]
    flat = targets_.reshape(len(targets_), -1)
    before = [np.roll(one[:, 0], 1, axis=0)[own] for one, own in zip(rows, kept, strict=True)]
    found = {
        "predicted": flat + noise.reshape(flat.shape), "targets": flat,
        "inputs": np.zeros((16, 14, targets)), "last": np.concatenate(before),
        "group": np.repeat(np.arange(groups), [own.sum() for own in kept]),
        "times": np.concatenate([one[own] for one, own in zip(times, kept, strict=True)]),
    }  # fmt: skip
    told = schema(
        task="forecast", loss="mse", input_size=targets, output_size=horizon * targets,
        series=series, longest=14,
    )  # fmt: skip
    return told, found


def measured_numbers(count: int = 1) -> Made:
    """Numbers that are predicted of sequences; the first has a logarithm."""
    draw = np.random.default_rng(5)
    columns = [Column(f"mass_{i}", unit="kg", log=i == 0) for i in range(count)]
    features = [Column("speed"), Column("height")]
    scales = [Scale(2.0, 0.5)] * count
    measured = Measured(features, [Scale(0.0, 1.0)] * 2, columns, scales, ["id"], "second")
    targets = draw.normal(size=(80, count))
    found = {
        "predicted": targets + draw.normal(0, 0.3, targets.shape), "targets": targets,
        "lengths": draw.integers(3, 9, 80), "inputs": np.zeros((16, 9, 2)),
    }  # fmt: skip
    told = schema(
        task="sequences", loss="mse", input_size=2, output_size=count, measured=measured, longest=9
    )
    return told, found


def classified(classes: int = 3, per_step: bool = False, right: float = 0.8) -> Made:
    """Classes of sequences with columns, or at each of their steps."""
    draw = np.random.default_rng(5)
    features = [Column("speed"), Column("place", "category", values=["a", "b"])]
    measured = Measured(features, [Scale(0.0, 1.0)], [], [], ["id"], "second")
    shape = (60, 9) if per_step else (40 * classes,)
    targets = draw.integers(0, classes, shape)
    other = (targets + draw.integers(1, 3, shape)) % classes
    found = {
        "predicted": np.where(draw.random(shape) < right, targets, other), "targets": targets,
        "lengths": draw.integers(3, 10, shape[0]), "inputs": np.zeros((16, 9, 3)),
    }  # fmt: skip
    told = schema(
        task="sequences", input_size=3, output_size=classes, per_step=per_step, measured=measured,
        classes=[f"kind {i}" for i in range(classes)], longest=9,
    )  # fmt: skip
    return told, found


def answered(count: int = 400) -> Made:
    """Answers to sources, the rarer right the longer they are."""
    draw = np.random.default_rng(5)
    lengths = draw.integers(3, 30, count)
    sources = np.array(["a" * length for length in lengths])
    references = np.array(["b" * length for length in lengths])
    wrong = draw.random(count) < lengths / 40
    targets = draw.integers(0, 3, (count, 40))
    found = {
        "predicted": np.where(draw.random(targets.shape) < 0.9, targets, 0), "targets": targets,
        "weights": np.arange(40) >= lengths[:, None], "inputs": targets[:16],
        "lengths": np.full(count, 40), "sources": sources, "references": references,
        "answers": np.where(wrong, "c", references),
    }  # fmt: skip
    told = schema(
        task="pairs", tokens=True, per_step=True, vocabulary=["a", "b", "<to>", "<end>"],
        input_size=4, output_size=4, between="<to>", end="<end>", longest=40,
    )  # fmt: skip
    return told, found


def labelled() -> Made:
    """Texts and their labels, of which the rare one is never found."""
    draw = np.random.default_rng(5)
    targets = np.repeat([0, 1], [190, 10])
    found = {
        "predicted": np.zeros(200, int), "targets": targets, "probability": draw.random(200) / 2,
        "lengths": np.full(200, 4), "inputs": draw.integers(0, 5, (16, 4)),
    }  # fmt: skip
    told = schema(
        task="labels", tokens=True, vocabulary=["<unk>", *"abcd"], unit="word", input_size=5,
        output_size=2, classes=["ham", "spam"], longest=4,
    )  # fmt: skip
    return told, found
