"""Sampling: which tokens are left and which one is drawn, against plain Python."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.protocol.sampling import Sampling
from shared.system.randomness import generator
from tests.support.sampling_cases import FRAMEWORKS, chosen

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
