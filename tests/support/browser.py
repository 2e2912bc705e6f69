"""Pages in headless Chromium, with all that they say and ask for written down."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


class Looked(NamedTuple):
    page: Any
    """Playwright's."""
    said: list[str]
    """Errors, and whatever it wrote to the console."""
    asked: list[str]
    """Addresses from which it loaded something."""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def wait_until(page: Any, condition: str) -> None:
    """Until an expression is true. Playwright's own way compiles it in the page, which the page's
    policy forbids."""
    deadline = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"it does not come to {condition}"
        page.wait_for_timeout(50)


@contextmanager
def opened(browser: Any, file: Path, width: int = 1200, **options: Any) -> Iterator[Looked]:
    """A page at some width in pixels, closed afterwards."""
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    yield Looked(page, said, asked)
    page.close()
