"""Who may import whom, proved in fresh processes with the forbidden packages made unimportable."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert imported(Path("scripts/parity.py")) >= {"torch", "rnn_jax"}
