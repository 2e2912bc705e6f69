"""The documentation's site builds without a warning and needs no network."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

pytest.importorskip("mkdocs", reason="`make docs` installs what builds the site")


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_a_page_of_every_kind_is_there(site: Path) -> None:
    for page in ("index", "tutorial/one-step", "reference/rnn_jax", "repository/benchmarks/index"):
        assert (site / f"{page}.html").stat().st_size > 10_000, page
    for code in ("hooks", "lessons"):
        assert not (site / code).exists()


def test_no_page_fetches_anything_from_a_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        fetched = re.findall(
            r"<(?:script|img|iframe)\b[^>]*\bsrc=\"?(\w+:)?//|<link\b[^>]*\bhref=\"?(?:\w+:)?//",
            page.read_text(),
        )
        assert not fetched, page


def test_both_columns_hold_what_the_sources_hold(site: Path) -> None:
    page = re.sub(r"<[^>]+>", "", (site / "tutorial" / "one-step.html").read_text())
    for package, call in (("rnn_jax", "jnp.tanh"), ("rnn_torch", "torch.tanh")):
        assert f"{package}/cells.py, line " in page
        assert f"return ({call}(projected + " in page


SOURCE = '''\
import functools

# Why it is cached.
@functools.cache
def plain(x):
    """What it does.

    Twice said.
    """
    return x

class Holder:
    def method(self):
        return 1
'''


@pytest.mark.parametrize(
    ("name", "bare", "first", "expected"),
    [
        ("plain", False, 3, "\n".join(SOURCE.splitlines()[2:10])),
        ("plain", True, 3, "# Why it is cached.\n@functools.cache\ndef plain(x):\n    return x"),
        ("Holder.method", False, 13, "def method(self):\n    return 1"),
        ("method", False, 0, ""),
        ("Holder.plain", False, 0, ""),
    ],
)
def test_a_function_is_shown_whole(name: str, bare: bool, first: int, expected: str) -> None:
    assert hook("side_by_side").source(SOURCE, name, bare) == (first, expected)


def test_links_in_code_are_none_and_links_in_text_are() -> None:
    text = "[a](../x.py#one) `[b](../y.py)`\n\n```md\n[c](../z.py)\n```\n![d](e.png) [f](#g)"
    found = [link["target"] for link in hook("repository").TOKEN.finditer(text)]
    assert [target for target in found if target] == ["../x.py", "e.png"]
