"""What a score is, by plain NumPy, and how it is shown."""

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from shared.inference import evaluation
from shared.protocol.backend import Evaluation
from shared.protocol.dataset import Signature, Split
from shared.runs import predictions
from shared.runs.scores import derived, in_unit, long_name, named, perplexity, shown, to_show
from shared.tasks.task import Column, Series, Task

CLASSES = Signature(2, 2, tokens=True, per_step=True, loss="cross_entropy")
VALUES = Signature(1, 1, tokens=False, per_step=False, loss="mse")


def task(signature: Signature, test: Split, **options: Any) -> Task:
    return Task("made", signature, train=test, valid=test, test=test, **options)


def forecast(difference: bool) -> tuple[Task, np.ndarray, np.ndarray, np.ndarray]:
    """A series with a mean of 10 and a deviation of 2; the values before, the values themselves and
    what is predicted of them, in their unit."""
    draw = np.random.default_rng(3)
    before, true, predicted = draw.normal(10, 2, (3, 50))
    scaled = (np.stack([draw.normal(10, 2, 50), before], axis=1)[..., None] - 10) / 2
    targets = ((true - before) / 2 if difference else (true - 10) / 2)[:, None]
    goal = Column("height", "m", mean=10.0, std=2.0)
    series = Series([goal], goal, 2, "day", difference, None)
    return task(VALUES, Split(scaled, targets), series=series), before, true, predicted


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("difference", [False, True])
def test_rmse_and_r2_are_those_of_the_values_in_their_unit(difference: bool, part: str) -> None:
    made, _, true, predicted = forecast(difference)
    off = predicted - true
    loss, mae = np.square(off / 2).mean(), np.abs(off / 2).mean()
    found = derived(made, part, Evaluation(float(loss), float(mae)))
    assert found == {
        "loss": loss,
        "mae": mae,
        "rmse": pytest.approx(math.sqrt(np.square(off).mean()), rel=1e-12),
        "r2": pytest.approx(1 - np.square(off).mean() / true.var(), rel=1e-12),
    }


def test_the_parts_of_a_series_have_variances_of_their_own() -> None:
    made, *_ = forecast(False)
    wide = Split(made.test.inputs, made.test.targets * 3)
    other = Task("made", VALUES, made.train, made.valid, wide, series=made.series)
    scores = {p: derived(other, p, Evaluation(0.5, 0.5))["r2"] for p in ("valid", "test")}
    assert 1 - scores["test"] == pytest.approx((1 - scores["valid"]) / 9)


@pytest.mark.parametrize("part", ["valid", "test"])
def test_bits_are_counted_for_each_character_of_the_text(part: str) -> None:
    """Sixty tokens that stand for 240 and 300 characters."""
    tokens = np.zeros((1, 60), np.int32)
    made = task(
        CLASSES, Split(tokens, tokens), streams=True, characters={"valid": 240, "test": 300}
    )
    shares = np.random.default_rng(1).uniform(0.1, 0.9, 60)
    found = derived(made, part, Evaluation(float(-np.log(shares).mean()), 0.25))
    characters = 240 if part == "valid" else 300
    bits = -np.log2(shares).sum() / characters
    assert found["bits_per_character"] == pytest.approx(bits, rel=1e-12)
    assert found["perplexity"] == pytest.approx(np.prod(shares) ** (-1 / 60), rel=1e-12)
    assert found["accuracy"] == 0.25
    # All of them are token 0, which stands for whatever is not in the vocabulary.
    assert list(found) == ["loss", "accuracy", "bits_per_character", "perplexity", "unknown"]
    assert found["unknown"] == 1.0


def test_unknown_tokens_are_counted_if_there_are_any() -> None:
    tokens = np.array([[0, 3, 1, 0, 2, 5, 4, 1]], np.int32)
    part = Split(tokens, tokens)
    counted = derived(
        task(CLASSES, part, streams=True, characters={"test": 9}), "test", Evaluation(1.0, 0.5)
    )
    assert counted["unknown"] == 0.25
    part = Split(tokens, tokens.clip(min=1))
    none = derived(
        task(CLASSES, part, streams=True, characters={"test": 9}), "test", Evaluation(1.0, 0.5)
    )
    assert "unknown" not in none


def test_a_series_shows_no_scaled_error_beside_that_in_its_unit() -> None:
    assert to_show({"loss": 0.3, "mae": 0.4, "rmse": 2.7, "r2": 0.8, "step": 5}) == [
        "loss", "rmse", "r2"
    ]  # fmt: skip
    assert to_show({"loss": 0.3, "mae": 0.4, "step": 5}) == ["loss", "mae"]


def test_a_perplexity_beyond_all_numbers_is_still_one() -> None:
    assert perplexity(2.0) == pytest.approx(math.e**2)
    assert math.isfinite(perplexity(1e9))
    assert perplexity(1e9) == perplexity(701)


def test_what_is_neither_text_nor_series_has_a_loss_and_a_metric() -> None:
    numbers = Split(np.zeros((2, 3, 1)), np.zeros((2, 1)))
    assert derived(task(VALUES, numbers), "test", Evaluation(0.5, 0.25)) == {
        "loss": 0.5, "mae": 0.25,
    }  # fmt: skip
    tokens = np.zeros((1, 3), np.int32)
    assert named(task(CLASSES, Split(tokens, tokens)), Evaluation(0.5, 0.25)) == {
        "loss": 0.5, "accuracy": 0.25,
    }  # fmt: skip


