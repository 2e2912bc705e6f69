"""Scores of predicted classes, and of predicted numbers in the data's units.

accuracy           share of the targets that are predicted right
balanced_accuracy  mean over the classes of the share of a class that is predicted right (recall):
                   a rare class counts as much as a frequent one
macro_f1           mean over the classes of F1 = 2·hits / (2·hits + misses + false alarms)
roc_auc            of two classes: the chance that an example of class 1 gets a higher probability
                   of class 1 than an example of class 0, a tie counting one half
rmse, mae_units    root of the mean squared error, mean absolute error
r2                 1 - sum of the squared errors / sum of the squared differences from the mean
"""

from collections.abc import Sequence

import numpy as np


def class_scores(
    predicted: np.ndarray,
    targets: np.ndarray,
    classes: int,
    probability: np.ndarray | None = None,
) -> dict[str, float]:
    """Computes the scores of classes.

    A class that occurs neither in the targets nor in the predictions counts nowhere; for the
    balanced accuracy it has to occur in the targets. So it is in scikit-learn.

    Args:
        predicted, targets: (N,) integers, N > 0.
        classes: number of classes.
        probability: (N,) probability of class 1 of two; without it there is no ROC AUC, nor where
            only one class occurs in the targets.
    """
    pairs = targets.astype(np.int64) * classes + predicted
    counts = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    hits, true, found = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    in_targets, anywhere = true > 0, true + found > 0
    recall, f1 = hits[in_targets] / true[in_targets], 2 * hits[anywhere] / (true + found)[anywhere]
    scores = {
        "accuracy": float(hits.sum() / counts.sum()),
        "balanced_accuracy": float(recall.mean()),
        "macro_f1": float(f1.mean()),
    }
    if probability is not None and in_targets.all():
        scores["roc_auc"] = _roc_auc(probability, targets == 1)
    return scores


def _roc_auc(probability: np.ndarray, positive: np.ndarray) -> float:
    """Computes the area under the ROC curve from ranks (Hanley & McNeil 1982).

    Args:
        probability: (N,) of the positive class.
        positive: (N,) booleans of both kinds.
    """
    _, place, counts = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # equal values share the mean of their ranks
    most = int(positive.sum())
    wins = ranks[place][positive].sum() - most * (most + 1) / 2
    return float(wins / (most * (len(positive) - most)))


def value_scores(
    predicted: np.ndarray, targets: np.ndarray, names: Sequence[str] = ()
) -> dict[str, float]:
    """Computes the scores of numbers.

    R² is the mean over the columns, and missing if the targets of all of them are constant; one
    that is constant counts nowhere.

    Args:
        predicted, targets: (N, O) in the data's units, N > 0.
        names: a name for each of several columns, whose units may differ: then each has its own
            errors, "rmse.NAME", and there is none over all of them.
    """
    off = predicted.astype(np.float64) - targets
    scores: dict[str, float] = {}
    several = len(names) > 1
    for i, name in enumerate(names if several else [""]):
        own, after = (off[:, i], f".{name}") if several else (off, "")
        scores[f"rmse{after}"] = float(np.sqrt(np.square(own).mean()))
        scores[f"mae_units{after}"] = float(np.abs(own).mean())
    return scores | _explained(off, targets)


def _explained(off: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Computes R², the mean over the columns.

    Args:
        off: (N, O) errors.
        targets: (N, O).

    Returns:
        r2, or nothing if all columns of targets are constant.
    """
    spread = np.square(targets - targets.mean(axis=0)).sum(axis=0)
    varies = np.ptp(targets, axis=0) > 0
    if not varies.any():
        return {}
    return {"r2": float((1 - np.square(off).sum(axis=0)[varies] / spread[varies]).mean())}
