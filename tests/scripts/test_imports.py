"""Who may import whom: between the rooms, and in fresh processes where a package is missing."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rooms import ROOMS, forbidden, imports_in, modules, room_of

BLOCKER = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {forbidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""

EVERY_MODULE = """
import {package}
for module in pkgutil.walk_packages({package}.__path__, "{package}."):
    importlib.import_module(module.name)
loaded = {forbidden!r} & {{name.split(".")[0] for name in sys.modules}}
assert not loaded, loaded
"""


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("shared", {"jax", "flax", "optax", "torch", "rnn_jax", "rnn_torch"}),
        ("rnn_jax", {"torch", "rnn_torch"}),
        ("rnn_torch", {"jax", "flax", "optax", "rnn_jax"}),
    ],
)
def test_package_imports_without(package: str, forbidden: set[str]) -> None:
    code = (BLOCKER + EVERY_MODULE).format(package=package, forbidden=forbidden)
    finished = python(code)
    assert finished.returncode == 0, finished.stderr


def test_blocker_blocks() -> None:
    finished = python(BLOCKER.format(forbidden={"torch"}) + "import torch")
    assert finished.returncode == 1
    assert "No module named 'torch'" in finished.stderr


@pytest.mark.parametrize(
    ("backend", "forbidden"),
    [("jax", {"torch"}), ("torch", {"jax", "jaxlib", "flax", "optax"})],
)
def test_a_whole_run_without_the_other_framework(backend: str, forbidden: set, tmp_path) -> None:
    code = BLOCKER.format(forbidden=forbidden) + (
        "import runpy\n"
        f"sys.argv = ['run.py', '--backend', '{backend}', '--epochs', '3']\n"
        f"sys.argv += ['--out', {str(tmp_path / 'run')!r}]\n"
        "runpy.run_path('scripts/run.py', run_name='__main__')\n"
    )
    finished = python(code)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "run" / "summary.json").exists()


def test_help_loads_neither_framework_nor_numpy() -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['run.py', '--help']\n"
        "try:\n"
        "    runpy.run_path('scripts/run.py', run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert stop.code in (0, None)\n"
        "heavy = {'jax', 'torch', 'flax', 'numpy', 'matplotlib', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    finished = python(code)
    assert finished.returncode == 0, finished.stderr
    assert "--hidden-size" in finished.stdout


FRAMEWORKS = {"jax", "jaxlib", "flax", "optax", "torch", "rnn_jax", "rnn_torch"}


def imported(file: Path) -> set[str]:
    """The top-level packages that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_the_shared_layer_names_no_framework() -> None:
    """Also not inside a function, or for its types."""
    files = sorted(Path("shared").rglob("*.py"))
    assert len(files) > 30
    for file in files:
        assert not imported(file) & FRAMEWORKS, file
    assert imported(Path("tests/conftest.py")) >= {"torch", "jax"}


ALL = [one for name, file in modules() for one in imports_in(name, file.read_text())]


def test_a_room_imports_only_rooms_before_it() -> None:
    assert len(ALL) > 500
    assert [one for one in ALL if forbidden(one)] == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("rnn_jax.layers", "from rnn_torch import exchange"),
        ("rnn_torch.exchange", "import rnn_jax.exchange"),
        ("rnn_jax.backend", "from shared.runs import checkpoint"),
        ("rnn_torch.backend", "from shared.training.loop import Loop"),
        ("rnn_torch.pair", "import shared.report"),
        ("rnn_jax.native", "from shared.parity.lockstep import Side"),
        ("rnn_torch.network", "from shared.tasks import task"),
        ("rnn_jax.traps", "from shared.inference import load_trained"),
        ("shared.protocol.batching", "from shared.tasks.task import Task"),
        ("shared.protocol.backend", "from shared.runs.checkpoint import Checkpoint"),
        ("shared.config.settings", "from shared.protocol.layer import LayerConfig"),
        ("shared.config", "from shared.protocol import Backend"),
        ("shared.tasks.text", "from shared.runs.schema import Schema"),
        ("shared.tasks.registry", "from shared.training import train"),
        ("shared.runs.run", "from shared.training.loop import Loop"),
        ("shared.runs.summary", "from shared.inference.evaluation import evaluate"),
        ("shared.runs.seeds", "import shared.report.groups"),
        ("shared.runs.history", "from shared.parity import Findings"),
        ("shared.parity.lockstep", "from shared.training import resume"),
        ("shared.parity.pair", "from shared.runs import read_run"),
        ("shared.parity.findings", "from shared.report.parity_page import HTML"),
        ("shared.inference.predict", "from shared.report import console"),
        ("shared.report.console", "from shared.inference import load_trained"),
        ("shared.report.verdict", "from shared.training.resume import last_position"),
        ("shared.training.loop", "from shared.report.style import COLORS"),
        ("shared.training.train", "from shared.commands import cli"),
        ("shared.training.loop", "from shared.notebook import fit"),
        ("shared.report.console", "from shared.notebook.fitted import Fit"),
        ("shared.notebook.fit", "from shared.commands import cli"),
        ("shared.system.files", "from shared.config import Config"),
        ("shared.errors", "from shared.system import files"),
        ("shared.commands.parity", "from rnn_jax import traps"),
        ("shared.commands.run", "import rnn_parity"),
        ("rnn_jax.backend", "import rnn_parity"),
    ],
)
@pytest.mark.parametrize("inside", ["{}", "def later():\n    {}"])
def test_what_must_never_be_is_noticed(module: str, line: str, inside: str) -> None:
    (found,) = imports_in(module, inside.format(line))
    assert forbidden(found)


