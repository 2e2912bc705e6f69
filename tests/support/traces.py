"""Traces of a few steps for tests: of every cell, with lengths, masks and carried state."""

import functools
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.config.data import GeneratedData, HelloData, TextData
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.errors import InvalidInput
from shared.parity import lockstep
from shared.protocol import Snapshot
from shared.protocol.trace import Trace
from shared.tasks import TASKS, load_task
from shared.tasks.task import Task

STEPS = 3
OPTIMIZATIONS = {
    "adam": OptimizationConfig(optimizer="adam", learning_rate=0.01, weight_decay=0.1),
    "adam, clipped": OptimizationConfig(optimizer="adam", learning_rate=0.01, clip_norm=0.05),
    "adamw": OptimizationConfig(optimizer="adamw", learning_rate=0.01, clip_norm=0.1),
    "sgd": OptimizationConfig(optimizer="sgd", learning_rate=0.1, clip_norm=0.1),
    "momentum": OptimizationConfig(
        optimizer="sgd", learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=0.1
    ),
    "rmsprop": OptimizationConfig(
        optimizer="rmsprop", learning_rate=0.003, momentum=0.5, clip_norm=0.1
    ),
}


class Taken(NamedTuple):
    trace: Trace
    """With a leading axis of STEPS."""
    snapshot: Snapshot
    """After the last step."""


def words(network: NetworkConfig, optimization: str = "adam, clipped") -> Config:
    """Words of several lengths, the second batch ragged: B = 2 of 3."""
    return resolve(
        replace(
            TASKS["hello"].defaults,
            network=network,
            optimization=OPTIMIZATIONS[optimization],
            data=HelloData(("hello", "oleole", "ho")),
            batch_size=2,
            precision="float64",
        )
    )


def last_value(network: NetworkConfig, optimization: str = "adam") -> Config:
    """An output after each sequence's own last step; 5 examples in batches of 3."""
    return resolve(
        replace(
            TASKS["last-value"].defaults,
            network=network,
            optimization=OPTIMIZATIONS[optimization],
            data=GeneratedData(5, 2, 4, sequence_length=5, input_size=2, min_length=2),
            batch_size=3,
            precision="float64",
        )
    )


def text(network: NetworkConfig, optimization: str = "adam, clipped") -> Config:
    """Two streams of 9 characters in windows of 5 steps, the second padded: the state is carried
    into the second step and starts from zero again at the third."""
    return resolve(
        replace(
            TASKS["text"].defaults,
            network=network,
            optimization=OPTIMIZATIONS[optimization],
            data=TextData(_text_file(), (0.6, 0.2, 0.2)),
            batch_size=2,
            bptt=5,
            precision="float64",
        )
    )


@functools.cache
def take(config: Config, contender: str, calls: tuple[int, ...] = (STEPS,)) -> Taken:
    """STEPS traced steps, in calls of these many steps."""
    _, side = start(config, contender)
    state, traces, at = side.backend.init(side.start), [], 0
    for count in calls:
        rates = lockstep.rates(config, side, at, count)
        state, trace = side.backend.trace(state, side.batches.take(at, count), rates)
        traces.append(trace)
        at += count
    whole = {name: np.concatenate([trace[name] for trace in traces]) for name in traces[0]}
    return Taken(whole, side.backend.export(state))


def start(config: Config, contender: str) -> tuple[Task, lockstep.Side]:
    task = load_task(config)
    return task, lockstep.side(config, task, contender)


@functools.cache
def _folder() -> TemporaryDirectory:
    """Gone when the process ends."""
    return TemporaryDirectory()


@functools.cache
def _text_file() -> str:
    file = Path(_folder().name) / "text.txt"
    file.write_text("".join(np.random.default_rng(5).choice(list("abcd"), 32)))
    return str(file)


def refused(call, *parts: str) -> None:
    """Raises unless a call is refused in one line, with every expected part in it."""
    with pytest.raises(InvalidInput) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message
