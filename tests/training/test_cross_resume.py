"""A run that one framework began and the other finished is the uninterrupted run, in float64.

Whole runs through the training loop and their folders: every line of metrics.jsonl and every tensor
of the last checkpoint. The loop writes checkpoints where an epoch ends; one that lies in the middle
of an epoch, where the state between two windows counts, is written by the test.
"""

import functools
import hashlib
import itertools
import json
import shutil
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
from shared.config.settings import Cell, NetworkConfig, OptimizationConfig
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


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "book.txt"
    file.write_text("".join(np.random.default_rng(5).choice(list("abcdefgh \n"), 400)))
    return file


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


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The folder of a whole run, trained once for all tests that compare with it; only to read."""

    @functools.cache
    def trained(config: Config, name: str) -> Path:
        return begin(config, name, tmp_path_factory.mktemp("whole") / "run")

    return trained


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
    for name in ("loss", "accuracy"):
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


# How many tensors a checkpoint of `text` holds: embedding, four of the layer, two of the head, the
# moments of each, and the two states of an LSTM.
TENSORS = {"adam": 23, "adamw": 23, "sgd": 9, "momentum": 16, "rmsprop": 23}


def each_way(choices: Iterable[str]) -> list[Any]:
    """Each choice in both directions, of which one is slow: they take turns."""
    turns = zip(itertools.cycle(DIRECTIONS), choices, strict=False)
    every = [(*way, choice) for choice in choices for way in DIRECTIONS]
    return slow_but(every, [(*way, choice) for way, choice in turns])


@pytest.mark.parametrize(("first", "second", "optimizer"), each_way(OPTIMIZERS))
def test_more_epochs_in_the_other_framework_are_the_uninterrupted_run(
    first: str, second: str, optimizer: str, book: Path, uninterrupted: Whole, tmp_path: Path
) -> None:
    config = text(book, optimization=OPTIMIZERS[optimizer])
    whole = uninterrupted(config, first)
    parts = begin(replace(config, epochs=2), first, tmp_path / "parts")
    resume(parts, second, epochs=4)
    check_same_run(parts, whole, TENSORS[optimizer])
    assert segments(whole) == [(first, "handcrafted", 0, 40)]
    assert segments(parts) == [(first, "handcrafted", 0, 20), (second, "handcrafted", 20, 40)]


@pytest.mark.parametrize(("cell", "tensors"), [("lstm", 23), ("gru", 22)])
@pytest.mark.parametrize(("first", "second"), DIRECTIONS)
def test_the_state_between_two_windows_goes_on_in_the_other_framework(
    first: str,
    second: str,
    cell: Cell,
    tensors: int,
    book: Path,
    uninterrupted: Whole,
    tmp_path: Path,
) -> None:
    """After step 25 of 10 an epoch. Where an epoch begins, the state starts from zero anyway."""
    config = text(book, network=NetworkConfig(cell=cell, hidden_size=5, embedding_size=4))
    whole, parts = uninterrupted(config, first), tmp_path / "parts"
    with stopped(first, 25, parts):
        begin(config, first, parts)
    resume(parts, second)
    check_same_run(parts, whole, tensors)
    assert segments(parts) == [(first, "handcrafted", 0, 25), (second, "handcrafted", 25, 40)]


SCHEDULES = {
    "step": OptimizationConfig(learning_rate=0.02, schedule="step", step_size=1, gamma=0.5),
    "decay": OptimizationConfig(learning_rate=0.02, schedule="decay", decay_after=1, gamma=0.7),
    "cosine": OptimizationConfig(learning_rate=0.02, schedule="cosine", min_learning_rate=1e-4),
}


@pytest.mark.parametrize(("first", "second", "schedule"), each_way(SCHEDULES))
def test_an_interrupted_run_keeps_its_schedule_in_the_other_framework(
    first: str, second: str, schedule: str, book: Path, uninterrupted: Whole, tmp_path: Path
) -> None:
    """Interrupted after step 24: steps 21 to 24 were recorded, but the checkpoint is of step 20."""
    config = text(book, optimization=SCHEDULES[schedule])
    whole, parts = uninterrupted(config, first), tmp_path / "parts"
    with stopped(first, 24):
        begin(config, first, parts)
    assert records(parts)[-1]["step"] == 24
    resume(parts, second)
    check_same_run(parts, whole, 23)
    assert segments(parts) == [(first, "handcrafted", 0, 20), (second, "handcrafted", 20, 40)]


@pytest.mark.parametrize(("first", "second"), DIRECTIONS)
def test_a_tied_embedding_goes_on_in_the_other_framework(
    first: str, second: str, book: Path, uninterrupted: Whole, tmp_path: Path
) -> None:
    """After step 25 of 10 an epoch. The checkpoint has no weights of a head."""
    tied = NetworkConfig(cell="lstm", hidden_size=5, embedding_size=5, tied=True)
    config = text(book, network=tied)
    whole, parts = uninterrupted(config, first), tmp_path / "parts"
    with stopped(first, 25, parts):
        begin(config, first, parts)
    names = last(parts).snapshot.weights
    assert "embedding.weight" in names
    assert "head.bias" in names
    assert "head.weight" not in names
    resume(parts, second)
    check_same_run(parts, whole, 20)
    assert segments(parts) == [(first, "handcrafted", 0, 25), (second, "handcrafted", 25, 40)]


DEEP = NetworkConfig(cell="lstm", hidden_size=4, num_layers=2, dropout=0.3)


@pytest.mark.parametrize(("first", "second"), DIRECTIONS)
def test_masks_and_the_order_of_ragged_batches_go_on_in_the_other_framework(
    first: str, second: str, uninterrupted: Whole, tmp_path: Path
) -> None:
    """After step 10 of 4 an epoch: masks belong to a step, and the order to all of its epoch."""
    config = last_value(network=DEEP)
    whole, parts = uninterrupted(config, first), tmp_path / "parts"
    with stopped(first, 10, parts):
        begin(config, first, parts)
    resume(parts, second)
    check_same_run(parts, whole, 32)
    assert segments(parts) == [(first, "handcrafted", 0, 10), (second, "handcrafted", 10, 16)]


@pytest.mark.parametrize(("first", "second"), DIRECTIONS)
def test_a_run_goes_there_and_back(
    first: str, second: str, book: Path, uninterrupted: Whole, tmp_path: Path
) -> None:
    """The second framework is interrupted, so that it leaves a segment but no summary. At this
    learning rate the best validation is the first, of a checkpoint that the last resumption scores.
    """
    config = text(book, optimization=OptimizationConfig(learning_rate=0.2))
    whole = uninterrupted(config, first)
    assert json.loads((whole / SUMMARY).read_text())["test"]["step"] == 10
    parts = begin(replace(config, epochs=1), first, tmp_path / "parts")
    with stopped(second, 34):
        resume(parts, second, epochs=4)
    resume(parts, first)
    check_same_run(parts, whole, 23)
    assert segments(parts) == [
        (first, "handcrafted", 0, 10),
        (second, "handcrafted", 10, 30),
        (first, "handcrafted", 30, 40),
    ]


@pytest.mark.parametrize("task", ["text", "last-value"])
@pytest.mark.parametrize(("first", "second"), [("jax", "torch native"), ("torch native", "jax")])
def test_layers_of_torch_go_on_with_the_run_of_others(
    first: str, second: str, task: str, book: Path, uninterrupted: Whole, tmp_path: Path
) -> None:
    config = text(book) if task == "text" else last_value()
    whole = uninterrupted(config, first)
    parts = begin(replace(config, epochs=2), first, tmp_path / "parts")
    resume(parts, second, epochs=4)
    check_same_run(parts, whole, 23 if task == "text" else 19)
    found = [" ".join(segment[:2]).removesuffix(" handcrafted") for segment in segments(parts)]
    assert found == [first, second]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_cells_of_flax_pass_on_their_function_and_go_on_alone(
    cell: Cell, book: Path, uninterrupted: Whole, tmp_path: Path
) -> None:
    """The next loss elsewhere is theirs, though two biases then train otherwise than their one; the
    rest of the run in Flax is the uninterrupted one, through checkpoints that hold two biases."""
    config = text(book, network=NetworkConfig(cell=cell, hidden_size=5, embedding_size=4))
    whole = uninterrupted(config, "jax native")
    parts = begin(replace(config, epochs=2), "jax native", tmp_path / "parts")
    other = Path(shutil.copytree(parts, tmp_path / "other"))
    resume(parts, "jax native", epochs=4)
    check_curves(parts, whole)
    resume(other, "torch", epochs=4)
    expected, actual = (
        np.array([r["loss"] for r in records(folder) if r["split"] == "train"])
        for folder in (whole, other)
    )
    check_close(actual[:21], expected[:21], relative=RUN, what="loss", elementwise=True)
    assert (np.abs(actual[21:] / expected[21:] - 1) > 1e-6).all()
