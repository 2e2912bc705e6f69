"""Predictors of sequences without a network: from a summary of each, or from each step by itself.

The summary of a sequence has the mean, the standard deviation, the first and the last value of each
feature: what a network that knew no order of the steps could use, and a little more.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.protocol.dataset import Split
from shared.tasks import baselines
from shared.tasks.class_scores import class_scores, value_scores
from shared.tasks.sequence_steps import real_steps
from shared.tasks.task import Baseline, Column, Scale

Numbers = NDArray[np.float64]

RIDGE = 1e-3
"""Penalty of a squared coefficient, in multiples of the number of examples."""


def of_classes(train: Split, test: Split, classes: int, per_step: bool) -> list[Baseline]:
    """Scores class frequencies and the class with the nearest mean on the test part.

    Args:
        per_step: True if each step has a class.
    """
    known, answers = _rows(train, per_step)
    asked, targets = _rows(test, per_step)
    frequent = baselines.class_frequencies(answers, targets, classes)
    always = np.full(len(targets), np.bincount(answers, minlength=classes).argmax())
    distances = _distances(known, answers, asked, classes)
    return [
        frequent._replace(scores=frequent.scores | class_scores(always, targets, classes)),
        Baseline(
            f"nearest class mean ({_of(per_step)})",
            class_scores(
                distances.argmin(axis=1),
                targets,
                classes,
                # Only the order counts: how much nearer class 1 is than class 0.
                distances[:, 0] - distances[:, 1] if classes == 2 else None,
            ),
        ),
    ]


def of_numbers(
    train: Split, test: Split, columns: Sequence[Column], scales: Sequence[Scale], per_step: bool
) -> list[Baseline]:
    """Scores the training part's mean and ridge regression on the test part.

    Args:
        columns, scales: of the targets.
        per_step: True if each step has targets.
    """
    known, answers = _rows(train, per_step)
    asked, targets = _rows(test, per_step)
    mean, std = (np.array([getattr(s, name) for s in scales]) for name in ("mean", "std"))
    names = [column.name for column in columns]

    def scored(name: str, predicted: np.ndarray) -> Baseline:
        found = baselines.errors(name, predicted, targets)
        units = value_scores(predicted * std + mean, targets * std + mean, names)
        return found._replace(scores=found.scores | units)

    return [
        scored("mean of the training part", np.broadcast_to(answers.mean(axis=0), targets.shape)),
        scored(f"ridge regression ({_of(per_step)})", _ridge(known, answers, asked)),
    ]


def summary(inputs: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """Returns mean, standard deviation, first and last value of each feature, (N, 4·F).

    Args:
        inputs: (N, T, F), with zeros after the end of a sequence.
    """
    count, steps = inputs.shape[:2]
    ends = np.full(count, steps) if lengths is None else lengths
    mean = inputs.sum(axis=1) / ends[:, None]
    off = np.square(inputs - mean[:, None]) * real_steps(ends, steps)[..., None]
    deviation = np.sqrt(off.sum(axis=1) / ends[:, None])
    last = inputs[np.arange(count), ends - 1]
    return np.concatenate([mean, deviation, inputs[:, 0], last], axis=1)


def _of(per_step: bool) -> str:
    return "each step by itself" if per_step else "mean, deviation, first and last value"


def _rows(split: Split, per_step: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns what is known of each example, and its target: (M, K), and (M,) or (M, O)."""
    inputs, targets = np.asarray(split.inputs), np.asarray(split.targets)
    if not per_step:
        return summary(inputs, split.lengths), targets
    if split.lengths is None:
        return inputs.reshape(-1, inputs.shape[2]), targets.reshape(-1, *targets.shape[2:])
    real = real_steps(split.lengths, inputs.shape[1])
    return inputs[real], targets[real]


def _alike(known: np.ndarray, asked: np.ndarray) -> tuple[Numbers, Numbers]:
    """Scales both by mean and standard deviation of what is known."""
    mean, std = known.mean(axis=0), known.std(axis=0)
    std = np.where(np.ptp(known, axis=0) > 0, std, 1.0)
    return (known - mean) / std, (asked - mean) / std


def _distances(
    known: np.ndarray, answers: np.ndarray, asked: np.ndarray, classes: int
) -> np.ndarray:
    """Returns squared distances to the mean of each class, (M, classes); of one that is nowhere,
    infinity."""
    known, asked = _alike(known, asked)
    counts = np.bincount(answers, minlength=classes)
    sums = np.zeros((classes, known.shape[1]))
    np.add.at(sums, answers, known)
    means = sums / np.maximum(counts, 1)[:, None]
    apart = np.square(means).sum(axis=1) - 2 * asked @ means.T  # without |asked|², equal for all
    return np.where(counts > 0, apart, np.inf)


def _ridge(known: np.ndarray, answers: np.ndarray, asked: np.ndarray) -> Numbers:
    own, others = _alike(known, asked)
    mean: Numbers = answers.mean(axis=0)
    squares: Numbers = own.T @ own + RIDGE * len(own) * np.eye(own.shape[1])
    products: Numbers = own.T @ (answers - mean)
    return others @ np.linalg.solve(squares, products) + mean
