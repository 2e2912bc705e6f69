"""Runs that one framework begins and the other finishes, and the comparison of two whole runs."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnn_jax.backend
import rnn_torch.backend
from shared.config import Config
from shared.config.data import GeneratedData, TextData
from shared.config.settings import NetworkConfig
from shared.protocol import Snapshot, batching
from shared.runs import checkpoint
from shared.runs.checkpoint import Checkpoint, Running
from shared.runs.history import METRICS, lines_up_to
from shared.runs.run_folder import CONFIG, SUMMARY, read_config
from shared.runs.segments import Segment
from shared.tasks import TASKS
from shared.training import train
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.pairwise import slow_but
from tests.support.take_steps import OPTIMIZERS, RUN

Whole = Callable[[Config, str], Path]
"""A configuration and a backend → the folder of its uninterrupted run."""

DIRECTIONS = [("jax", "torch"), ("torch", "jax")]
BACKENDS = {"jax": rnn_jax.backend.Backend, "torch": rnn_torch.backend.Backend}


def text(book: Path, **changes) -> Config:
    """3 streams in 10 windows of at most 11 steps, the state carried from each to the next."""
    config = replace(
        TASKS["text"].defaults,
        network=NetworkConfig(cell="lstm", hidden_size=5, embedding_size=4),
        optimization=OPTIMIZERS["adam"],
        data=TextData(path=str(book), split=(0.8, 0.1, 0.1)),
        epochs=4,
        batch_size=3,
        bptt=11,
        precision="float64",
    )
    return replace(config, **changes)


def last_value(**changes) -> Config:
    """27 examples in shuffled batches of 8: the last of an epoch is ragged."""
    config = replace(
        TASKS["last-value"].defaults,
        network=NetworkConfig(cell="gru", hidden_size=5),
        data=GeneratedData(27, 8, 9, sequence_length=6, input_size=3),
        epochs=4,
        batch_size=8,
        precision="float64",
    )
    return replace(config, **changes)


def in_backend(config: Config, name: str) -> Config:
    """The configuration in "jax" or "torch", or in "torch native"."""
    backend, _, implementation = name.partition(" ")
    return replace(config, backend=backend, implementation=implementation or "handcrafted")


def begin(config: Config, name: str, folder: Path) -> Path:
    """Trains a run to its end; returns its folder."""
    train(in_backend(config, name), folder, quiet=True)
    return folder


def resume(folder: Path, name: str, **changes) -> None:
    config = replace(read_config(folder / CONFIG), **changes)
    train(in_backend(config, name), folder, resume=True, quiet=True)


def last(folder: Path) -> Checkpoint:
    return checkpoint.read(checkpoint.path(folder, checkpoint.steps(folder)[-1]))


def write_checkpoint(folder: Path, snapshot: Snapshot) -> None:
    """Writes a checkpoint after the last one, as the loop would if one were due there."""
    before, step = last(folder), snapshot.step
    lines = lines_up_to(step, folder / METRICS, "accuracy")
    running = Running()
    for line in map(json.loads, lines):
        if line["split"] == "train" and line["step"] > before.snapshot.step:
            running = running.add(line["loss"], line["accuracy"])
    checkpoint.write(
        checkpoint.path(folder, step),
        before._replace(
            snapshot=snapshot,
            segments=[*before.segments[:-1], replace(before.segments[-1], end=step)],
            running=running,
            history=hashlib.sha256(b"".join(lines)).hexdigest(),
        ),
    )


@contextmanager
def stopped(name: str, step: int, folder: Path | None = None) -> Iterator[None]:
    """A run inside is interrupted where it would take the step after `step`.

    Args:
        folder: a run whose last checkpoint becomes one of that step, as if the loop had written it.
    """
    kind = BACKENDS[name]
    advance = kind.advance

    def until(self, states, batches, rates):
        snapshot = self.export(states[0])
        if snapshot.step < step:
            return advance(self, states, batches, rates)
        if folder is not None:
            write_checkpoint(folder, snapshot)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "CHUNK_STEPS", 1)  # the state of every step passes by
        patch.setattr(kind, "advance", until)
        with pytest.raises(KeyboardInterrupt):
            yield


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def segments(folder: Path) -> list[tuple[str, str, int, int]]:
    """Backend, implementation, start and end of each; they are those of the checkpoint."""
    listed = json.loads((folder / SUMMARY).read_text())["segments"]
    assert [Segment(**part) for part in listed] == last(folder).segments
    return [
        (part["backend"], part["implementation"], part["start"], part["end"]) for part in listed
    ]


def check_curves(actual: Path, expected: Path) -> None:
    """Raises unless both have the same lines, with losses and metrics that agree one by one."""
    mine, theirs = records(actual), records(expected)
    assert [(r["step"], r["epoch"], r["split"]) for r in mine] == [
        (r["step"], r["epoch"], r["split"]) for r in theirs
    ]
    assert {"train", "valid", "test"} == {r["split"] for r in mine}
    for name in ("loss", "mae" if "mae" in mine[0] else "accuracy"):
        a, b = (np.array([r[name] for r in lines]) for lines in (mine, theirs))
        check_close(a, b, relative=RUN, what=name, elementwise=True)


def check_same_run(actual: Path, expected: Path, tensors: int) -> None:
    """Raises unless two folders hold the same run, up to rounding: curves, scores, weights, moments
    and carry."""
    check_curves(actual, expected)
    mine, theirs = (last(folder) for folder in (actual, expected))
    assert mine.snapshot.step == theirs.snapshot.step
    flat = checkpoint.flatten(mine.snapshot)
    assert len(flat) == tensors
    check_all_close(flat, checkpoint.flatten(theirs.snapshot), relative=RUN)
    scores = [json.loads((folder / SUMMARY).read_text()) for folder in (actual, expected)]
    for name in ("train", "valid", "test"):
        a, b = (values[name] for values in scores)
        assert a.keys() == b.keys()
        check_close(
            np.array(list(a.values())), np.array([b[key] for key in a]),
            relative=RUN, what=name, elementwise=True,
        )  # fmt: skip


def each_way(choices: Iterable[str]) -> list[Any]:
    """Each choice in both directions, of which one is slow: they take turns."""
    turns = zip(itertools.cycle(DIRECTIONS), choices, strict=False)
    every = [(*way, choice) for choice in choices for way in DIRECTIONS]
    return slow_but(every, [(*way, choice) for way, choice in turns])
