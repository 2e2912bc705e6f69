"""Beam search: what it finds is what there is, greedy decoding with one beam, the same answers in
both frameworks."""

from typing import cast

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.config.settings import NetworkConfig
from shared.inference.beam import Answer, search
from shared.protocol import Backend, Snapshot, load_backend
from shared.protocol.dataset import Signature
from shared.protocol.weights import initialize
from tests.support.compare_arrays import check_close

V, END = 4, 2
EVERYTHING = 200
"""Beams, more than there are candidates at any step below."""


class Drawn:
    """A language model whose every prefix has logits of its own; the prefix is its carry."""

    def __init__(self, seed: int, end: float = 0.0):
        self.seed = seed
        self.end = end
        """What is added to the end's logit."""
        self.calls = 0

    def logits(self, prefix: int) -> np.ndarray:
        drawn = np.random.default_rng([self.seed, prefix]).standard_normal(V)
        drawn[END] += self.end
        return drawn

    def predict(self, state, inputs, lengths=None, carry=None):
        assert inputs.dtype == np.int32
        self.calls += 1
        inputs = inputs if lengths is None else inputs[:, : lengths[0]]  # all of one length
        prefix = np.zeros(len(inputs), np.int64) if carry is None else carry[0][0, :, 0]
        steps = []
        for column in inputs.T:
            prefix = prefix * (V + 1) + column + 1
            steps.append([self.logits(int(p)) for p in prefix])
        return np.array(steps).transpose(1, 0, 2), (prefix[None, :, None],)

    def log_probability(self, prompt: list[int], tokens: list[int]) -> float:
        """Of tokens after a prompt, without beam search."""
        total, prefix = 0.0, 0
        for token in prompt:
            prefix = prefix * (V + 1) + token + 1
        for token in tokens:
            probability = np.exp(self.logits(prefix))
            total += np.log(probability[token] / probability.sum())
            prefix = prefix * (V + 1) + token + 1
        return total


PROMPT = [1, 3]


def found(model: Drawn, beams: int, longest: int) -> list[Answer]:
    prompt = np.array(PROMPT, np.int32)
    return search(cast(Backend, model), None, prompt, END, beams, longest)


def enumerated(model: Drawn, longest: int) -> list[tuple[list[int], float]]:
    """Every answer there is, the most probable first."""
    answers, open_ones = [], [[]]
    for _ in range(longest):
        answers += [(row, model.log_probability(PROMPT, [*row, END])) for row in open_ones]
        open_ones = [[*row, token] for row in open_ones for token in range(V) if token != END]
    answers += [(row, model.log_probability(PROMPT, row)) for row in open_ones]
    return sorted(answers, key=lambda answer: -answer[1])


def check_same(answers: list[Answer], expected: list[tuple[list[int], float]]) -> None:
    assert [list(answer.tokens) for answer in answers] == [tokens for tokens, _ in expected]
    scores = [np.array([score for _, score in part]) for part in (answers, expected)]
    check_close(*scores, relative=1e-12, what="log probability", elementwise=True)


