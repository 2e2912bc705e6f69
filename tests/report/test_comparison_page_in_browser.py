"""Reports in a browser: their tables, colours and width, and that they ask nothing of a network."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.browser import Looked, opened, wait_until
from tests.support.small_report import NAMES


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
