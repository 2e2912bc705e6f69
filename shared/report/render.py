"""Reports as pages: a self-contained HTML file with its pictures in it, and one in Markdown."""

import base64
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from shared.system.files import write_atomically

TEMPLATES = Path(__file__).parent / "templates"


def write_pages(
    folder: Path,
    pages: Sequence[str],
    pictures: Mapping[str, str],
    context: Mapping[str, Any],
    templates: Path = TEMPLATES,
) -> None:
    """Renders the template of each page, `<name>.j2`, into a folder.

    Args:
        pages: file names, such as report.html and report.md.
        pictures: name in the templates → file in the folder. A page in HTML holds the picture
            itself, one in Markdown names the file.
        context: what the templates show besides; the pictures are under "pictures".
        templates: the folder of the templates.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    environment.filters["indented"] = lambda text: textwrap.indent(text, "    ", lambda _: True)
    for page in pages:
        embed = page.endswith(".html")
        images = {k: data_url(folder / file) if embed else file for k, file in pictures.items()}
        text = environment.get_template(f"{page}.j2").render(context, pictures=images)
        write_atomically(folder / page, text.encode())


def data_url(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
