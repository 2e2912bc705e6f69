"""Forecasts without a network: the last value, that of the season before, linear autoregression."""

from typing import NamedTuple

import numpy as np

from shared.protocol.dataset import Split
from shared.protocol.windows import Windows
from shared.tasks import forecast_scores, regression
from shared.tasks.baselines import errors
from shared.tasks.regression import CHUNK
from shared.tasks.task import Baseline, Series

RIDGE = 1e-6
"""Penalty of a squared coefficient, in multiples of the number of windows: facts about the time are
the same in several rows, or sum to 1."""


class Tested(NamedTuple):
    """What the baselines are scored on."""

    split: Split
    group: np.ndarray
    """(N,) number of the series of each forecast."""
    first: np.ndarray
    """(N,) first row of the stretch in which each forecast is."""


def baselines(series: Series, train: Split, tested: Tested) -> list[Baseline]:
    """Scores the forecasts without a network on the test part.

    An autoregression that would read more than 5000 numbers is left out.
    """
    inputs, targets = tested.split.inputs, np.asarray(tested.split.targets)
    last = forecast_scores.last_values(series, inputs)
    level = np.tile(last, series.horizon) if series.difference else 0.0

    def scored(name: str, predicted: np.ndarray) -> Baseline:
        scores = errors(name, predicted, targets).scores
        known = forecast_scores.score(series, predicted, targets, last, tested.group)
        return Baseline(name, scores | known)

    found = [scored("last value", np.tile(last, series.horizon) - level)]
    if series.season is not None:
        found.append(scored("seasonal last value", _seasonal(series, tested, last) - level))
    for about, features in _read_by_regressions(series).items():
        if series.window * features.sum() > regression.LARGEST:
            continue
        coefficients = regression.fit(train, series.window, RIDGE, features)
        predicted = np.concatenate(
            [
                regression.read(inputs, slice(at, at + CHUNK), series.window, features)
                @ coefficients
                for at in range(0, len(inputs), CHUNK)
            ]
        )
        found.append(scored(f"AR({series.window}){about}", predicted))
    return found


def _seasonal(series: Series, tested: Tested, last: np.ndarray) -> np.ndarray:
    """Returns the values of the last season that is known, (N, h·O) in the network's scale.

    Where the stretch has no such row, or a value is missing there, it is the last value.
    """
    inputs, season = tested.split.inputs, series.season
    assert isinstance(inputs, Windows)
    assert season is not None
    steps = np.arange(series.horizon)
    back = season * (steps // season + 1) - steps
    rows = inputs.starts[:, None].astype(np.int64) + series.window - back
    there = rows >= tested.first[:, None]
    found = inputs.rows[np.maximum(rows, 0), : series.targets]
    found = np.where(there[..., None] & ~np.isnan(found), found, last[:, None])
    return found.reshape(len(last), -1)


def _read_by_regressions(series: Series) -> dict[str, np.ndarray]:
    """Returns the features that each autoregression reads, (F,) True or False, by what its name
    says of them."""
    kinds = [
        "itself" if i < series.targets else "calendar" if _is_fact(column.kind) else "others"
        for i, column in enumerate(series.columns)
        for _ in range(column.width)
    ]
    of = {kind: np.array(kinds) == kind for kind in ("itself", "calendar", "others")}
    if not (of["calendar"] | of["others"]).any():
        return {"": of["itself"]}
    found = {" of itself": of["itself"]}
    if of["calendar"].any():
        found[" with calendar"] = of["itself"] | of["calendar"]
    if of["others"].any():
        found[" with features"] = np.ones(len(kinds), bool)
    return found


def _is_fact(kind: str) -> bool:
    return kind in ("hour", "weekday", "month", "season")
