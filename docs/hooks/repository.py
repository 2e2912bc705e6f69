"""Links out of docs/ work in the site, too: what they lead to becomes a page of it.

    [trace.py](../shared/protocol/trace.py)   →  a page with the file's text
    [Benchmark](../benchmarks/README.md)      →  that page, and what it links to in turn

So the same link works where the repository is browsed, and the site needs no address of one.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

FOLDER = "repository/"
"""Where the site has the files from outside docs/."""

PICTURES = (".png", ".svg")

TOKEN = re.compile(
    r"^ *(?P<fence>```+).*?^ *(?P=fence)$"  # code, in which nothing is a link
    r"|`[^`\n]+`"
    r"|\]\((?P<target>[^()\s#]+)(?P<anchor>#[^()\s]*)?\)",
    re.MULTILINE | re.DOTALL,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what pages link to outside docs/, what those files link to, and so on."""
    root = Path(config.config_file_path).parent
    todo = [file for file in files if file.src_uri.endswith(".md")]
    while todo:
        page = todo.pop()
        for target in _targets(root, page.src_uri, page.content_string):
            uri = _site(target)
            if files.get_file_from_path(uri) is None:
                added = _file(config, root, target, uri)
                files.append(added)
                todo += [added] if target.endswith(".md") else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns the links of a page to where the site has their targets."""
    root, uri = Path(config.config_file_path).parent, page.file.src_uri

    def turned(link: re.Match) -> str:
        target = _target(root, uri, link)
        if target is None:
            return link[0]
        place = posixpath.relpath(_site(target), posixpath.dirname(uri))
        return f"]({place}{link['anchor'] or ''})"

    return TOKEN.sub(turned, markdown)


def _targets(root: Path, uri: str, markdown: str) -> Iterator[str]:
    for link in TOKEN.finditer(markdown):
        target = _target(root, uri, link)
        if target is not None:
            yield target


def _target(root: Path, uri: str, link: re.Match) -> str | None:
    """The file of the repository that a page's link leads to; None if there is no such file, which
    MkDocs then warns of."""
    if link["target"] is None:
        return None
    page = uri.removeprefix(FOLDER) if uri.startswith(FOLDER) else f"docs/{uri}"
    folder = posixpath.dirname(page)
    path = posixpath.normpath(posixpath.join(folder, link["target"]))
    return path if (root / path).is_file() else None


def _site(path: str) -> str:
    """Where the site has a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return FOLDER + path + ("" if path.endswith((".md", *PICTURES)) else ".md")


def _file(config: MkDocsConfig, root: Path, path: str, uri: str) -> File:
    if path.endswith((".md", *PICTURES)):
        return File.generated(config, uri, abs_src_path=str(root / path))
    language = Path(path).suffix.removeprefix(".") or "text"
    text = (root / path).read_text(encoding="utf-8")
    # Not searched: a reader looks for pages, and every word is somewhere in the code.
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n"
    return File.generated(config, uri, content=f"{head}`````{language}\n{text}`````\n")
