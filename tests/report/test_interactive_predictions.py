"""Predictions on a report's page: what the figure is made of, and what a browser shows of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.config.data import ForecastData
from shared.config.settings import NetworkConfig
from shared.report import write_report
from shared.report.class_plots import confusions
from shared.report.interactive_predictions import SERIES, STEPS, predicted
from shared.runs import read_run
from shared.tasks import TASKS
from shared.training import train
from tests.support import stub_runs
from tests.support.browser import Looked, opened
from tests.support.stub_runs import Made, stub


def figure(folder: Path, made: Made) -> dict[str, Any]:
    found = predicted([stub(folder / name, *made, name) for name in ("jax", "torch")])
    assert found is not None
    assert [group["name"] for group in found["groups"]] == ["jax handcrafted", "torch handcrafted"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_forecasts_of_each_series_are_there_at_each_step(tmp_path: Path) -> None:
    told, found = stub_runs.many_series(groups=3, horizon=4)
    page = figure(tmp_path, (told, found))
    assert (page["kind"], page["steps"], page["step"], page["more"]) == (
        "forecast", [1, 2, 3, 4], "days", 0,
    )  # fmt: skip
    assert [series["name"] for series in page["series"]] == ["store 1", "store 2", "store 3"]
    series = page["series"][2]
    assert (series["what"], series["baseline"]) == ("sales_0, €", "last value")
    own, mean = found["group"] == 2, 2.0 + 2 / 3
    truth = np.expm1(found["targets"][own] * 0.3 + mean)
    np.testing.assert_allclose(series["truth"]["y"][-4:], truth[-1], rtol=1e-4)
    fourth = np.expm1(found["predicted"][own][:, 3] * 0.3 + mean)
    np.testing.assert_allclose(series["predicted"][1][3]["y"][-9:], fourth[-9:], rtol=1e-4)
    before = np.expm1(found["last"][own][:, 0] * 0.3 + mean)
    np.testing.assert_allclose(series["baselines"][3]["y"][-9:], before[-9:], rtol=1e-4)
    assert series["truth"]["x"][-1] == "2024-08-30T00:00:00"


def test_a_jump_is_a_gap_in_the_lines(tmp_path: Path) -> None:
    series = figure(tmp_path, stub_runs.many_series(groups=2, horizon=2))["series"][1]
    assert series["truth"]["y"].count(None) == 1
    assert series["predicted"][0][0]["y"].count(None) >= 1


def test_long_horizons_and_many_series_are_thinned_out(tmp_path: Path) -> None:
    page = figure(tmp_path, stub_runs.many_series(groups=12, horizon=40, targets=2, count=60))
    assert len(page["series"]) == SERIES
    assert page["more"] == 24 - SERIES
    assert page["series"][1]["name"] == "store 1, sales_1"
    assert len(page["steps"]) == STEPS
    assert (page["steps"][0], page["steps"][-1]) == (1, 40)


def test_predicted_numbers_are_in_their_units(tmp_path: Path) -> None:
    told, found = stub_runs.measured_numbers(2)
    page = figure(tmp_path, (told, found))
    assert [target["what"] for target in page["targets"]] == ["mass_0, kg", "mass_1, kg"]
    np.testing.assert_allclose(
        page["targets"][1]["predicted"][0], found["predicted"][:, 1] * 0.5 + 2, rtol=1e-4
    )


@pytest.mark.parametrize("per_step", [False, True])
def test_classes_are_counted(per_step: bool, tmp_path: Path) -> None:
    told, found = stub_runs.classified(4, per_step)
    page = figure(tmp_path, (told, found))
    assert page["classes"] == told.classes
    assert page["counts"] == [confusions(found, 4).tolist()] * 2


def test_answers_are_shown_by_the_length_of_their_source(tmp_path: Path) -> None:
    page = figure(tmp_path, stub_runs.answered())
    assert page["kind"] == "answers"
    assert page["answers"][0]["x"] == sorted(page["answers"][0]["x"])
    assert page["answers"][0]["y"][0] > page["answers"][0]["y"][-1]


def test_too_many_classes_and_plain_steps_have_no_figure(tmp_path: Path) -> None:
    many = stub_runs.classified(150)
    assert predicted([stub(tmp_path / "many", *many)]) is None
    told, found = stub_runs.answered()
    del found["sources"], found["answers"], found["references"]
    assert predicted([stub(tmp_path / "steps", told, found)]) is None
    assert predicted([stub(tmp_path / "text", told, {})]) is None


@pytest.fixture(scope="module")
def forecast_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two series, three days ahead."""
    folder = tmp_path_factory.mktemp("forecast")
    draw = np.random.default_rng(1)
    rows = [
        f"{np.datetime64('2024-01-01') + day},{shop},{10 * (i + 1) + day % 7 + draw.random():.3f}"
        for i, shop in enumerate(["north", "south"])
        for day in range(120)
    ]
    (folder / "sales.csv").write_text("\n".join(["day,shop,sales", *rows]) + "\n")
    data = ForecastData(
        path=(str(folder / "sales.csv"),), target=("sales",), time="day", group=("shop",),
        window=8, horizon=3,
    )  # fmt: skip
    base = replace(
        TASKS["forecast"].defaults, backend="torch", network=NetworkConfig(hidden_size=4), epochs=1,
        data=data,
    )  # fmt: skip
    ways = "handcrafted", "native"
    for way in ways:
        train(replace(base, implementation=way), folder / way, quiet=True)
    write_report([read_run(folder / way) for way in ways], folder / "report")
    return folder / "report" / "report.html"


def traces(looked: Looked) -> list[dict[str, Any]]:
    return looked.page.evaluate(
        "document.getElementById('predictions').data.map(({name, x, y}) => ({name, x, y}))"
    )


def test_series_and_step_are_chosen_on_the_page(browser: Any, forecast_page: Path) -> None:
    with opened(browser, forecast_page) as looked:
        first = traces(looked)
        assert [trace["name"] for trace in first] == [
            "truth", "last value", "torch handcrafted", "torch native",
        ]  # fmt: skip
        assert max(first[0]["y"]) < 20
        looked.page.get_by_label("Series").select_option("south")
        second = traces(looked)
        assert min(second[0]["y"]) > 18
        looked.page.get_by_label("Steps ahead").select_option("3")
        third = traces(looked)
        assert third[0] == second[0]
        assert third[1]["y"][2:] == second[1]["y"][:-2]  # the last value, two days later
        assert looked.said == []


def test_classes_are_shown_as_shares_on_the_page(look: Looked) -> None:
    (shares,) = look.page.evaluate("document.getElementById('predictions').data.map((t) => t.z)")
    assert [sum(row) for row in shares] == pytest.approx([1.0, 1.0])
    look.page.locator("select[name=group]").select_option("torch native")
    assert look.said == []
