"""Sampling: which tokens are left and which one is drawn, against plain NumPy; the same text from
both frameworks, however much of it is asked for."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import rnn_jax.sampling
import rnn_torch.sampling
from shared.config import Config, resolve
from shared.config.settings import NetworkConfig
from shared.errors import InvalidInput
from shared.inference.generate import CHUNK, stream
from shared.protocol import Backend, Snapshot, load_backend
from shared.protocol.backend import State
from shared.protocol.dataset import Signature
from shared.protocol.sampling import Sampling
from shared.protocol.weights import initialize
from shared.system.randomness import generator
from tests.support.compare_arrays import check_all_close, check_close

Choose = Callable[[np.ndarray, np.ndarray, float, int, float], list[int]]
"""Logits (V,), noise (N, V), temperature, top-k and top-p → N tokens."""


def in_jax(
    logits: np.ndarray, noise: np.ndarray, temperature: float, top_k: int, top_p: float
) -> list[int]:
    choice = jnp.asarray(temperature), jnp.asarray(top_k), jnp.asarray(top_p)
    drawn = jax.jit(lambda row: rnn_jax.sampling.choose(jnp.asarray(logits), row, *choice))
    return [int(drawn(row)) for row in noise]


def in_torch(
    logits: np.ndarray, noise: np.ndarray, temperature: float, top_k: int, top_p: float
) -> list[int]:
    given = torch.from_numpy(logits), temperature, top_k, top_p
    return [
        int(rnn_torch.sampling.choose(given[0], torch.from_numpy(row), *given[1:])) for row in noise
    ]


FRAMEWORKS: dict[str, Choose] = {"jax": in_jax, "torch": in_torch}


def left(probabilities: Sequence[float], top_k: int, top_p: float) -> set[int]:
    """Tokens to draw from, and with the last of them those that are as probable."""
    order = sorted(range(len(probabilities)), key=lambda token: -probabilities[token])[:top_k]
    all_of_them = sum(probabilities[token] for token in order)
    kept, together = [], 0.0
    for token in order:
        if top_p == 1 or together < top_p:
            kept.append(token)
            together += probabilities[token] / all_of_them
    least = min(probabilities[token] for token in kept)
    return {token for token, probability in enumerate(probabilities) if probability >= least}


def chosen(
    logits: np.ndarray, noise: np.ndarray, temperature: float, top_k: int, top_p: float
) -> list[int]:
    """`choose` in plain Python."""
    among = left([math.exp(logit / temperature) for logit in logits], top_k, top_p)
    return [
        max(sorted(among), key=lambda token: logits[token] / temperature + row[token])
        for row in noise
    ]


HOW = [
    (temperature, top_k, top_p)
    for temperature in (0.3, 1.0, 2.5)
    for top_k, top_p in ((9, 1.0), (1, 1.0), (3, 1.0), (9, 0.6), (5, 0.85), (9, 1e-9), (2, 0.99))
]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("temperature", "top_k", "top_p"), HOW)
def test_what_is_chosen_is_what_plain_python_chooses(
    temperature: float, top_k: int, top_p: float, framework: str
) -> None:
    draw = np.random.default_rng(3)
    logits, noise = 2 * draw.standard_normal(9), draw.gumbel(size=(40, 9))
    expected = chosen(logits, noise, temperature, top_k, top_p)
    assert FRAMEWORKS[framework](logits, noise, temperature, top_k, top_p) == expected


def logits_of(*probabilities: float) -> np.ndarray:
    """Up to a constant, which makes no difference."""
    return np.log(np.array(probabilities)) + 7.25


PLACES = {
    "top-p below the first": (logits_of(0.2, 0.5, 0.3), 3, 0.49, {1}),
    "top-p just below the first two": (logits_of(0.2, 0.5, 0.3), 3, 0.7999, {1, 2}),
    "top-p just above the first two": (logits_of(0.2, 0.5, 0.3), 3, 0.8001, {0, 1, 2}),
    # Of the two that top-k leaves, the first has 0.625.
    "top-p of what top-k leaves, below": (logits_of(0.2, 0.5, 0.3), 2, 0.62, {1}),
    "top-p of what top-k leaves, above": (logits_of(0.2, 0.5, 0.3), 2, 0.63, {1, 2}),
    "all of one probability": (np.full(4, -1.5), 4, 1.0, {0, 1, 2, 3}),
    "as probable as the last one left": (logits_of(0.3, 0.2, 0.3, 0.2), 1, 1.0, {0, 2}),
    "as probable as the last of the nucleus": (logits_of(0.2, 0.4, 0.2, 0.2), 4, 0.5, {0, 1, 2, 3}),
    "top-k beyond the vocabulary": (logits_of(0.2, 0.5, 0.3), 99, 1.0, {0, 1, 2}),
    "one token": (np.array([0.3]), 1, 1.0, {0}),
    "one token, little of it": (np.array([-4.0]), 1, 0.01, {0}),
    "one that cannot come": (np.array([1.0, -np.inf, 2.0]), 3, 0.999, {0, 2}),
    "far apart": (np.array([800.0, -800.0, 799.0]), 3, 0.9999, {0, 2}),
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", PLACES)
def test_these_tokens_are_left_and_no_others(case: str, framework: str) -> None:
    """Noise lifts one token after the other far above the rest: it is drawn if it is left."""
    logits, top_k, top_p, expected = PLACES[case]
    size = len(logits)
    lifted = np.eye(size) * 5000
    drawn = FRAMEWORKS[framework](logits, lifted, 1.0, top_k, top_p)
    assert {token for token in range(size) if drawn[token] == token} == expected
    assert set(drawn) <= expected


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_of_equal_tokens_the_first_is_drawn(framework: str) -> None:
    logits, noise = np.array([0.5, 2.0, 2.0, 1.0]), np.full((1, 4), 0.3)
    assert FRAMEWORKS[framework](logits, noise, 0.7, 4, 1.0) == [1]


SHARES = np.array([0.05, 0.45, 0.2, 0.3])
DRAWS = 3000


def shares(temperature: float) -> np.ndarray:
    raised = SHARES ** (1 / temperature)
    return raised / raised.sum()


def far(drawn: Sequence[int], expected: np.ndarray) -> bool:
    """Whether a token came more or less often than 4.5 standard deviations allow."""
    often = np.bincount(drawn, minlength=len(expected))
    deviation = np.sqrt(DRAWS * expected * (1 - expected))
    return bool((np.abs(often - DRAWS * expected) > 4.5 * deviation).any())


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_draws_follow_the_softmax_at_their_temperature(temperature: float, framework: str) -> None:
    noise = generator(5, "draws").gumbel(size=(DRAWS, 4))
    drawn = FRAMEWORKS[framework](logits_of(*SHARES), noise, temperature, 4, 1.0)
    assert not far(drawn, shares(temperature))
    assert far(drawn, shares(temperature / 1.6))
    assert far(drawn, shares(temperature * 1.6))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_draws_from_the_nucleus_follow_what_is_left_of_the_softmax(framework: str) -> None:
    noise = generator(6, "draws").gumbel(size=(DRAWS, 4))
    drawn = FRAMEWORKS[framework](logits_of(*SHARES), noise, 1.0, 3, 0.7)
    assert not far(drawn, np.array([0, 0.6, 0, 0.4]))


# Through a network -------------------------------------------------------------------------------

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


REFUSED = {
    "below zero": (
        Sampling(temperature=-0.1),
        "--temperature: expected 0 or a number from 1e-06 .*, got -0.1",
    ),
    "no temperature": (Sampling(temperature=math.nan), "--temperature: .* got nan"),
    "endless": (Sampling(temperature=math.inf), "--temperature: .* got inf"),
    "no token": (Sampling(top_k=0), r"--top-k: expected a positive number below 2\^31, got 0"),
    "fewer than none": (
        Sampling(top_k=-3),
        r"--top-k: expected a positive number below 2\^31, got -3",
    ),
    "no probability": (Sampling(top_p=0.0), r"--top-p: expected a number in \(0, 1\], got 0.0"),
    "more than all": (Sampling(top_p=1.01), "--top-p: .* got 1.01"),
    "no number": (Sampling(top_p=math.nan), "--top-p: .* got nan"),
    "negative seed": (Sampling(seed=-1), "--seed: .* got -1"),
    "large seed": (Sampling(seed=2**63), "--seed: .* got 9223372036854775808"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drawn_is_refused(case: str) -> None:
    how, message = REFUSED[case]
    with pytest.raises(InvalidInput, match=f"^{message}$"):
        how.check()


@pytest.mark.parametrize(
    "how",
    [Sampling(), Sampling(0), Sampling(top_k=1), Sampling(top_p=1e-9), Sampling(seed=2**63 - 1)],
)
def test_what_can_be_drawn_passes(how: Sampling) -> None:
    how.check()