def test_outside_a_room_its_face_is_used() -> None:
    """What a room shows at its door is not fetched from a file behind it."""
    faces: dict[tuple[str, str | None], str] = {
        (one.target, one.name): room
        for room in ROOMS[1:]
        for one in ALL
        if one.module == f"shared.{room}" and one.name is not None
    }
    assert {name for _, name in faces} >= {"Config", "Backend", "TASKS", "read_run", "train"}
    behind = [
        one
        for one in ALL
        if room_of(one.module) not in (faces.get((one.target, one.name)), "rnn_parity")
        and (one.target, one.name) in faces
    ]
    assert behind == []


ARCHITECTURE = Path("docs/architecture.md").read_text()


def test_the_drawing_shows_the_arrows_that_there_are() -> None:
    drawn = {}
    for line in ARCHITECTURE.partition("```text\n")[2].partition("```")[0].splitlines():
        room, _, others = line.partition("←")
        drawn |= {room.strip(): others.split()} if room.strip() else {}
    found: dict[str, set[str]] = {name: set() for name in (*ROOMS, "rnn_jax", "rnn_torch")}
    for one in ALL:
        here, there = room_of(one.module), room_of(one.target)
        if here in found and here != there and there != "shared":
            found[here].add(there)
    assert drawn == {room: sorted(to, key=ROOMS.index) for room, to in found.items()}


def test_the_way_of_a_run_is_that_of_the_imports() -> None:
    """Each file is imported by one before it, or found by the contract under its name."""
    way = re.findall(r"^ ?\d+\. `([\w/]+\.py)`", ARCHITECTURE, flags=re.MULTILINE)
    assert 8 <= len(way) <= 10
    seen: set[str] = {"scripts.run", "rnn_jax.backend"}
    for file in way:
        module = file.removesuffix(".py").replace("/", ".")
        assert module in seen, f"{file} is imported by none before it"
        source = Path(file).read_text()
        faces = {one.target for one in imports_in(module, source)}
        seen |= faces | {one.target for face in faces for one in ALL if one.module == face}


TOPS = (".", "rnn_jax", "scripts", "shared", "shared/*", "shared/report/templates")
"""Where the files are that the page names."""


def test_every_file_that_the_page_names_is_there() -> None:
    names = re.findall(r"`([\w/]+\.(?:py|html\.j2))`", ARCHITECTURE)
    assert len(names) > 50
    for name in names:
        found = [place for top in TOPS for place in Path().glob(f"{top}/{name}")]
        assert found, f"docs/architecture.md: {name}"


def test_a_face_is_read_at_a_glance() -> None:
    for room in ROOMS[1:]:
        assert len(Path("shared", room, "__init__.py").read_text().splitlines()) < 40


def test_nothing_imports_in_a_circle() -> None:
    """Neither rooms nor the files within one, but for what only types need."""
    edges: dict[str, set[str]] = {}
    for one in ALL:
        if one.module != one.target and not one.module.endswith("__init__"):
            edges.setdefault(one.module, set()).add(one.target)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module not in done:
            for target in sorted(edges.get(module, ())):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(edges):
        visit(module, ())


LIGHT = {
    "shared.config": {"dacite"},
    "shared.tasks": {"dacite"},
    "shared.protocol": {"dacite", "ml_dtypes", "numpy", "safetensors"},
    "rnn_parity": set(),
    "rnn_jax": {"dacite", "ml_dtypes", "numpy", "safetensors", "jax", "flax", "optax"},
    "rnn_torch": {"dacite", "ml_dtypes", "numpy", "safetensors", "torch", "tqdm"},
}
"""What importing a package may load, of what the project depends on."""
DEPENDENCIES = {
    "dacite", "flax", "jax", "jinja2", "matplotlib", "ml_dtypes", "numpy", "optax", "plotly",
    "polars", "safetensors", "torch", "tqdm", "tyro",
}  # fmt: skip


@pytest.mark.parametrize("package", LIGHT)
def test_a_package_loads_no_more_than_it_needs(package: str) -> None:
    finished = python(
        f"import sys, {package}; print(*{{n.partition('.')[0] for n in sys.modules}})"
    )
    assert finished.returncode == 0, finished.stderr
    assert {*finished.stdout.split()} & DEPENDENCIES <= LIGHT[package]
