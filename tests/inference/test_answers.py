"""Answers to many sources at once: those that beam search with one beam finds for each alone."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.config.data import PairsData
from shared.config.settings import NetworkConfig
from shared.inference import answers
from shared.inference.answers import answered, blocks, greedy
from shared.inference.beam import search
from shared.protocol import Backend, Snapshot, load_backend
from shared.protocol.dataset import Signature
from shared.protocol.weights import network_shapes
from shared.tasks import TASKS
from shared.tasks.pairs import from_pairs

V, END, LONGEST = 7, 2, 12


def network(
    name: Literal["jax", "torch"], cell: Literal["gru", "lstm"] = "gru", vocabulary: int = V
) -> tuple[Backend, object]:
    """A small network with random weights that often, and not always, ends soon."""
    own = NetworkConfig(cell, hidden_size=16, embedding_size=16)
    config = resolve(Config(backend=name, network=own, precision="float64"))
    signature = Signature(vocabulary, vocabulary, True, True, "cross_entropy")
    draw, shapes = np.random.default_rng(2), network_shapes(own, vocabulary, vocabulary)
    weights = {key: draw.normal(0, 1, shape) for key, shape in shapes.items()}
    backend = load_backend(config, signature)
    return backend, backend.init(Snapshot.of(weights))


def prompts(count: int, longest: int = 70) -> list[np.ndarray]:
    draw = np.random.default_rng(5)
    return [draw.integers(0, V, draw.integers(1, longest), np.int32) for _ in range(count)]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("name", ["jax", "torch"])
def test_answers_are_those_of_one_beam(
    name: Literal["jax", "torch"], cell: Literal["gru", "lstm"]
) -> None:
    backend, state = network(name, cell)
    asked = prompts(21)
    found = greedy(backend, state, asked, END, LONGEST, V)
    expected = [search(backend, state, p, END, 1, LONGEST)[0].tokens for p in asked]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    lengths = {len(tokens) for tokens in found}
    assert len(lengths) > 3
    assert LONGEST in lengths


@pytest.mark.parametrize(("rows", "numbers"), [(1, 2**25), (512, 1), (4, 2**25), (512, V * 320)])
def test_how_many_are_answered_at_once_changes_no_answer(
    rows: int, numbers: int, monkeypatch
) -> None:
    backend, state = network("torch")
    asked = prompts(21)
    expected = greedy(backend, state, asked, END, LONGEST, V)
    monkeypatch.setattr(answers, "ROWS", rows)
    monkeypatch.setattr(answers, "NUMBERS", numbers)
    for one, other in zip(greedy(backend, state, asked, END, LONGEST, V), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_that_have_ended_are_no_longer_computed() -> None:
    backend, state = network("torch")
    sizes: list[int] = []

    class Counted:
        def predict(self, state, inputs, lengths=None, carry=None):
            sizes.append(len(inputs))
            return backend.predict(state, inputs, lengths, carry)

    greedy(Counted(), state, prompts(64, 30), END, 40, V)  # pyright: ignore[reportArgumentType]
    assert sizes == sorted(sizes, reverse=True)
    assert {64, 16} <= set(sizes) <= {64, 16, 4, 1}


def test_blocks_hold_every_text_once_among_texts_of_its_length(monkeypatch) -> None:
    monkeypatch.setattr(answers, "ROWS", 8)
    texts = prompts(50, 200)
    seen: list[int] = []
    for block in blocks(texts, V):
        count, steps = block.tokens.shape
        assert count <= 8
        assert steps in (32, 64, 128, 256)
        assert block.lengths.max() > steps // 2 or steps == 32
        seen += [*block.rows]
        for at, row in enumerate([*block.rows, *[block.rows[-1]] * (count - len(block.rows))]):
            np.testing.assert_array_equal(block.tokens[at, : len(texts[row])], texts[row])
            assert not block.tokens[at, len(texts[row]) :].any()
            assert block.lengths[at] == len(texts[row])
    assert sorted(seen) == [*range(50)]


@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("unit", ["char", "word"])
def test_a_task_is_answered_from_its_sources(unit: Literal["char", "word"], reverse: bool) -> None:
    """Each source is that of the pair, each answer that of one beam, each target one of its own."""
    glue = {"char": "", "word": " "}[unit]
    sources = [glue.join("abcd"[i % 4 :] + "abc"[: 1 + i // 4]) for i in range(12)] * 2
    targets = [glue.join("xyz"[i % 3 :] + "xy"[: 1 + i // 12]) for i in range(24)]
    targets[-1] = glue.join("qx")
    named = (["train"] * 4 + ["valid"] * 2 + ["test"] * 6) * 2
    config = replace(TASKS["pairs"].defaults, data=PairsData(unit=unit, reverse=reverse))
    task = from_pairs(config, sources, targets, named)
    backend, state = network("torch", vocabulary=len(task.vocabulary))
    asked, said, right = answered(task, backend, state)
    number = {token: i for i, token in enumerate(task.vocabulary)}
    split = {"char": list, "word": str.split}[unit]
    assert asked == sources[6:12]
    for row, (source, answer, target) in enumerate(zip(asked, said, right, strict=True)):
        tokens = [number.get(token, 0) for token in split(source)]
        prompt = [*(tokens[::-1] if reverse else tokens), number["<to>"]]
        longest = 2 * (max(len(split(t)) for t, p in zip(targets, named, strict=True)
                           if p == "train") + 1)  # fmt: skip
        found = search(backend, state, np.array(prompt, np.int32), number["<end>"], 1, longest)
        assert answer == glue.join(task.vocabulary[t] for t in found[0].tokens)
        assert target in {targets[6 + row], targets[18 + row]}
    assert len(set(said)) > 1
