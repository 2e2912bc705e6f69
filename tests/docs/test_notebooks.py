"""The notebooks run from top to bottom, and stand in the repository without outputs."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))

nbformat = pytest.importorskip("nbformat", reason="`make docs` installs what runs notebooks")
pytest.importorskip("ipykernel", reason="`make docs` installs what runs notebooks")
pytest.importorskip("nbclient", reason="`make docs` installs what runs notebooks")
pytest.importorskip("mkdocs", reason="`make docs` installs what builds the site")


def hook() -> ModuleType:
    file = ROOT / "docs" / "hooks" / "notebooks.py"
    spec = importlib.util.spec_from_file_location("notebooks", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["cells"]


def test_there_are_four() -> None:
    assert [path.stem[0] for path in NOTEBOOKS] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    """What its cells assert holds, and none writes to standard error."""
    book = nbformat.read(path, as_version=4)
    hook().run(book, tmp_path)
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    assert len(outputs) >= 3
    pictures = sum("image/png" in output.get("data", {}) for output in outputs)
    assert pictures >= {"1": 2, "2": 1, "3": 0, "4": 1}[path.stem[0]]
    assert [one.text for one in outputs if one.get("name") == "stderr"] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert code
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []
    assert all(cell["metadata"] == {} for cell in cells(path))
    nbformat.validate(nbformat.read(path, as_version=4))
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_claims_something_and_installs_what_is_missing(path: Path) -> None:
    code = ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code"]
    assert 'find_spec("rnn_parity") is None' in code[0]
    assert sum("assert " in source for source in code[1:]) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_links_to_notebooks_that_exist(path: Path) -> None:
    text = "".join("".join(cell["source"]) for cell in cells(path))
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (path.parent / target).is_file(), target
    assert "://" not in text


def test_a_bar_is_shown_as_it_ends() -> None:
    assert hook().terminal("\r  0%|\r 50%|\r100%| done\nnext\n") == "100%| done\nnext"


def test_the_page_of_a_notebook_shows_what_its_cells_show() -> None:
    new = nbformat.v4
    outputs = [
        new.new_output("stream", name="stdout", text="\r1 %\r2 %\n"),
        new.new_output("display_data", data={"image/png": "iVBORw==", "text/plain": "Figure"}),
        new.new_output("display_data", data={"text/html": "<b>\n\nb</b>", "text/plain": "b"}),
        new.new_output("execute_result", data={"text/plain": "'x'"}),
    ]
    book = new.new_notebook(
        cells=[new.new_markdown_cell("# Title"), new.new_code_cell("f()", outputs=outputs)]
    )
    text, pictures = hook().page(book, "name")
    assert pictures == {"name-1-1.png": b"\x89PNG"}
    assert text.split("\n\n") == [
        "# Title",
        '<p><a href="name.ipynb" download>Download the notebook</a></p>',
        "`````python\nf()\n`````",
        "`````text\n2 %\n`````",
        "![What the cell draws](name-1-1.png)",
        "<b>\nb</b>",
        "`````text\n'x'\n`````\n",
    ]


def test_a_link_to_a_notebook_leads_to_its_page() -> None:
    turned = hook().on_page_markdown("[a](notebooks/1-a.ipynb) [b](b.md) `c.ipynb`", *[None] * 3)
    assert turned == "[a](notebooks/1-a.md) [b](b.md) `c.ipynb`"
