"""The page of a report in a browser: its curves, tables, colours, and what it asks of a network."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.config.data import GeneratedData
from shared.config.settings import NetworkConfig
from shared.report import write_report
from shared.report.comparison_page import HTML
from shared.runs import read_run
from shared.runs.seeds import run_folders, save_seeds, seed_folder
from shared.tasks import TASKS
from shared.training import train
from tests.support.browser import Looked, chromium, opened, wait_until

NAMES = ["jax handcrafted", "torch handcrafted", "torch native"]


def reported(folder: Path, seeds: tuple[int, ...]) -> Path:
    """The page of a small task with a validation part, trained in both frameworks."""
    base = replace(
        TASKS["last-value"].defaults, network=NetworkConfig(hidden_size=4), epochs=3, batch_size=8,
        precision="float64", data=GeneratedData(40, 16, 16, 5, 3),
    )  # fmt: skip
    folders = []
    for name in NAMES:
        backend, implementation = name.split()
        own = folder / name.replace(" ", "-")
        for seed in seeds:
            config = replace(base, backend=backend, implementation=implementation, seed=seed)
            where = seed_folder(own, seed) if len(seeds) > 1 else own
            train(config, where, quiet=True)
        if len(seeds) > 1:
            save_seeds(own, seeds, base)
        folders.append(own)
    runs = [read_run(one) for one in run_folders(folders)]
    write_report(runs, folder / "report", "python scripts/compare.py --task last-value")
    return folder / "report" / HTML


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(tmp_path_factory.mktemp("single"), (0,))


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(tmp_path_factory.mktemp("seeded"), (3, 4))


@pytest.fixture
def look(browser: Any, single: Path) -> Iterator[Looked]:
    with opened(browser, single) as looked:
        yield looked


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


def test_nothing_is_loaded_and_nothing_goes_wrong(look: Looked, single: Path) -> None:
    look.page.get_by_label("accuracy").check()
    look.page.locator("th button").first.click()
    look.page.mouse.move(600, 500)
    look.page.wait_for_timeout(300)
    assert look.said == []
    assert [url for url in look.asked if not url.startswith(("data:", "blob:"))] == [
        single.as_uri()
    ]


def test_the_page_may_load_nothing_whatever_stands_in_it(look: Looked) -> None:
    """A picture from elsewhere, as a run's text could name it: the browser refuses."""
    look.page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://x.test/'}))")
    look.page.evaluate("fetch('http://x.test/').catch(() => null)")
    look.page.wait_for_timeout(300)
    refused = [line for line in look.said if "Content Security Policy" in line]
    assert any("img-src" in line for line in refused)
    assert any("connect-src" in line for line in refused)


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


def column(looked: Looked, heading: str, number: int) -> list[str]:
    table = looked.page.locator("section", has=looked.page.get_by_role("heading", name=heading))
    return table.locator(f"tbody td:nth-child({number})").all_text_contents()


def test_tables_are_sorted_by_any_column(look: Looked) -> None:
    section = look.page.locator("section", has=look.page.get_by_role("heading", name="Time and"))
    button = section.get_by_role("button", name="peak memory")
    assert section.locator("th[aria-sort]").count() == 0
    button.click()
    memory = [float(text) for text in column(look, "Time and", 5)]
    assert memory == sorted(memory)
    assert section.locator("th[aria-sort=ascending]").text_content() == "peak memory, MB"
    button.press("Enter")
    memory = [float(text) for text in column(look, "Time and", 5)]
    assert memory == sorted(memory, reverse=True)
    assert section.locator("th[aria-sort=descending]").count() == 1
    section.get_by_role("button", name="run").click()
    assert column(look, "Time and", 1) == sorted(NAMES)


def test_numbers_are_sorted_as_numbers_and_gaps_come_last(look: Looked) -> None:
    section = look.page.locator("section", has=look.page.get_by_role("heading", name="Scores"))
    section.get_by_role("button", name="validation loss").click()
    values = column(look, "Scores", 3)
    assert values[-1] == "–"
    numbers = [float(value) for value in values[:-1]]
    assert numbers == sorted(numbers)
    section = look.page.locator("section", has=look.page.get_by_role("heading", name="difference"))
    section.get_by_role("button", name="relative").click()
    numbers = [float(value) for value in column(look, "difference", 3)]
    assert numbers == sorted(numbers)
    assert any("e-" in value for value in column(look, "difference", 3))
    texts = ["10.5 % ± 0.1", "9.5 % ± 2.0", "1,200.0 % ± 0.0"]
    section.locator("tbody td:nth-child(3)").evaluate_all(
        "(cells, texts) => cells.forEach((cell, i) => { cell.textContent = texts[i]; })", texts
    )
    section.get_by_role("button", name="relative").click()
    assert column(look, "difference", 3) == [texts[2], texts[0], texts[1]]


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


