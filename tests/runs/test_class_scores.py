"""Scores of classes and of numbers, against numbers made by hand and by other formulas."""

import itertools

import numpy as np
import pytest

from shared.tasks.class_scores import class_scores, value_scores

TARGETS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
PREDICTED = np.array([0, 0, 0, 0, 0, 1, 1, 2, 2, 2])
"""Recall 5/6, 1/2, 1; precision 1, 1/2, 2/3; F1 10/11, 1/2, 4/5."""


def drawn(classes: int, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(classes)
    targets = draw.integers(0, classes, count)
    return np.where(draw.random(count) < 0.6, targets, draw.integers(0, classes, count)), targets


def test_scores_of_three_classes_are_those_counted_by_hand() -> None:
    assert class_scores(PREDICTED, TARGETS, 3) == {
        "accuracy": pytest.approx(8 / 10),
        "balanced_accuracy": pytest.approx((5 / 6 + 1 / 2 + 1) / 3),
        "macro_f1": pytest.approx((10 / 11 + 1 / 2 + 4 / 5) / 3),
    }


def test_a_class_that_occurs_nowhere_counts_nowhere() -> None:
    assert class_scores(PREDICTED, TARGETS, 5) == class_scores(PREDICTED, TARGETS, 3)


def test_a_class_that_is_only_predicted_lowers_f1_and_no_recall() -> None:
    found = class_scores(np.array([0, 0, 3, 1]), np.array([0, 0, 0, 1]), 4)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["macro_f1"] == pytest.approx((4 / 5 + 1 + 0) / 3)


def test_always_the_frequent_class_is_half_right_in_balance() -> None:
    targets = np.repeat([0, 1], [95, 5])
    found = class_scores(np.zeros(100, int), targets, 2)
    assert (found["accuracy"], found["balanced_accuracy"]) == (0.95, 0.5)
    assert found["macro_f1"] == pytest.approx((2 * 95 / 195 + 0) / 2)


@pytest.mark.parametrize("classes", [2, 3, 40])
def test_scores_are_those_of_scikit_learn(classes: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    predicted, targets = drawn(classes)
    found = class_scores(predicted, targets, classes)
    assert found["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(targets, predicted)
    )
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(targets, predicted, average="macro"))


@pytest.mark.parametrize("digits", [0, 1, 6])
def test_roc_auc_is_the_share_of_pairs_in_the_right_order(digits: int) -> None:
    """Few digits make ties, which count one half."""
    draw = np.random.default_rng(digits)
    targets = draw.integers(0, 2, 60)
    probability = np.round(draw.random(60) * 0.7 + 0.3 * targets, digits)
    pairs = itertools.product(probability[targets == 1], probability[targets == 0])
    expected = np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])
    found = class_scores(probability > 0.5, targets, 2, probability)
    assert found["roc_auc"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("one", [0, 1])
def test_one_class_alone_has_no_roc_auc(one: int) -> None:
    targets = np.full(5, one)
    found = class_scores(targets, targets, 2, np.linspace(0, 1, 5))
    assert found == {"accuracy": 1.0, "balanced_accuracy": 1.0, "macro_f1": 1.0}


def test_errors_of_numbers_are_those_counted_by_hand() -> None:
    targets, predicted = np.array([[1.0], [2], [3], [6]]), np.array([[1.0], [4], [3], [5]])
    assert value_scores(predicted, targets) == {
        "rmse": pytest.approx(np.sqrt(5 / 4)),
        "mae_units": pytest.approx(3 / 4),
        "r2": pytest.approx(1 - 5 / 14),
    }


def test_each_of_several_numbers_has_errors_of_its_own() -> None:
    draw = np.random.default_rng(1)
    targets = draw.normal(size=(30, 2)) * [1, 1000]
    predicted = targets + draw.normal(size=(30, 2)) * [1, 10]
    found = value_scores(predicted, targets, ["speed", "mass"])
    off = predicted - targets
    assert list(found) == ["rmse.speed", "mae_units.speed", "rmse.mass", "mae_units.mass", "r2"]
    assert found["rmse.speed"] == pytest.approx(np.sqrt(np.mean(off[:, 0] ** 2)))
    assert found["mae_units.mass"] == pytest.approx(np.mean(abs(off[:, 1])))
    each = [1 - np.mean(off[:, i] ** 2) / targets[:, i].var() for i in (0, 1)]
    assert found["r2"] == pytest.approx(np.mean(each))


def test_a_constant_target_explains_nothing() -> None:
    constant, varied = np.full((4, 1), 0.1), np.arange(4.0)[:, None]
    assert "r2" not in value_scores(varied, constant)
    both = value_scores(np.zeros((4, 2)), np.hstack([constant, varied]), ["a", "b"])
    assert both["r2"] == value_scores(np.zeros((4, 1)), varied)["r2"]
