"""Scores of forecasts in the data's units, by plain NumPy on numbers made by hand."""

from typing import Any

import numpy as np
import pytest

from shared.tasks.forecast_scores import score
from shared.tasks.task import Column, Scale, Series


def made(targets: int, horizon: int, **options: Any) -> tuple[Series, list[np.ndarray]]:
    """Two groups of their own scale; the first target has a logarithm. Arrays as `score` reads
    them."""
    draw = np.random.default_rng(4)
    columns = [Column(name, log=i == 0) for i, name in enumerate("ab"[:targets])]
    scales = {"x": [Scale(2.0, 0.5)] * targets, "y": [Scale(3.0, 0.25)] * targets}
    defaults = {"difference": False, "naive": {"x": [2.0] * targets, "y": [5.0] * targets}}
    series = Series(
        columns, targets, 4, horizon, None, None, None, ["g"], scales, **(defaults | options)
    )
    predicted, truth = draw.normal(size=(2, 30, horizon * targets))
    return series, [predicted, truth, draw.normal(size=(30, targets)), draw.integers(0, 2, 30)]


def in_units(series: Series, scaled: np.ndarray, last: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Written with loops: (N, horizon, targets)."""
    found = np.zeros((len(scaled), series.horizon, series.targets))
    for i, row in enumerate(scaled):
        own = [*series.scales.values()][group[i]]
        for step in range(series.horizon):
            for k in range(series.targets):
                value = row[step * series.targets + k] + last[i, k] * series.difference
                value = value * own[k].std + own[k].mean
                if series.columns[k].log:  # a forecast of it is at least 0
                    value = max(0.0, np.exp(value) - 1)
                found[i, step, k] = value
    return found


@pytest.mark.parametrize("difference", [False, True])
def test_errors_are_those_of_the_values_in_their_units(difference: bool) -> None:
    series, (predicted, truth, last, group) = made(1, 3, difference=difference)
    found = score(series, predicted, truth, last, group)
    ours, right = (in_units(series, scaled, last, group) for scaled in (predicted, truth))
    off = ours - right
    assert list(found) == ["rmse", "mae_units", "r2", "mase", "rmse_1", "rmse_2", "rmse_3"]
    assert found["rmse"] == pytest.approx(np.sqrt(np.square(off).mean()))
    assert found["mae_units"] == pytest.approx(np.abs(off).mean())
    assert found["r2"] == pytest.approx(1 - np.square(off).mean() / right.var())
    assert found["rmse_2"] == pytest.approx(np.sqrt(np.square(off[:, 1]).mean()))


def test_mase_is_the_mean_over_groups_each_by_its_own_naive_error() -> None:
    series, (predicted, truth, last, group) = made(1, 2)
    off = in_units(series, predicted, last, group) - in_units(series, truth, last, group)
    expected = np.mean([np.abs(off[group == 0]).mean() / 2, np.abs(off[group == 1]).mean() / 5])
    assert score(series, predicted, truth, last, group)["mase"] == pytest.approx(expected)


def test_a_group_that_is_not_in_the_part_counts_nowhere() -> None:
    series, arrays = made(1, 2)
    own = [array[arrays[3] == 1] for array in arrays]
    off = in_units(series, own[0], *own[2:]) - in_units(series, *own[1:])
    assert score(series, *own)["mase"] == pytest.approx(np.abs(off).mean() / 5)


def test_a_naive_forecast_without_an_error_is_no_scale() -> None:
    series, arrays = made(1, 1, naive={"x": [2.0], "y": [0.0]})
    found = score(series, *arrays)
    predicted, truth, last, group = arrays
    off = in_units(series, predicted, last, group) - in_units(series, truth, last, group)
    assert found["mase"] == pytest.approx(np.abs(off[group == 0]).mean() / 2)
    neither, _ = made(1, 1, naive={"x": [0.0], "y": [0.0]})
    assert "mase" not in score(neither, *arrays)


def test_several_targets_have_errors_of_their_own_and_steps_without_a_unit() -> None:
    series, (predicted, truth, last, group) = made(2, 2)
    found = score(series, predicted, truth, last, group)
    ours, right = (in_units(series, scaled, last, group) for scaled in (predicted, truth))
    off = ours - right
    assert list(found) == [
        "rmse.a", "mae_units.a", "rmse.b", "mae_units.b", "r2", "mase", "mase_1", "mase_2",
    ]  # fmt: skip
    assert found["rmse.b"] == pytest.approx(np.sqrt(np.square(off[..., 1]).mean()))
    each = [1 - np.square(off[..., k]).mean() / right[..., k].var() for k in (0, 1)]
    assert found["r2"] == pytest.approx(np.mean(each))
    second = [np.abs(off[group == g, 1]).mean(axis=0) / (2, 5)[g] for g in (0, 1)]
    assert found["mase_2"] == pytest.approx(np.mean(second))


def test_the_last_value_of_a_straight_line_errs_by_the_steps_ahead() -> None:
    """A line that rises by 2 a row: the naive error is 2, so that MASE is the mean of 1, 2, 3."""
    columns, scales = [Column("a")], {"": [Scale(10.0, 4.0)]}
    series = Series(columns, 1, 2, 3, None, None, None, [], scales, True, naive={"": [2.0]})
    ahead = np.tile([2.0, 4.0, 6.0], (5, 1)) / 4
    last = np.arange(5.0)[:, None] / 2
    found = score(series, np.zeros((5, 3)), ahead, last, np.zeros(5, int))
    assert found["mase"] == pytest.approx(2.0)
    assert [found[f"rmse_{i}"] for i in (1, 2, 3)] == pytest.approx([2, 4, 6])