@pytest.mark.parametrize("longest", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_with_enough_beams_every_answer_is_found_in_order(seed: int, longest: int) -> None:
    model = Drawn(seed)
    expected = enumerated(model, longest)
    assert len(expected) == {1: 4, 2: 13, 4: 121}[longest]
    check_same(found(model, EVERYTHING, longest), expected)


@pytest.mark.parametrize("beams", [2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_answers_differ_and_have_the_probability_that_the_model_gives_them(
    seed: int, beams: int
) -> None:
    model = Drawn(seed)
    answers = found(model, beams, 6)
    assert len(answers) == beams
    assert len({tuple(answer.tokens) for answer in answers}) == beams
    assert sorted(answers, key=lambda answer: -answer.score) == answers
    for answer in answers:
        tokens = [int(token) for token in answer.tokens]
        ended = [END] * (len(tokens) < 6)
        check_close(
            np.array(answer.score),
            np.array(model.log_probability(PROMPT, [*tokens, *ended])),
            relative=1e-12,
            what="log probability",
        )


def test_it_stops_where_nothing_can_become_more_probable() -> None:
    """Where the end is likely, three answers are the best ones after three of fifty tokens."""
    model = Drawn(0, end=6.0)
    answers = found(model, 3, 50)
    assert model.calls <= 4
    check_same(answers, enumerated(Drawn(0, end=6.0), 5)[:3])


def greedy(model: Drawn, longest: int) -> list[int]:
    tokens: list[int] = []
    for _ in range(longest):
        probable = max(range(V), key=lambda token: model.log_probability(PROMPT, [*tokens, token]))
        if probable == END:
            return tokens
        tokens.append(probable)
    return tokens


def test_one_beam_is_greedy_decoding() -> None:
    """Also where an end that was passed by is more probable than the whole answer."""
    lengths, passed_by = set(), 0
    for seed in range(40):
        model = Drawn(seed)
        expected = greedy(model, 7)
        (answer,) = found(model, 1, 7)
        assert list(answer.tokens) == expected
        lengths.add(len(expected))
        before = [model.log_probability(PROMPT, [*expected[:n], END]) for n in range(len(expected))]
        passed_by += max(before, default=-np.inf) > answer.score
    assert {0, 1, 2} < lengths
    assert passed_by > 5


def test_an_answer_that_does_not_end_counts_as_it_is() -> None:
    model = Drawn(3, end=-30.0)
    answers = found(model, EVERYTHING, 3)
    assert [len(answer.tokens) for answer in answers[:27]] == [3] * 27
    assert all(answer.score < -25 for answer in answers[27:])


NETWORKS = {
    "rnn": NetworkConfig("rnn", hidden_size=5, init_range=1.5),
    "lstm": NetworkConfig("lstm", hidden_size=5, num_layers=2, embedding_size=3, init_range=1.5),
    "gru, tied": NetworkConfig("gru", hidden_size=5, embedding_size=5, tied=True, init_range=1.5),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_both_frameworks_find_the_same_answers(network: str) -> None:
    signature = Signature(7, 7, tokens=True, per_step=True, loss="cross_entropy")
    answers: dict[str, list[Answer]] = {}
    for name in ("jax", "torch"):
        config = resolve(Config(backend=name, network=NETWORKS[network], precision="float64"))
        weights = initialize(config.network, 7, 7, 3, "float64")
        weights["head.bias"][END] += 1.5
        backend = load_backend(config, signature)
        state, prompt = backend.init(Snapshot.of(weights)), np.array([0, 5, 1], np.int32)
        answers[name] = search(backend, state, prompt, END, beams=4, longest=8)
    first, second = answers.values()
    assert len(first) == 4
    assert len({len(answer.tokens) for answer in first}) > 1
    check_same(first, [(list(answer.tokens), answer.score) for answer in second])


def patient(model: Drawn, beams: int, longest: int) -> list[Answer]:
    """The same search, to the end whatever was found by then."""
    going, done = [([], 0.0)], []
    for _ in range(longest):
        each = [
            ([*tokens, token], model.log_probability(PROMPT, [*tokens, token]))
            for tokens, _ in going
            for token in range(V)
        ]
        each = sorted(each, key=lambda one: -one[1])[: 2 * beams]
        done += [Answer(np.array(t[:-1]), score) for t, score in each[:beams] if t[-1] == END]
        going = [one for one in each if one[0][-1] != END][:beams]
    done += [Answer(np.array(tokens), score) for tokens, score in going]
    return sorted(done, key=lambda answer: -answer.score)[:beams]


def test_it_does_not_stop_before_nothing_can_become_more_probable() -> None:
    """Three answers may have ended while a fourth is still more probable than the worst of them."""
    for seed in range(40):
        model = Drawn(seed, end=1.0)
        expected = patient(model, 3, 7)
        check_same(found(model, 3, 7), [([*answer.tokens], answer.score) for answer in expected])
