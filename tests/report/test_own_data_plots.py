"""Pictures of forecasts, sequences and texts that a user brings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from shared.report.class_plots import confusions, mistakes
from shared.report.forecast_plots import Forecasts, in_units, of_baseline, step_name
from shared.report.prediction_plots import predictions_figure
from shared.report.shown import Shown, shown_runs
from shared.report.step_plots import answers_by_length
from shared.runs.summary import Reference
from tests.support import stub_runs
from tests.support.stub_runs import Made, stub

pytestmark = pytest.mark.draws

KINDS: dict[str, Callable[[], Made]] = {
    "many series": stub_runs.many_series,
    "one series, a week ahead": lambda: stub_runs.many_series(groups=1),
    "three numbers of two series": lambda: stub_runs.many_series(2, 3, targets=3),
    "two numbers, a day ahead": lambda: stub_runs.many_series(1, 1, targets=2),
    "numbers of sequences": stub_runs.measured_numbers,
    "three numbers of sequences": lambda: stub_runs.measured_numbers(3),
    "twenty classes": lambda: stub_runs.classified(20),
    "fifty classes": lambda: stub_runs.classified(50),
    "classes without a mistake": lambda: stub_runs.classified(40, right=1.0),
    "classes of steps": lambda: stub_runs.classified(3, per_step=True),
    "answers": stub_runs.answered,
    "labels": stub_runs.labelled,
}


def drawn(folder: Path, made: Made, count: int = 1, **known: Any) -> Figure:
    folder.mkdir(exist_ok=True)
    runs = [stub(folder / name, *made, name, **known) for name in ("jax", "torch")[:count]]
    figure = predictions_figure(runs)
    assert figure is not None
    figure.canvas.draw()  # type: ignore[no-untyped-call]
    return figure


def shown(folder: Path, made: Made, **known: Any) -> Shown:
    return shown_runs([stub(folder / "run", *made, **known)])[0]


def labels(figure: Figure, which: int) -> list[str]:
    return [text.get_text() for text in figure.axes[which].get_legend().get_texts()]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_own_data_has_a_picture(kind: str, tmp_path: Path) -> None:
    figure = drawn(tmp_path, KINDS[kind](), count=2)
    assert figure.get_suptitle().endswith("predictions for the test part")
    assert all(axes.get_xlabel() or axes.get_title() for axes in figure.axes)


def test_of_many_series_the_first_four_are_drawn_and_it_is_said(tmp_path: Path) -> None:
    figure = drawn(tmp_path, stub_runs.many_series())
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["store 1 (the first 4 of 6 are drawn)", "store 2", "store 3", "store 4"]
    assert figure.axes[0].get_ylabel() == "sales 0, €"
    assert labels(figure, 0) == [
        "truth", "last value, 7 ahead", "jax handcrafted, 1 ahead", "jax handcrafted, 7 ahead",
    ]  # fmt: skip
    assert len(figure.axes) == 4 + 2


def test_a_series_without_a_forecast_in_the_test_part_is_not_drawn(tmp_path: Path) -> None:
    told, found = stub_runs.many_series(groups=3)
    kept = found["group"] != 0
    rows = {"predicted", "targets", "last", "group", "times"}
    found = {name: own[kept] if name in rows else own for name, own in found.items()}
    figure = drawn(tmp_path, (told, found))
    assert [axes.get_title() for axes in figure.axes[:2]] == ["store 2", "store 3"]


def test_forecasts_are_in_the_units_and_at_the_times_of_their_series(tmp_path: Path) -> None:
    """The logarithm is undone, and each series has its own scale."""
    told, found = stub_runs.many_series(groups=3, horizon=3)
    own = in_units(shown(tmp_path, (told, found)), 2, 0)
    rows = found["group"] == 2
    mean = 2.0 + 2 / 3
    truth = np.expm1(found["targets"][rows] * 0.3 + mean)
    np.testing.assert_allclose(own.truth, [*truth[:, 0], *truth[-1, 1:]])
    np.testing.assert_allclose(own.last, np.expm1(found["last"][rows][:, 0] * 0.3 + mean))
    third = own.at_step(own.predicted[:, 2], 2)
    predicted = np.expm1(found["predicted"][rows][:, 2] * 0.3 + mean)
    np.testing.assert_allclose(third[2:], predicted)
    assert np.isnan(third[:2]).all()
    assert (np.diff(own.times) == np.timedelta64(1, "D")).all()
    assert len(own.times) == len(third) == 242


def test_no_forecast_is_placed_and_no_line_drawn_across_a_jump(tmp_path: Path) -> None:
    """The second series lacks ten days: what is predicted beyond the jump has no place."""
    told, found = stub_runs.many_series(groups=2, horizon=3)
    own = in_units(shown(tmp_path, (told, found)), 1, 0)
    assert own.run.tolist() == [0] * 100 + [1] * 130
    third = own.at_step(own.predicted[:, 2], 2)
    assert np.flatnonzero(np.isnan(third)).tolist() == [0, 1, 100, 101]
    times, values = own.lines(own.truth)
    (gap,) = np.flatnonzero(np.isnan(values))
    assert times[gap + 1] - times[gap - 1] == np.timedelta64(11, "D")


def test_changes_are_added_to_the_value_before(tmp_path: Path) -> None:
    told, found = stub_runs.many_series(groups=1, horizon=2)
    before = in_units(shown(tmp_path, (told, found)), 0, 0)
    assert told.series is not None
    changes = {name: found[name] - found["last"] for name in ("predicted", "targets")}
    object.__setattr__(told.series, "difference", True)
    (tmp_path / "changes").mkdir()
    after = in_units(shown(tmp_path / "changes", (told, found | changes)), 0, 0)
    np.testing.assert_allclose(after.predicted, before.predicted)
    np.testing.assert_allclose(after.truth, before.truth)
    np.testing.assert_allclose(after.last, before.last)


@pytest.mark.parametrize(
    ("seasonal", "step", "name", "back"),
    [(0.5, 0, "seasonal last value", 7), (0.5, 6, "seasonal last value", 7),
     (0.5, 7, "seasonal last value", 14), (1.5, 2, "last value", 3)],
)  # fmt: skip
def test_the_better_one_of_two_simple_forecasts_is_drawn(
    seasonal: float, step: int, name: str, back: int, tmp_path: Path
) -> None:
    """A forecast of the season before uses no value that was not known yet."""
    scores = {"last value": 1.0, "seasonal last value": seasonal}
    run = shown(
        tmp_path, stub_runs.many_series(groups=1, horizon=8),
        baselines=[Reference(key, {"mase": value}) for key, value in scores.items()],
    )  # fmt: skip
    own = in_units(run, 0, 0)
    found, values = of_baseline(run, own, step)
    assert found == name
    np.testing.assert_allclose(values[20:240], own.truth[20 - back : 240 - back])


def test_forecasts_without_times_are_numbered() -> None:
    values = np.arange(5.0)
    own = Forecasts(np.arange(6), values, values[:, None], values, np.zeros(5, int))
    np.testing.assert_array_equal(own.at_step(values, 1), [np.nan, 0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ("step", "name"),
    [("1d", "days"), ("1bd", "days"), ("15m", "steps of 15 minutes"), ("1mo", "months"),
     ("2", "rows"), (None, "rows")],
)  # fmt: skip
def test_the_steps_of_a_series_have_a_name(step: str | None, name: str) -> None:
    series = stub_runs.many_series()[0].series
    assert series is not None
    object.__setattr__(series, "step", step)
    assert step_name(series) == name


def test_errors_of_network_and_baselines_are_drawn_over_the_horizon(tmp_path: Path) -> None:
    own, other = ({f"rmse_{i + 1}": scale * (i + 1) for i in range(7)} for scale in (1.0, 2.0))
    known = {"test": own, "baselines": [Reference("AR(14)", other), Reference("mean", {"rmse": 9})]}
    figure = drawn(tmp_path, stub_runs.many_series(groups=1), **known)
    network, linear = figure.axes[1].get_lines()
    assert np.asarray(network.get_ydata()).tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert np.asarray(linear.get_ydata()).tolist() == [2, 4, 6, 8, 10, 12, 14]
    assert linear.get_label() == "AR(14)"
    assert (figure.axes[1].get_xlabel(), figure.axes[1].get_ylabel()) == (
        "step of the horizon", "RMSE, €",
    )  # fmt: skip


def test_predicted_numbers_are_in_their_units_with_r2(tmp_path: Path) -> None:
    told, found = stub_runs.measured_numbers(2)
    figure = drawn(tmp_path, (told, found))
    left, right = figure.axes
    assert (left.get_xlabel(), left.get_ylabel()) == ("true mass 0, kg", "predicted mass 0, kg")
    points = np.asarray(left.collections[0].get_offsets())
    np.testing.assert_allclose(points[:, 0], np.expm1(found["targets"][:, 0] * 0.5 + 2))
    truth, predicted = (found[name][:, 1] * 0.5 + 2 for name in ("targets", "predicted"))
    r2 = 1 - np.square(predicted - truth).mean() / truth.var()
    assert labels(figure, 1) == [f"jax handcrafted, R² {r2:.3f}"]
    assert right.get_xlabel() == "true mass 1, kg"


def test_steps_beyond_a_sequence_are_in_no_confusion_matrix() -> None:
    _, found = stub_runs.classified(3, per_step=True)
    counts = confusions(found, 3)
    assert counts.sum() == found["lengths"].sum()


def test_of_many_classes_the_most_frequent_mistakes_are_named(tmp_path: Path) -> None:
    told, found = stub_runs.classified(40, right=1.0)
    found["targets"][:6], found["predicted"][:6] = 3, [7, 7, 7, 5, 5, 3]
    figure = drawn(tmp_path, (told, found))
    names = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert names == ["kind 3, read as kind 7", "kind 3, read as kind 5"]
    assert mistakes(confusions(found, 40)) == [(3, 7), (3, 5)]
    assert not figure.axes[0].texts


def test_answers_are_scored_by_the_length_of_their_source() -> None:
    found = {
        "sources": np.array(["a" * length for length in [9] * 20 + [2] * 20]),
        "references": np.array(["b"] * 40),
        "answers": np.array(["b"] * 10 + ["c"] * 10 + ["b"] * 20),
    }
    lengths, shares = answers_by_length(found)
    assert lengths.tolist() == [2, 9]
    assert shares.tolist() == [1.0, 0.5]


@pytest.mark.parametrize("step", [None, "0.5"])
def test_times_may_be_numbers_or_rows(step: str | None, tmp_path: Path) -> None:
    told, found = stub_runs.many_series(groups=1, horizon=3)
    assert told.series is not None
    object.__setattr__(told.series, "step", step)
    if step is None:
        del found["times"]
    else:
        found["times"] = 1990 + np.arange(240) / 2
    own = in_units(shown(tmp_path, (told, found)), 0, 0)
    ends = (0, 241) if step is None else (1990, 2110.5)
    assert (own.times[0], own.times[-1]) == ends
    (tmp_path / "drawn").mkdir()
    figure = drawn(tmp_path / "drawn", (told, found))
    assert figure.axes[0].get_xlabel() == "last 180 rows of the test part"
