"""Curves of a report in a browser: what is drawn, switched off, smoothed, and shown of a step."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.runs import read_run
from shared.runs.seeds import seed_folder
from tests.support.browser import Looked, opened
from tests.support.small_report import NAMES


def traces(looked: Looked) -> dict[str, dict[str, Any]]:
    """What is drawn, by name."""
    found = looked.page.evaluate(
        "document.getElementById('curves').data.map((trace) => ({name: trace.name, x: trace.x,"
        " y: trace.y, visible: trace.visible !== false, fill: trace.fill}))"
    )
    return {trace.get("name") or f"edge {i}": trace for i, trace in enumerate(found)}


def drawn(looked: Looked) -> int:
    """Lines and clouds of points that the browser has on the screen."""
    return looked.page.locator("#curves .scatterlayer .trace").count()


def axis(looked: Looked, name: str) -> str:
    return looked.page.evaluate(f"document.getElementById('curves')._fullLayout.{name}.type")


def test_every_run_has_its_curves(look: Looked, single: Path) -> None:
    found = traces(look)
    for i, name in enumerate(NAMES):
        run = read_run(single.parents[1] / name.replace(" ", "-"))
        curve, valid = run.curves["train"], run.curves["valid"]
        assert found[name]["x"] == curve.step.tolist()
        np.testing.assert_allclose(found[name]["y"], curve.loss, rtol=1e-6)
        assert found[f"{name}, validation"]["x"] == valid.step.tolist()
        assert (f"difference, {name}" in found) == (i > 0)
    # Three runs, their validations, the baseline, two differences.
    assert drawn(look) == len(found) == 9


@pytest.mark.slow
def test_a_step_shows_the_values_of_all_runs(look: Looked) -> None:
    box = look.page.locator("#curves").bounding_box()
    label = look.page.locator("#curves .hoverlayer .legend")
    for i in range(200):  # where the machine is busy, the page misses a movement
        look.page.mouse.move(box["x"] + box["width"] / 2 + i % 2, box["y"] + 100)
        if label.count():
            break
        look.page.wait_for_timeout(100)
    text = label.text_content()
    assert re.match(r"step \d+", text), text
    for name in NAMES:
        assert name in text
    assert text.count("difference") == 2


def test_a_run_is_switched_off_and_on(look: Looked) -> None:
    box = look.page.get_by_role("checkbox", name="torch native")
    box.uncheck()
    visible = {name for name, trace in traces(look).items() if trace["visible"]}
    assert not any("torch native" in name for name in visible)
    assert {"jax handcrafted", "difference, torch handcrafted"} <= visible
    assert drawn(look) == 6
    box.press("Space")  # the keyboard will do
    assert all(trace["visible"] for trace in traces(look).values())
    # What the others are compared with takes the differences along.
    look.page.get_by_role("checkbox", name="jax handcrafted").uncheck()
    assert not any(t["visible"] for name, t in traces(look).items() if "difference" in name)


@pytest.mark.slow
def test_axes_are_logarithmic_on_demand(look: Looked) -> None:
    assert [axis(look, name) for name in ("xaxis", "yaxis", "yaxis2")] == [
        "linear",
        "linear",
        "log",
    ]
    look.page.get_by_label("steps", exact=True).check()
    look.page.get_by_label("values", exact=True).check()
    assert [axis(look, name) for name in ("xaxis", "yaxis", "yaxis2")] == ["log"] * 3


@pytest.mark.slow
def test_smoothing_is_an_average_that_starts_at_the_first_value(look: Looked) -> None:
    before = traces(look)
    look.page.get_by_label("weight of the moving average").fill("90")
    after = traces(look)
    loss = np.array(before[NAMES[0]]["y"])
    weights = 0.9 ** np.arange(len(loss))
    expected = [np.average(loss[: i + 1][::-1], weights=weights[: i + 1]) for i in range(len(loss))]
    np.testing.assert_allclose(after[NAMES[0]]["y"], expected, rtol=1e-12)
    difference = f"difference, {NAMES[1]}"
    assert after[difference] == before[difference]
    assert look.page.locator("output").text_content() == "0.90"


@pytest.mark.slow
def test_long_curves_that_jump_are_smoothed_at_first(look: Looked) -> None:
    rng = np.random.default_rng(0)
    falling = np.exp(-np.arange(300) / 50)
    for noise, expected in ((0.0, False), (0.2, True)):
        values = (falling + noise * rng.random(300)).tolist()
        assert look.page.evaluate("(values) => rough(values)", values) is expected
    assert look.page.evaluate("rough([1, 0, 1, 0])") is False
    assert look.page.locator("output").text_content() == "off"


@pytest.mark.slow
def test_what_lies_behind_is_told_when_the_first_run_is_off(look: Looked) -> None:
    assert look.page.locator("#curves .annotation").count() == 0
    look.page.get_by_role("checkbox", name="jax handcrafted").uncheck()
    said = look.page.locator("#curves .annotation").text_content()
    assert said == "switch jax handcrafted on to see the differences to it"


@pytest.mark.slow
def test_accuracy_takes_the_place_of_the_loss(look: Looked, single: Path) -> None:
    look.page.get_by_label("accuracy").check()
    run = read_run(single.parents[1] / "torch-native")
    np.testing.assert_allclose(traces(look)["torch native"]["y"], run.curves["train"].metric)
    assert not any("without" in name or "baseline" in name for name in traces(look))


def test_seeds_are_a_mean_in_a_band(browser: Any, seeded: Path) -> None:
    with opened(browser, seeded) as looked:
        found = traces(looked)
        losses = np.array(
            [
                read_run(seed_folder(seeded.parents[1] / "torch-native", seed)).curves["train"].loss
                for seed in (3, 4)
            ]
        )
        np.testing.assert_allclose(found["torch native"]["y"], losses.mean(axis=0), rtol=1e-6)
        low, high = [
            (found[first], found[second])
            for first, second in pairwise(found)
            if found[second]["fill"] == "tonexty"
        ][-1]
        np.testing.assert_allclose(low["y"], losses.min(axis=0), rtol=1e-6)
        np.testing.assert_allclose(high["y"], losses.max(axis=0), rtol=1e-6)
        assert "± " in looked.page.locator("td").nth(1).text_content()
        looked.page.locator("summary").click()
        assert looked.page.locator("details tbody tr").count() == 6
        assert "from each of 2 seeds" in looked.page.locator(".verdict").first.text_content()
        assert looked.said == []
