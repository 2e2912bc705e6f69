"""Text that a network writes: the same from both frameworks, however much of it is asked for."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.config.settings import NetworkConfig
from shared.inference.generate import CHUNK, stream
from shared.protocol import Backend, Snapshot, load_backend
from shared.protocol.backend import State
from shared.protocol.dataset import Signature
from shared.protocol.sampling import Sampling
from shared.protocol.weights import initialize
from shared.system.randomness import generator
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.sampling_cases import FRAMEWORKS, chosen

VOCABULARY = 11
SIGNATURE = Signature(VOCABULARY, VOCABULARY, tokens=True, per_step=True, loss="cross_entropy")
NETWORKS = {
    "rnn": NetworkConfig("rnn", hidden_size=6, init_range=1.2),
    "lstm": NetworkConfig("lstm", hidden_size=6, num_layers=2, init_range=1.2),
    "gru": NetworkConfig("gru", hidden_size=6, embedding_size=4, init_range=1.2),
    "tied": NetworkConfig("lstm", hidden_size=6, embedding_size=6, tied=True, init_range=1.2),
}
PROMPT = np.array([3, 0, 10, 7], np.int32)
HOT = Sampling(temperature=0.8, seed=3)
DECIDED = {
    "softmax": HOT,
    "top-k": replace(HOT, top_k=4),
    "top-p": replace(HOT, top_p=0.7),
    "both": replace(HOT, top_k=5, top_p=0.8, temperature=1.5),
    "greedy": Sampling(temperature=0),
}


def loaded(framework: Any, network: str) -> tuple[Backend, State]:
    config = resolve(Config(backend=framework, network=NETWORKS[network], precision="float64"))
    backend = load_backend(config, SIGNATURE)
    weights = initialize(config.network, VOCABULARY, VOCABULARY, 1, "float64")
    return backend, backend.init(Snapshot.of(weights))


def written(backend: Backend, state: State, how: Sampling, count: int) -> list[int]:
    pieces = [*stream(backend, state, PROMPT, VOCABULARY, how, count)]
    assert all(piece.dtype == np.int32 for piece in pieces)
    return [int(token) for piece in pieces for token in piece]


def expected_after(backend: Backend, state: State, tokens: list[int], how: Sampling) -> list[int]:
    """What is to be drawn in the place of each token, from one look at all that stands before it:
    without `generate` and without a carry."""
    text = np.array([[*PROMPT, *tokens[:-1]]], np.int32)
    outputs, _ = backend.predict(state, text)
    expected = []
    for at, logits in enumerate(outputs[0, len(PROMPT) - 1 :]):
        row = np.zeros((1, VOCABULARY))
        if how.temperature:
            drawn = generator(how.seed, "sampling", at - at % CHUNK)
            row = drawn.gumbel(size=(CHUNK, VOCABULARY))[at % CHUNK][None]
        options = how.temperature or 1.0, how.top_k or VOCABULARY, how.top_p
        expected += chosen(logits, row, *options)
    return expected


@pytest.mark.parametrize("network", NETWORKS)
def test_both_frameworks_write_the_same_tokens_each_drawn_from_all_before_it(network: str) -> None:
    sides = {name: loaded(name, network) for name in FRAMEWORKS}
    texts = {}
    for name, how in DECIDED.items():
        first, second = (written(*side, how, CHUNK + 5) for side in sides.values())
        assert first == second
        assert first == expected_after(*sides["torch"], first, how)
        texts[name] = tuple(first)
    assert len(set(texts.values())) >= 4
    assert len(set(texts["softmax"])) > 5


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_without_temperature_each_token_is_the_most_probable(framework: str) -> None:
    backend, state = loaded(framework, "gru")
    tokens = written(backend, state, Sampling(temperature=0, seed=9), 40)
    whole = np.concatenate([PROMPT, np.array(tokens, np.int32)])
    outputs, _ = backend.predict(state, whole[None, :-1])
    np.testing.assert_array_equal(outputs[0, len(PROMPT) - 1 :].argmax(-1), tokens)
    assert tokens == written(backend, state, Sampling(temperature=0, seed=10), 40)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_who_asks_for_less_gets_the_beginning_of_the_same(framework: str) -> None:
    side = loaded(framework, "lstm")
    counts = (1, 31, 32, 33)
    texts = [written(*side, HOT, count) for count in counts]
    assert [len(text) for text in texts] == list(counts)
    assert all(text == texts[-1][: len(text)] for text in texts)
    assert texts[-1] != written(*side, replace(HOT, seed=4), 33)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_two_halves_with_the_carry_are_one_call(framework: str, network: str) -> None:
    backend, state = loaded(framework, network)
    inputs = np.random.default_rng(2).integers(0, VOCABULARY, (3, 12), np.int32)
    whole, last = backend.predict(state, inputs)
    first, between = backend.predict(state, inputs[:, :5])
    second, end = backend.predict(state, inputs[:, 5:], carry=between)
    joined = np.concatenate([first, second], axis=1)
    check_close(joined, whole, relative=1e-10, what="outputs")
    named = ({str(i): part for i, part in enumerate(carry)} for carry in (end, last))
    check_all_close(*named, relative=1e-10)
    assert len(last) == (2 if NETWORKS[network].cell == "lstm" else 1)
    alone, _ = backend.predict(state, inputs[:, 5:])
    assert np.abs(alone - second).max() > 1e-3  # the carry counts
