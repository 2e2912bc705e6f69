"""Reports that several tests look at, each made once, and a browser for them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Looked, chromium, opened
from tests.support.command_line import script
from tests.support.small_report import reported


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of four contenders; who changes one of its runs copies it first."""
    folder = tmp_path_factory.mktemp("compared")
    ran = script(
        "compare.py", "--task", "hello", "--epochs", "40", "--eval-every", "20", "--cell", "gru",
        "--precision", "float64", "--out", "report", "--contenders",
        "jax/handcrafted", "jax/native", "torch/handcrafted", "torch/native", cwd=folder,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return folder / "report"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(tmp_path_factory.mktemp("single"), (0,))


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(tmp_path_factory.mktemp("seeded"), (3, 4))


@pytest.fixture
def look(browser: Any, single: Path) -> Iterator[Looked]:
    with opened(browser, single) as looked:
        yield looked
