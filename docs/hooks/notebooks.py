"""Runs the notebooks when the site is built, and makes a page of each, with what its cells print.

    docs/notebooks/1-first-steps.ipynb   →  a page, and the notebook itself to download

In the repository notebooks are without outputs. What was run is kept in .cache/notebooks until a
notebook or the code of the packages changes.
"""

import base64
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from traitlets.config import Config

PACKAGES = ("rnn_jax", "rnn_torch", "rnn_parity", "shared")
SECONDS = 300
"""Longest time for a cell, on a machine that has other work."""
LINK = re.compile(r"\]\(((?:[\w./-]*/)?[\w-]+)\.ipynb\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each notebook, and the pictures that its cells draw."""
    root = Path(config.config_file_path).parent
    found = [file for file in files if file.src_uri.endswith(".ipynb")]
    paths = [Path(str(file.abs_src_path)) for file in found]
    with ThreadPoolExecutor() as pool:
        books = [*pool.map(lambda path: executed(root, path), paths)]
    for file, book in zip(found, books, strict=True):
        uri = file.src_uri.removesuffix(".ipynb")
        text, pictures = page(book, uri.rpartition("/")[2])
        files.append(File.generated(config, f"{uri}.md", content=text))
        folder = uri.rpartition("/")[0]
        for name, content in pictures.items():
            files.append(File.generated(config, f"{folder}/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links to notebooks into links to their pages."""
    return LINK.sub(r"](\1.md)", markdown)


def executed(root: Path, path: Path) -> NotebookNode:
    """Returns a notebook with the outputs of its cells, run in an empty folder or read from the
    cache.

    Raises:
        PluginError: a cell fails.
    """
    cached = root / ".cache" / "notebooks" / f"{path.stem}-{_digest(root, path)}.ipynb"
    if cached.exists():
        return nbformat.read(cached, as_version=4)
    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        try:
            run(book, folder)
        except CellExecutionError as error:
            raise PluginError(f"{path}: expected cells that run, got: {error}") from error
    cached.parent.mkdir(parents=True, exist_ok=True)
    for older in cached.parent.glob(f"{path.stem}-*.ipynb"):
        older.unlink()
    nbformat.write(book, cached)
    return book


def run(book: NotebookNode, folder: str | Path) -> None:
    """Runs the cells of a notebook in a folder, and keeps their outputs in it.

    Raises:
        CellExecutionError: a cell fails.
    """
    place = {"metadata": {"path": str(folder)}}
    # Sockets in files instead of ports, which others on the machine could read.
    with tempfile.TemporaryDirectory() as sockets:
        manager = {"transport": "ipc", "ip": f"{sockets}/kernel"}
        client = NotebookClient(
            book, timeout=SECONDS, resources=place, config=Config({"KernelManager": manager})
        )
        # Several run at once, and with tensors as small as these a second thread only waits.
        client.execute(env=os.environ | {"OMP_NUM_THREADS": "1"})


def _digest(root: Path, path: Path) -> str:
    """Returns a hash of a notebook and of all code that it may run."""
    digest = hashlib.sha256(path.read_bytes())
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def page(book: NotebookNode, name: str) -> tuple[str, dict[str, bytes]]:
    """Returns a notebook as Markdown, and its pictures by the names of their files."""
    pictures: dict[str, bytes] = {}
    parts: list[str] = []
    for number, cell in enumerate(book.cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(fenced(cell.source, "python"))
        for output, part in enumerate(shown(cell)):
            if isinstance(part, bytes):
                file = f"{name}-{number}-{output}.png"
                pictures[file] = part
                parts.append(f"![What the cell draws]({file})")
            else:
                parts.append(part)
    title, *rest = parts
    download = f'<p><a href="{name}.ipynb" download>Download the notebook</a></p>'
    return "\n\n".join([title, download, *rest]) + "\n", pictures


def shown(cell: NotebookNode) -> Iterator[str | bytes]:
    """Yields what a cell shows, as Markdown or as the bytes of a picture."""
    streams = [output.text for output in cell.outputs if output.output_type == "stream"]
    if streams:
        yield fenced(terminal("".join(streams)), "text")
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            yield base64.b64decode(data["image/png"])
        elif "text/html" in data:
            yield re.sub(r"\n\s*\n", "\n", data["text/html"])  # a blank line would end the block
        elif "text/plain" in data:
            yield fenced(data["text/plain"], "text")


def terminal(text: str) -> str:
    """Returns a text as a terminal shows it: after a carriage return, a line is written anew."""
    lines = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return "\n".join(lines).strip("\n")


def fenced(text: str, language: str) -> str:
    return f"`````{language}\n{text}\n`````"
