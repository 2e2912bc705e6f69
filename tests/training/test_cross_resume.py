"""A run that one framework began and the other finished is the uninterrupted run, in float64.

Whole runs through the training loop and their folders: every line of metrics.jsonl and every tensor
of the last checkpoint. The loop writes checkpoints where an epoch ends; one that lies in the middle
of an epoch, where the state between two windows counts, is written by the test.
"""

import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.config import Config
from shared.config.settings import Cell, NetworkConfig, OptimizationConfig
from shared.runs.run_folder import SUMMARY
from tests.support.compare_arrays import check_close
from tests.support.cross_resume_cases import (
    DIRECTIONS,
    Whole,
    begin,
    check_curves,
    check_same_run,
    each_way,
    last,
    last_value,
    records,
    resume,
    segments,
    stopped,
    text,
)
from tests.support.take_steps import OPTIMIZERS, RUN


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "book.txt"
    file.write_text("".join(np.random.default_rng(5).choice(list("abcdefgh \n"), 400)))
    return file


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The folder of a whole run, trained once for all tests that compare with it; only to read."""

    @functools.cache
    def trained(config: Config, name: str) -> Path:
        return begin(config, name, tmp_path_factory.mktemp("whole") / "run")

    return trained


# How many tensors a checkpoint of `text` holds: embedding, four of the layer, two of the head, the
# moments of each, and the two states of an LSTM.
TENSORS = {"adam": 23, "adamw": 23, "sgd": 9, "momentum": 16, "rmsprop": 23}


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
