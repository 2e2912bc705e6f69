"""Tasks of every kind, at reduced size, agree between the frameworks step by step, and so do
language models of words and characters with tied embeddings."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.config.data import (
    AddingData,
    CopyData,
    Data,
    GeneratedData,
    HelloData,
    MotionData,
    ParityData,
    SunspotsData,
    TextData,
    TranslateData,
)
from shared.config.settings import NetworkConfig
from shared.inference.evaluation import evaluate
from shared.parity import lockstep
from shared.protocol import Snapshot, load_backend
from shared.protocol.weights import initialize
from shared.tasks import TASKS, load_task
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.lockstep import TEXT, compared
from tests.support.own_data import MADE
from tests.support.pairwise import slow_but
from tests.support.take_steps import OPTIMIZERS

VOCABULARY = ("to", "be", "or", "not", "that", "is", "the", "question", "\n")
WORDS = " ".join(np.random.default_rng(6).choice(list(VOCABULARY), 400))
SMALL: dict[str, Data] = {
    "hello": HelloData(("hello", "yellow", "help")),
    "random-labels": GeneratedData(27, 4, 9, sequence_length=7, input_size=3, min_length=2),
    "last-value": GeneratedData(27, 4, 9, sequence_length=7, input_size=3, min_length=2),
    "adding": AddingData(27, 4, 9, sequence_length=9),
    "copy": CopyData(27, 4, 9, blank_length=3),
    "parity": ParityData(27, 4, 9, min_length=5, max_length=9, longer_length=12),
    "translate": TranslateData(largest=60),
    "motion": MotionData(27, 4, 9, frames=4),
    "sunspots": SunspotsData(window=7),
}
"""Data of the tasks that have much by default."""


def of_task(name: str, folder: Path) -> Config:
    """A task with its default network, optimizer and schedule, but small."""
    if name == "translate":
        pytest.importorskip("num2words")
    defaults = TASKS[name].defaults
    data, batch_size, bptt = SMALL.get(name, defaults.data), 8, None
    if name == "text":
        (folder / "text.txt").write_text(TEXT)
        data, batch_size, bptt = TextData(str(folder / "text.txt"), (0.8, 0.1, 0.1)), 3, 11
    if name in MADE:
        data = MADE[name](folder)
    network = replace(defaults.network, hidden_size=5)
    small = replace(defaults, network=network, data=data, batch_size=batch_size, bptt=bptt)
    return resolve(replace(small, precision="float64", epochs=8))


@pytest.mark.parametrize("name", TASKS)
def test_every_task_agrees(name: str, tmp_path: Path) -> None:
    compared(of_task(name, tmp_path), 30).check()


@pytest.mark.parametrize("name", TASKS)
def test_scores_and_predictions_of_every_task_agree(name: str, tmp_path: Path) -> None:
    whole = of_task(name, tmp_path)
    task = load_task(whole)
    sizes = task.signature.input_size, task.signature.output_size
    start = Snapshot.of(initialize(whole.network, *sizes, seed=4, dtype="float64"))
    split = task.test
    rows = slice(min(7, len(split.inputs)))
    lengths = None if split.lengths is None else split.lengths[rows]
    scores, found = [], []
    for backend in ("jax", "torch"):
        loaded = load_backend(replace(whole, backend=backend), task.signature)
        state = loaded.init(start)
        scores.append(evaluate(whole, task, loaded, state, split))
        outputs, carry = loaded.predict(state, split.inputs[rows, :40], lengths)
        found.append({"outputs": outputs} | {f"carry {i}": c for i, c in enumerate(carry)})
    assert scores[0].loss == pytest.approx(scores[1].loss, rel=1e-10)
    assert scores[0].metric == pytest.approx(scores[1].metric, rel=1e-10)
    assert scores[0].loss > 0
    check_all_close(*found, relative=1e-10)


TIED = NetworkConfig(cell="lstm", hidden_size=5, embedding_size=5, tied=True)
CHANGED: dict[str, Callable[[Config], Config]] = {
    "tied": lambda c: replace(c, network=TIED),
    "tied, two layers and dropout": lambda c: replace(
        c, network=replace(TIED, cell="gru", num_layers=2, dropout=0.3)
    ),
    "tied, clipped": lambda c: replace(
        c, network=TIED, optimization=replace(OPTIMIZERS["momentum"], clip_norm=0.1)
    ),
    "initial range": lambda c: replace(
        c, network=replace(TIED, tied=False, embedding_size=3, init_range=0.7)
    ),
    "forget bias": lambda c: replace(c, network=replace(TIED, cell="gru", forget_bias=1.5)),
    "tied, initial range": lambda c: replace(c, network=replace(TIED, init_range=0.7)),
    "decay": lambda c: replace(
        c,
        optimization=replace(
            OPTIMIZERS["adam"], schedule="decay", decay_after=1, gamma=0.5, clip_norm=0.5
        ),
    ),
}


@pytest.mark.parametrize(
    ("case", "unit"),
    slow_but(
        itertools.product(CHANGED, ["char", "word"]),
        [*zip(CHANGED, itertools.cycle(["char", "word"]), strict=False)],
    ),
)
def test_language_models_agree(case: str, unit: Literal["char", "word"], tmp_path: Path) -> None:
    """Of words, embedded, of which the vocabulary lacks some."""
    plain = of_task("text", tmp_path)
    if unit == "word":
        (tmp_path / "words.txt").write_text(WORDS)
        data = TextData(str(tmp_path / "words.txt"), (0.8, 0.1, 0.1), "word", vocabulary_size=8)
        plain = replace(plain, data=data)
    changed = resolve(CHANGED[case](plain))
    comparison = compared(changed, 30)
    comparison.check()
    assert ("gradients/head.weight" in comparison.deviations) != changed.network.tied
    assert ("gradients/embedding.weight" in comparison.deviations) == (
        unit == "word" or case != "decay"
    )


def test_an_embedding_tied_to_both_directions_agrees() -> None:
    network = NetworkConfig("gru", hidden_size=5, bidirectional=True, embedding_size=10, tied=True)
    whole = replace(TASKS["hello"].defaults, data=SMALL["hello"], batch_size=2, network=network)
    compared(resolve(replace(whole, precision="float64")), 30).check()


def test_a_tied_head_gives_the_gradient_of_both_its_places(tmp_path: Path) -> None:
    """Of an embedding whose head is not tied but has the same weights, the two add up."""
    tied = resolve(replace(of_task("text", tmp_path), network=TIED))
    apart = replace(tied, network=replace(TIED, tied=False))
    task = load_task(tied)
    first, second = (lockstep.side(c, task, "torch/handcrafted") for c in (tied, apart))
    weights = first.start.weights
    copied = weights | {"head.weight": weights["embedding.weight"].copy()}
    gradients = []
    for side, start in ((first, weights), (second, copied)):
        state = side.backend.init(Snapshot.of(start))
        _, trace = side.backend.trace(state, side.batches.take(0, 1), np.array([0.1]))
        gradients.append(trace)
    check_close(
        gradients[0]["gradients/embedding.weight"],
        gradients[1]["gradients/embedding.weight"] + gradients[1]["gradients/head.weight"],
        relative=1e-10,
        what="gradient of the embedding",
    )
