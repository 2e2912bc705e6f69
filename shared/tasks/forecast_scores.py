"""Scores of forecasts in the data's units.

rmse, mae_units  root of the mean squared error, mean absolute error, over all steps of the horizon
mase             mean over groups and targets of the mean absolute error divided by that of a naive
                 forecast in the training part: the value of the season before, or the last one
                 (Hyndman & Koehler 2006). Below 1 is better than that forecast was there
r2               1 - sum of the squared errors / sum of the squared differences from the mean of the
                 test part's values, all groups together; of several targets, the mean
rmse_3           RMSE of the third step of the horizon, where it has several; of several targets,
                 mase_3

Errors of several targets have units of their own: "rmse.NAME" and "mae_units.NAME" for each.
"""

import numpy as np

from shared.protocol.windows import Windows
from shared.tasks.class_scores import value_scores
from shared.tasks.task import Series


def score(
    series: Series,
    predicted: np.ndarray,
    targets: np.ndarray,
    last: np.ndarray,
    group: np.ndarray,
) -> dict[str, float]:
    """Computes the scores of forecasts.

    Args:
        predicted, targets: (N, h·O) in the network's scale, step by step.
        last: (N, O) last value of each target before the forecast, in that scale.
        group: (N,) number of the group, in the order of `Series.scales`.
    """
    from shared.tasks.forecast_rows import values  # which loads the library of tables

    truth, found = (values(series, scaled, last, group) for scaled in (targets, predicted))
    names = [column.name for column in series.predicted]
    rows = -1, len(names)
    scores = value_scores(found.reshape(rows), truth.reshape(rows), names)
    off = np.subtract(found, truth, out=found)
    scores |= _mase("mase", series, off, group)
    if series.horizon > 1:
        for i in range(series.horizon):
            own = off[:, i : i + 1]
            if len(names) == 1:
                scores[f"rmse_{i + 1}"] = float(np.sqrt(np.square(own).mean()))
            else:
                scores |= _mase(f"mase_{i + 1}", series, own, group)
    return scores


def _mase(name: str, series: Series, off: np.ndarray, group: np.ndarray) -> dict[str, float]:
    """Returns the mean over groups and targets of the scaled absolute error, by its name.

    A group whose naive forecast made no error in training has no such scale, and counts nowhere.

    Args:
        off: (N, steps, O) errors in the data's units.
        group: (N,) numbers of groups.
    """
    naive = np.array([series.naive[key] for key in series.scales])
    held, place = np.unique(group, return_inverse=True)
    errors = np.zeros((len(held), off.shape[2]))
    np.add.at(errors, place, np.abs(off).mean(axis=1))
    errors /= np.bincount(place)[:, None]
    scaled = naive[held] > 0
    return {name: float((errors[scaled] / naive[held][scaled]).mean())} if scaled.any() else {}


def last_values(series: Series, inputs: np.ndarray | Windows) -> np.ndarray:
    """Returns the last value of each target that a network reads, (N, O) in its scale.

    Args:
        inputs: (N, window, F).
    """
    if isinstance(inputs, Windows):  # without making them all
        return inputs.rows[inputs.starts + inputs.steps - 1, : series.targets]
    return np.array(inputs[:, -1, : series.targets])
