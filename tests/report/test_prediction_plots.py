"""Each kind of predictions has its picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from shared.report import forecast_plots, step_plots
from shared.report.prediction_plots import save_predictions
from shared.runs.schema import Schema
from shared.tasks.task import Column, Scale, Series
from tests.support.stub_runs import remembered_figures, schema, stub

pytestmark = pytest.mark.draws


PNG = b"\x89PNG\r\n\x1a\n"
DAY = np.timedelta64(1, "D")
GOAL = Column("temp_max", unit="°C")
CLASSES = ["one", "two", "three"]


def forecast(difference: bool) -> tuple[Schema, dict[str, np.ndarray]]:
    draw = np.random.default_rng(5)
    series = Series([GOAL], 1, 7, 1, None, "date", "1d", [], {"": [Scale(15.0, 7.0)]}, difference)
    targets, last = draw.normal(size=(2, 250, 1))
    found = {
        "predicted": targets + 0.1, "targets": targets, "inputs": draw.normal(size=(16, 7, 1)),
        "last": last, "group": np.zeros(250, int),
        "times": np.datetime64("2015-01-01", "us") + np.arange(250) * DAY,
    }  # fmt: skip
    return schema(loss="mse", input_size=1, output_size=1, series=series), found


def classes(steps: int, width: int, count: int = 60, **options: Any):
    draw = np.random.default_rng(5)
    found = {
        "predicted": draw.integers(0, 3, count).astype(np.int32),
        "targets": draw.integers(0, 3, count).astype(np.int32),
        "inputs": draw.random((min(count, 16), steps, width)),
    }
    return schema(classes=CLASSES, **options), found


def over_steps(steps: int, longer: int | None) -> tuple[Schema, dict[str, np.ndarray]]:
    draw = np.random.default_rng(5)

    def part(count: int, steps: int) -> dict[str, np.ndarray]:
        targets = draw.integers(0, 2, (count, steps))
        lengths = draw.integers(1, steps + 1, count)
        predicted = np.where(draw.random(targets.shape) < 0.9, targets, 1 - targets)
        return {"predicted": predicted, "targets": targets, "lengths": lengths}

    found = part(40, steps) | {"inputs": draw.integers(0, 2, (16, steps))}
    if longer:
        found |= {f"longer_{name}": array for name, array in part(30, longer).items()}
    told = schema(tokens=True, per_step=True, vocabulary=["0", "1"], input_size=2, output_size=2)
    return told, found


def distances(count: int) -> tuple[Schema, dict[str, np.ndarray]]:
    draw = np.random.default_rng(5)
    targets = draw.normal(size=(count, 1))
    found = {
        "predicted": targets + 0.1, "targets": targets, "inputs": draw.random((16, 9, 2)),
        "distance": draw.integers(1, 100, count),
    }  # fmt: skip
    return schema(loss="mse", output_size=1), found


KINDS = {
    "series": lambda: forecast(False),
    "series of changes": lambda: forecast(True),
    "classes": lambda: classes(5, 4),
    "classes without names": lambda: (schema(), classes(5, 4)[1]),
    "images": lambda: classes(8, 8, image=[1, 8]),
    "one image": lambda: classes(8, 8, count=1, image=[1, 8]),
    "films": lambda: classes(5, 256, image=[16, 16]),
    "one film": lambda: classes(5, 256, count=1, image=[16, 16]),
    "steps": lambda: over_steps(20, None),
    "many steps, and longer sequences": lambda: over_steps(40, 90),
    "distance": lambda: distances(500),
    "distance of one sequence": lambda: distances(1),
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are made."""
    return remembered_figures(monkeypatch)


@pytest.mark.parametrize(
    ("kind", "count"),
    [*((kind, 2) for kind in KINDS), ("series", 1), ("classes", 1), ("images", 1)],
)
def test_every_kind_of_predictions_has_a_picture(
    kind: str, count: int, tmp_path: Path, drawn: list[Figure]
) -> None:
    told, found = KINDS[kind]()
    runs = [stub(tmp_path / backend, told, found, backend) for backend in ("jax", "torch")[:count]]
    file = tmp_path / "predictions.png"
    assert save_predictions(runs, file) is True
    content = file.read_bytes()
    assert content.startswith(PNG)
    assert len(content) > 10_000
    (figure,) = drawn
    assert figure.get_suptitle() == "made: predictions for the test part"