def luminance(color: str) -> float:
    """Relative luminance of rgb(…), as WCAG 2.2 defines it."""
    parts = np.array([int(part) for part in re.findall(r"\d+", color)[:3]]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


TEXTS = ["h1", ".soft", ".verdict p", "th", "td", "pre", "legend"]
INK_AND_PAPER = """(selector) => {
  const opaque = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return color === "rgba(0, 0, 0, 0)" ? opaque(element.parentElement) : color;
  };
  const element = document.querySelector(selector);
  return [getComputedStyle(element).color, opaque(element)];
}"""


@pytest.mark.parametrize("scheme", ["dark", pytest.param("light", marks=pytest.mark.slow)])
def test_text_stands_out(browser: Any, single: Path, scheme: str) -> None:
    with opened(browser, single, color_scheme=scheme) as looked:
        for selector in TEXTS:
            colors = looked.page.evaluate(INK_AND_PAPER, selector)
            dark, bright = sorted(map(luminance, colors))
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, selector
            assert (luminance(colors[1]) > 0.5) == (scheme == "light"), selector


@pytest.mark.slow
def test_the_plot_takes_the_colours_of_the_page(browser: Any, single: Path) -> None:
    with opened(browser, single, color_scheme="light") as looked:
        ink = "getComputedStyle(document.querySelector('#curves .xtitle')).fill"
        before = looked.page.evaluate(ink)
        looked.page.emulate_media(color_scheme="dark")
        wait_until(looked.page, f"{ink} !== {before!r}")
        after = looked.page.evaluate(ink)
    assert luminance(before) < 0.2 < 0.6 < luminance(after)


@pytest.mark.slow
def test_paper_is_white_and_has_no_buttons(browser: Any, single: Path) -> None:
    with opened(browser, single, color_scheme="dark") as looked:
        ink = "getComputedStyle(document.querySelector('#curves .xtitle')).fill"
        before = looked.page.evaluate(ink)
        looked.page.emulate_media(media="print", color_scheme="dark")
        wait_until(looked.page, f"{ink} !== {before!r}")
        assert not looked.page.locator("#controls").is_visible()
        assert looked.page.locator("#curves .scatterlayer .trace").count() == 9
        body = "getComputedStyle(document.body)"
        assert luminance(looked.page.evaluate(f"{body}.backgroundColor")) > 0.9
        assert luminance(looked.page.evaluate(f"{body}.color")) < 0.1
        assert luminance(looked.page.evaluate(ink)) < 0.1


@pytest.mark.parametrize("width", [320, pytest.param(390, marks=pytest.mark.slow), 1200])
def test_the_page_is_as_wide_as_the_screen(browser: Any, seeded: Path, width: int) -> None:
    """Tables scroll by themselves."""
    with opened(browser, seeded, width=width) as looked:
        looked.page.wait_for_selector("#curves .scatterlayer")
        assert looked.page.evaluate("document.documentElement.scrollWidth") <= width
        plot = looked.page.locator("#curves .main-svg").first.bounding_box()
        assert 0.8 * width - 60 <= plot["width"] <= width


def test_without_javascript_the_pictures_stand_for_the_curves(browser: Any, single: Path) -> None:
    with opened(browser, single, java_script_enabled=False) as looked:
        pictures = looked.page.locator("noscript img")
        assert pictures.count() == 2
        assert not looked.page.locator("#controls").is_visible()


@pytest.mark.slow
def test_what_is_seen_is_also_said(look: Looked) -> None:
    page = look.page
    assert page.title() == "last-value: comparison"
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    for image in page.locator("img").all():
        assert len(image.get_attribute("alt")) > 20
    assert len(page.get_by_role("img").first.get_attribute("aria-label")) > 20
    unnamed = page.locator("input").evaluate_all(
        "(all) => all.filter((one) => !one.labels[0].textContent.trim()"
        " && !one.getAttribute('aria-label')).length"
    )
    assert unnamed == 0
    assert page.locator("table:not(:has(thead th[scope=col]))").count() == 0
