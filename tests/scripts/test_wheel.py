"""The wheel, built, installed in a fresh environment, and used without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def run(*command: object, cwd: Path) -> str:
    finished = subprocess.run(
        [*map(str, command)], cwd=cwd, env=CLEAN, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)  # sdist → wheel
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "rnn_jax", "rnn_parity", "rnn_torch", "shared",
    }  # fmt: skip
    sources = {
        str(file.relative_to(ROOT))
        for package in ("rnn_jax", "rnn_parity", "rnn_torch", "shared")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == sources
    assert sources >= {
        "shared/report/templates/report.html.j2", "shared/report/templates/report.js",
        "shared/tasks/data/sunspots.npz", "rnn_jax/py.typed",
    }  # fmt: skip


@pytest.mark.slow
def test_the_installed_program_works_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    run(sys.executable, "-m", "venv", environment, cwd=empty)
    python, program = environment / "bin" / "python", environment / "bin" / "rnn-parity"
    run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel, cwd=empty)
    shown = run(program, "run", "--backend", "jax", cwd=empty)
    assert "accuracy 100.0 %" in shown
    assert (empty / "runs" / "hello-jax-handcrafted-rnn-1" / "curves.png").is_file()
    small = ("--epochs", "2", "--precision", "float64")
    assert "equal in float64" in run(program, "compare", *small, cwd=empty)
    assert "proved in float64" in run(program, "parity", "--steps", "5", "--runs", "0", cwd=empty)
    assert "NOT equal" not in run(python, "-m", "rnn_parity", "run", "--help", cwd=empty)
    code = "import rnn_parity; print(rnn_parity.read_run, rnn_parity.__file__)"
    assert str(environment) in run(python, "-c", code, cwd=empty)