def test_a_text_has_no_picture(tmp_path: Path) -> None:
    told = schema(
        tokens=True,
        per_step=True,
        streams=True,
        vocabulary=["a"],
        input_size=1,
        output_size=1,
        continues=True,
    )
    assert save_predictions([stub(tmp_path / "run", told, {})], tmp_path / "p.png") is False
    assert not (tmp_path / "p.png").exists()


@pytest.mark.parametrize("difference", [False, True])
def test_a_forecast_is_drawn_in_the_unit_of_its_column(
    difference: bool, tmp_path: Path, drawn: list[Figure]
) -> None:
    told, found = forecast(difference)
    save_predictions([stub(tmp_path / "run", told, found)], tmp_path / "p.png")
    left, right = drawn[0].axes
    truth, before, predicted = (np.asarray(line.get_ydata()) for line in left.get_lines())
    level = found["last"] if difference else 0
    for shown, scaled in (
        (truth, found["targets"] + level), (before, found["last"]),
        (predicted, found["predicted"] + level),
    ):  # fmt: skip
        np.testing.assert_allclose(shown, scaled[-forecast_plots.FORECAST :, 0] * 7 + 15)
    assert left.get_xlabel() == "last 180 days of the test part"
    assert left.get_ylabel() == "temp max, °C"
    assert right.get_xlabel() == "true temp max, °C"


def test_a_confusion_matrix_counts_true_classes_in_rows(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    told, found = classes(5, 4)
    found |= {"targets": np.array([0, 0, 0, 1, 2]), "predicted": np.array([0, 2, 2, 1, 0])}
    save_predictions([stub(tmp_path / "run", told, found)], tmp_path / "p.png")
    (axes,) = drawn[0].axes
    texts = {tuple(map(int, text.get_position()[::-1])): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "1", (0, 2): "2", (1, 1): "1", (2, 0): "1"}
    assert axes.get_title().endswith("2 of 5 right")
    assert [label.get_text() for label in axes.get_yticklabels()] == CLASSES
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_a_picture_that_is_read_wrongly_says_as_what(tmp_path: Path, drawn: list[Figure]) -> None:
    told, found = classes(8, 8, image=[1, 8], count=2)
    found |= {"targets": np.array([0, 1]), "predicted": np.array([0, 2])}
    save_predictions([stub(tmp_path / "run", told, found)], tmp_path / "p.png")
    titles = [axes.get_title() for axes in drawn[0].axes]
    assert titles[1:] == ["one", "two, read as three"]


@pytest.mark.parametrize(("fewest", "last"), [(1, 4), (2, 3), (3, 2), (20, 2)])
def test_accuracy_is_shown_over_the_steps_that_count(
    tmp_path: Path, drawn: list[Figure], monkeypatch: pytest.MonkeyPatch, fewest: int, last: int
) -> None:
    """And that as many sequences have as there must be, or as there are."""
    monkeypatch.setattr(step_plots, "FEWEST", fewest)
    told, found = over_steps(3, 5)
    found |= {
        "targets": np.zeros((2, 3), int), "predicted": np.array([[0, 1, 1], [0, 0, 0]]),
        "lengths": np.array([2, 3]),
        "longer_targets": np.zeros((1, 5), int), "longer_predicted": np.array([[0, 0, 1, 0, 1]]),
        "longer_lengths": np.array([4]),
    }  # fmt: skip
    save_predictions([stub(tmp_path / "run", told, found)], tmp_path / "p.png")
    lines = [np.asarray(line.get_data()) for line in drawn[0].axes[0].get_lines()]
    steps, shares = next(line for line in lines if line.max() > 50)
    np.testing.assert_array_equal(steps, [1, 2, 3, 4][:last])
    np.testing.assert_allclose(shares, [100, 200 / 3, 50, 100][:last])


def test_errors_over_the_distance_have_the_baseline_beside_them(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    save_predictions([stub(tmp_path / "run", *distances(500))], tmp_path / "p.png")
    _, level = drawn[0].axes[0].get_lines()
    assert level.get_label() == "always 1"
    assert {*np.asarray(level.get_ydata())} == {0.17}
