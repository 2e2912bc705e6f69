"""Baselines of sequences, against the same formulas in other words."""

import numpy as np
import pytest

from shared.tasks import sequences
from shared.tasks.sequence_baselines import RIDGE, summary
from shared.tasks.task import Task
from tests.support.sequence_cases import config

COUNT, STEPS = 60, 6
DRAW = np.random.default_rng(3)
INPUTS = DRAW.standard_normal((COUNT, STEPS, 3)) + np.arange(COUNT)[:, None, None] % 3
LENGTHS = DRAW.integers(2, STEPS + 1, COUNT)


def examples(task: Task, per_step: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns what is known, and the targets, of the training and of the test part."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for part in (task.train, task.test):
        inputs, targets, lengths = np.asarray(part.inputs), np.asarray(part.targets), part.lengths
        assert lengths is not None
        if per_step:
            pairs = [(i, t) for i, length in enumerate(lengths) for t in range(length)]
            known = np.array([inputs[i, t] for i, t in pairs])
            found.append((known, np.array([targets[i, t] for i, t in pairs])))
        else:
            found.append((summary(inputs, lengths), targets))
    return found


@pytest.mark.parametrize("per_step", [False, True])
def test_the_nearest_class_mean(per_step: bool) -> None:
    classes = np.arange(COUNT) % 3
    if per_step:
        classes = np.repeat(classes[:, None], STEPS, axis=1)
    task = sequences.from_arrays(config(per_step=per_step), INPUTS, classes, LENGTHS)
    (known, answers), (asked, targets) = examples(task, per_step)
    mean, std = known.mean(0), known.std(0)
    means = [((known[answers == c] - mean) / std).mean(0) for c in range(3)]
    said = [
        min(range(3), key=lambda c: float(np.linalg.norm((one - mean) / std - means[c])))
        for one in asked
    ]
    recall = [np.mean([s == c for s, t in zip(said, targets, strict=True) if t == c])
              for c in range(3)]  # fmt: skip
    frequent, nearest = task.baselines()
    of = "each step by itself" if per_step else "mean, deviation, first and last value"
    assert nearest.name == f"nearest class mean ({of})"
    assert nearest.scores["accuracy"] == pytest.approx(np.mean(np.array(said) == targets))
    assert nearest.scores["balanced_accuracy"] == pytest.approx(np.mean(recall))
    assert set(nearest.scores) == {"accuracy", "balanced_accuracy", "macro_f1"}
    assert set(frequent.scores) == {"loss", *nearest.scores}
    assert frequent.scores["balanced_accuracy"] == pytest.approx(1 / 3)


def test_two_classes_have_the_area_under_the_curve_of_the_nearer_mean() -> None:
    classes = np.arange(COUNT) % 3 == 1
    task = sequences.from_arrays(config(), INPUTS, classes, LENGTHS)
    (known, answers), (asked, targets) = examples(task, per_step=False)
    mean, std = known.mean(0), known.std(0)
    off = [np.square((asked - mean) / std - ((known[answers == c] - mean) / std).mean(0)).sum(1)
           for c in range(2)]  # fmt: skip
    score = off[0] - off[1]
    pairs = [(a, b) for a in score[targets == 1] for b in score[targets == 0]]
    expected = np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])
    assert task.baselines()[1].scores["roc_auc"] == pytest.approx(expected)


@pytest.mark.parametrize("per_step", [False, True])
def test_ridge_regression_and_the_mean_in_the_units_of_the_data(per_step: bool) -> None:
    goals = 40 + 7 * (INPUTS[..., 0] if per_step else INPUTS[:, 0, 0])
    task = sequences.from_arrays(config(per_step=per_step), INPUTS, goals, LENGTHS)
    assert task.measured is not None
    (scale,) = task.measured.target_scales
    (known, answers), (asked, targets) = examples(task, per_step)
    mean, std = known.mean(0), known.std(0)
    count, width = known.shape
    # A ridge is least squares with a row for each coefficient that asks it to be 0.
    left = np.vstack([(known - mean) / std, np.sqrt(RIDGE * count) * np.eye(width)])
    right = np.vstack([answers - answers.mean(), np.zeros((width, 1))])
    coefficients = np.linalg.lstsq(left, right)[0]
    off = (asked - mean) / std @ coefficients + answers.mean() - targets
    constant, ridge = task.baselines()
    assert ridge.name.startswith("ridge regression (")
    assert ridge.scores["loss"] == pytest.approx(np.square(off).mean())
    assert ridge.scores["rmse"] == pytest.approx(scale.std * np.sqrt(np.square(off).mean()))
    assert ridge.scores["mae_units"] == pytest.approx(scale.std * np.abs(off).mean())
    spread = scale.std**2 * np.var(targets)
    assert ridge.scores["r2"] == pytest.approx(1 - ridge.scores["rmse"] ** 2 / spread)
    assert ridge.scores["rmse"] < 0.2 * constant.scores["rmse"]
    units = targets * scale.std + scale.mean
    known_mean = answers.mean() * scale.std + scale.mean
    assert constant.scores["mae_units"] == pytest.approx(np.abs(units - known_mean).mean())
