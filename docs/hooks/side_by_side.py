"""Shows a function of both frameworks side by side, as the source has it when the site is built.

    <!-- side by side: cells.rnn_tanh -->

becomes `rnn_tanh` of rnn_jax/cells.py and of rnn_torch/cells.py, in two columns where there is
room. `step.Step.take` is a method; `recurrence.recur, without docstring` leaves out what the
page says itself. A name that no longer exists ends the build.
"""

import ast
import re
import textwrap
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

MARKER = re.compile(
    r"^<!-- side by side: (?P<module>\w+)\.(?P<name>[\w.]+)(?P<bare>, without docstring)? -->$",
    re.MULTILINE,
)
PACKAGES = ("rnn_jax", "rnn_torch")

Function = ast.FunctionDef | ast.ClassDef


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    root = Path(config.config_file_path).parent

    def columns(marker: re.Match) -> str:
        module, name, bare = marker["module"], marker["name"], marker["bare"] is not None
        blocks = [_block(root, f"{package}/{module}.py", name, bare) for package in PACKAGES]
        return "\n\n".join(['<div class="grid side-by-side" markdown>', *blocks, "</div>"])

    shown, count = MARKER.subn(columns, markdown)
    if count:  # two columns need the room of the table of contents
        page.meta.setdefault("hide", []).append("toc")
    return shown


def _block(root: Path, path: str, name: str, bare: bool) -> str:
    first, code = source((root / path).read_text(encoding="utf-8"), name, bare)
    if not code:
        raise PluginError(f"{path}: expected {name}, to show it side by side, got no such name")
    return f'```python title="{path}, line {first}"\n{code}\n```'


def source(text: str, name: str, bare: bool) -> tuple[int, str]:
    """A function's first line and its code, with its decorators and the comment above it; (0, "")
    if there is none of this name.

    Args:
        name: with dots, for what is in a class.
        bare: without its docstring.
    """
    found: ast.AST = ast.parse(text)
    for part in name.split("."):
        inner = [node for node in ast.iter_child_nodes(found) if isinstance(node, Function)]
        found = next((node for node in inner if node.name == part), ast.Module([], []))
    if not isinstance(found, Function):
        return 0, ""
    lines = text.splitlines()
    first = min(node.lineno for node in (found, *found.decorator_list))
    while lines[first - 2].lstrip().startswith("#"):
        first -= 1
    assert found.end_lineno is not None
    chosen = range(first, found.end_lineno + 1)
    if bare and ast.get_docstring(found) is not None:
        docstring = found.body[0]
        assert docstring.end_lineno is not None
        chosen = [n for n in chosen if not docstring.lineno <= n <= docstring.end_lineno]
    return first, textwrap.dedent("\n".join(lines[number - 1] for number in chosen))