TARGETS = np.array([[1, 0, 1, 1], [0, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 1]])
PREDICTED = np.array([[1, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 0], [0, 1, 1, 0]])
EVERY = np.ones((4, 4), bool)
LENGTHS = np.array([4, 3, 4, 4])
LATER = np.arange(4) >= np.array([0, 0, 1, 1])[:, None]


@pytest.mark.parametrize(
    ("more", "exact"),
    [
        ({}, 1 / 4),
        ({"lengths": LENGTHS}, 2 / 4),
        ({"weights": LATER}, 2 / 4),
        ({"lengths": LENGTHS, "weights": LATER}, 3 / 4),
        ({"weights": ~EVERY}, 4 / 4),
    ],
    ids=["all", "lengths", "weights", "both", "nothing counts"],
)
def test_a_sequence_is_exactly_right_where_all_that_counts_is(more: dict, exact: float) -> None:
    made = task(CLASSES, Split(TARGETS, TARGETS))
    found = {"predicted": PREDICTED, "targets": TARGETS, **more}
    assert predictions.scores(made, found) == {"exact": exact}


def test_longer_sequences_are_scored_target_by_target() -> None:
    made = task(CLASSES, Split(TARGETS, TARGETS))
    found = {"predicted": TARGETS, "targets": TARGETS}
    found |= {"longer_predicted": PREDICTED, "longer_targets": TARGETS}
    scores = predictions.scores(made, found)
    assert scores == {"exact": 1.0, "accuracy_longer": 13 / 16}
    shorter = found | {"longer_lengths": LENGTHS}
    counted = np.arange(4) < LENGTHS[:, None]
    right = ((PREDICTED == TARGETS) & counted).sum() / counted.sum()
    assert predictions.scores(made, shorter)["accuracy_longer"] == pytest.approx(right)


def test_only_classes_at_every_step_can_be_exactly_right() -> None:
    found = {"predicted": np.zeros((2, 1)), "targets": np.zeros((2, 1))}
    assert predictions.scores(task(VALUES, Split(np.zeros((2, 3, 1)), np.zeros(2))), found) == {}
    one = Signature(2, 2, tokens=False, per_step=False, loss="cross_entropy")
    assert predictions.scores(task(one, Split(np.zeros((2, 3, 2)), np.zeros(2))), found) == {}
    assert predictions.scores(task(CLASSES, Split(TARGETS, TARGETS)), {}) == {}


@pytest.mark.parametrize("count", [1, 511, 512, 513, 1100])
def test_every_sequence_is_predicted_once_whatever_the_size_of_a_call(count: int) -> None:
    """A backend that answers with what it reads, in calls of one shape."""
    shapes = []

    def predict(_state, inputs: np.ndarray, lengths: np.ndarray):
        shapes.append(inputs.shape)
        np.testing.assert_array_equal(lengths, inputs[:, 0, 0])
        return inputs[:, 0], ()

    inputs = np.arange(float(count))[:, None, None]
    backend = cast(Any, SimpleNamespace(predict=predict))
    made = task(VALUES, Split(inputs, inputs[:, 0]))
    found = evaluation.outputs(made, backend, None, inputs, inputs[:, 0, 0])
    np.testing.assert_array_equal(found, inputs[:, 0])
    assert len(set(shapes)) == 1


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("accuracy", 0.98349, "98.3 %"),
        ("exact", 1.0, "100.0 %"),
        ("accuracy_longer", 0.5, "50.0 %"),
        ("loss", 0.12345, "0.1235"),
        ("mae", 2.0, "2.0000"),
        ("rmse", 2.68149, "2.681"),
        ("r2", -0.41259, "-0.413"),
        ("bits_per_character", 2.0004, "2.000"),
        ("perplexity", 123.456, "123.5"),
    ],
)
def test_a_value_is_shown_in_its_unit(name: str, value: float, expected: str) -> None:
    assert in_unit(name, value) == expected


@pytest.mark.parametrize(
    ("name", "unit", "long", "sentence"),
    [
        ("accuracy", "", "accuracy", "accuracy 50.0 %"),
        ("rmse", "°C", "RMSE, °C", "RMSE 0.500 °C"),
        ("rmse", "", "RMSE", "RMSE 0.500"),
        ("mae", "°C", "mae", "mae 0.5000"),
        ("r2", "°C", "R²", "R² 0.500"),
        ("bits_per_character", "", "bits per character", "bits per character 0.500"),
        ("exact", "", "exactly right", "exactly right 50.0 %"),
        ("unknown", "", "unknown tokens", "unknown tokens 50.0 %"),
        ("accuracy_longer", "", "accuracy on longer sequences",
         "accuracy on longer sequences 50.0 %"),
    ],
)  # fmt: skip
def test_a_score_is_named_as_a_reader_expects(
    name: str, unit: str, long: str, sentence: str
) -> None:
    assert long_name(name, unit) == long
    assert shown(name, 0.5, unit) == sentence
