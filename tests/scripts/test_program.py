"""The installed program and what people import: `rnn-parity run`, `rnn_parity.train`."""

import ast
import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import rnn_parity
from shared.commands.program import COMMANDS
from shared.parity.trace_files import write_trace
from shared.tasks import TASKS
from tests.support.command_line import check_refused

ROOT = Path(__file__).parents[2]
INSTALLED = Path(sysconfig.get_paths()["purelib"])
PROGRAM = Path(sys.executable).with_name("rnn-parity")


def python(
    *arguments: str, cwd: Path | None = None, path: Path = ROOT, site: Path = INSTALLED
) -> subprocess.CompletedProcess:
    """Python with the packages that lie in a folder, and no others of this project."""
    command = [
        sys.executable,
        "-S",
        "-c",
        SITE.format(path=str(path), site=str(site)),
        *arguments,
    ]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


# A process whose packages are found by their paths alone, as after `pip install`, and not by the
# finder of an editable installation.
SITE = """
import runpy, sys
sys.path[:0] = ["", {path!r}]
sys.path.append({site!r})
sys.argv = sys.argv[1:]
exec(sys.argv[0]) if sys.argv[0] != "-m" else runpy.run_module(sys.argv[1], run_name="__main__")
"""


def program(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [str(PROGRAM), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_program_trains_and_compares_in_an_empty_folder(tmp_path: Path) -> None:
    sides = ("torch/handcrafted", "torch/native")
    compared = program(
        "compare", "--epochs", "2", "--out", "report", "--precision", "float64", "--contenders",
        *sides, cwd=tmp_path,
    )  # fmt: skip
    assert compared.returncode == 0, compared.stderr
    assert "equal in float64" in compared.stdout.splitlines()[-2]
    page = (tmp_path / "report" / "report.md").read_text()
    assert "rnn-parity compare --epochs 2 --out report" in page
    assert not (tmp_path / "scripts").exists()


def test_help_lists_every_command_and_each_has_its_own(tmp_path: Path) -> None:
    listed = program("--help", cwd=tmp_path)
    assert listed.returncode == 0
    for name, about in COMMANDS.items():
        assert f"  {name:<9} {about}" in listed.stdout
        module = importlib.import_module(f"shared.commands.{name}")
        assert f"    rnn-parity {name} " in f"{module.__doc__} ".replace("\n", " \n")
        assert (ROOT / "scripts" / f"{name}.py").is_file()
    own = program("convert", "--help", cwd=tmp_path)
    assert own.stdout.startswith("usage: rnn-parity convert ")
    assert "    rnn-parity convert model.pt lstm.safetensors" in own.stdout


def test_a_script_of_a_checkout_shows_how_it_is_called_itself() -> None:
    command = [sys.executable, "scripts/convert.py", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "    python scripts/convert.py model.pt lstm.safetensors" in shown
    assert "rnn-parity" not in shown


def test_version_is_that_of_the_installed_package(tmp_path: Path) -> None:
    assert program("--version", cwd=tmp_path).stdout == f"rnn-parity {version('rnn-parity')}\n"
    assert rnn_parity.__version__ == version("rnn-parity")


@pytest.mark.parametrize("arguments", [[], ["train"], ["--backend", "jax"]], ids=" ".join)
def test_no_such_command_is_refused_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    got = arguments[0] if arguments else "none"
    finished = program(*arguments, cwd=tmp_path)
    check_refused(finished, "rnn-parity: expected a command, one of run, ", f", got {got}")


def test_a_refusal_names_the_command(tmp_path: Path) -> None:
    check_refused(program("run", "--backend", "keras", cwd=tmp_path), "rnn-parity run: ")


def test_nothing_follows_version(tmp_path: Path) -> None:
    check_refused(program("--version", "run", cwd=tmp_path), "expected nothing after it, got run")


def test_the_module_is_the_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rnn_parity", "convert", "a.pt", "b"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    check_refused(finished, "rnn-parity convert: b: expected a name in .safetensors")


@pytest.mark.usefixtures("in_numpy")
def test_folders_may_be_given_as_text(tmp_path: Path) -> None:
    config = replace(TASKS["hello"].defaults, epochs=3, eval_every=1)
    first, second = str(tmp_path / "first"), str(tmp_path / "seeds")
    rnn_parity.train(config, first, quiet=True)
    rnn_parity.train_seeds(config, [1, 2], second, quiet=True)
    runs = [rnn_parity.read_run(first), rnn_parity.read_run(f"{second}/seed-1")]
    rnn_parity.write_report(runs, str(tmp_path / "report"))
    assert (tmp_path / "report" / "report.md").is_file()
    trained = rnn_parity.load_trained(first)
    (tmp_path / "lines.txt").write_text("hello\n")
    assert len(rnn_parity.predictions(trained, str(tmp_path / "lines.txt"))) == 1
    tensors, _ = rnn_parity.read_safetensors(f"{first}/checkpoint-3.safetensors")
    assert "weights/rnn.weight_ih_l0" in tensors
    for side in ("a", "b"):
        (tmp_path / side).mkdir()
        write_trace(tmp_path / side, 1, {"loss/loss": np.ones(())})
    compared = rnn_parity.compare_folders(str(tmp_path / "a"), str(tmp_path / "b"))
    findings = rnn_parity.Findings(compared)
    rnn_parity.write_parity_report(findings, str(tmp_path / "parity"), title="a, b", command="…")
    assert (tmp_path / "parity" / "parity.md").is_file()


@pytest.mark.parametrize("name", sorted(rnn_parity._HOMES))
def test_every_name_is_what_its_module_has(name: str) -> None:
    found = getattr(rnn_parity, name)
    assert found is getattr(importlib.import_module(rnn_parity._HOMES[name]), name)
    assert name in dir(rnn_parity)


def test_type_checkers_see_the_names_that_there_are() -> None:
    tree = ast.parse(Path(rnn_parity.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    shown = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert shown == rnn_parity._HOMES


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="'rnn_parity' has no attribute 'nothing'"):
        rnn_parity.nothing  # noqa: B018


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    """A user's folder with a package called shared, as many have."""
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "config.py").write_text("SETTINGS = 1\n")
    return tmp_path


@pytest.mark.parametrize(
    "used", ["import rnn_jax", "import rnn_torch", "from rnn_parity import train"]
)
def test_another_package_called_shared_is_named_with_both_paths(used: str, hidden: Path) -> None:
    finished = python(used, cwd=hidden)
    assert finished.returncode == 1
    last = finished.stderr.splitlines()[-1]
    package = used.split()[1]
    assert last.startswith(f"ImportError: {package} needs the package shared in {ROOT / 'shared'},")
    assert str(hidden / "shared") in last
    assert "rename that one, or start Python in another folder" in last


def test_the_program_says_so_in_one_line(hidden: Path) -> None:
    finished = python("-m", "rnn_parity", cwd=hidden)
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert line.startswith("rnn-parity: rnn_parity needs the package shared in ")


@pytest.mark.parametrize("file", ["shared.py", "shared/__init__.py", "shared/training/__init__.py"])
def test_neither_a_file_nor_a_package_is_taken_for_ours(file: str, tmp_path: Path) -> None:
    """Even one with the very names."""
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("def train(config): return 'foreign'\n")
    if "/" in file:
        (tmp_path / "shared" / "__init__.py").touch()
    for used in ("import rnn_jax", "from rnn_parity import train"):
        last = python(used, cwd=tmp_path).stderr.splitlines()[-1]
        assert f"needs the package shared in {ROOT / 'shared'}," in last
        assert str(tmp_path / "shared") in last
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    started = subprocess.run([PROGRAM, "--help"], env=environment, capture_output=True, text=True)
    (line,) = started.stderr.splitlines()
    assert line.startswith("rnn-parity: rnn_parity needs the package shared in ")


def test_a_star_brings_the_names_and_nothing_else() -> None:
    found: dict[str, object] = {}
    exec("from rnn_parity import *", found)
    assert {*found} - {"__builtins__"} == {*rnn_parity._HOMES}
    assert {*dir(rnn_parity)} == {*rnn_parity._HOMES, "__version__"}


@pytest.fixture
def without_torch(tmp_path: Path) -> Path:
    """The installed packages but torch."""
    site = tmp_path / "site"
    site.mkdir()
    for installed in INSTALLED.iterdir():
        if not installed.name.startswith("torch"):
            (site / installed.name).symlink_to(installed)
    return site


@pytest.mark.parametrize(
    "arguments",
    [("parity", "--steps", "2"), ("convert", "a.safetensors", "b.pt"),
     ("compare", "--epochs", "1", "--out", "report"), ("compare", "--suite", "results"),
     ("run", "--backend", "torch")],
    ids=" ".join,
)  # fmt: skip
def test_a_command_names_the_framework_that_is_missing(
    arguments: tuple[str, ...], tmp_path: Path, without_torch: Path
) -> None:
    """Before anything is computed or written."""
    (tmp_path / "empty").mkdir()
    code = f"sys.argv = ['rnn-parity', *{arguments!r}]; import rnn_parity.__main__ as m; m.start()"
    finished = python(code, cwd=tmp_path / "empty", site=without_torch)
    check_refused(
        finished, f"{arguments[0]}: --backend torch needs the package torch, which is not installed"
    )
    assert not [*(tmp_path / "empty").iterdir()]


def test_a_name_says_which_framework_it_needs(without_torch: Path) -> None:
    finished = python("from rnn_parity import TorchProgram", site=without_torch)
    last = finished.stderr.splitlines()[-1]
    expected = "rnn_parity.TorchProgram needs the package torch, which is not installed"
    assert last == f"ImportError: {expected}"


def test_a_framework_that_is_missing_is_named_as_it_is(tmp_path: Path) -> None:
    """And not taken for another package called shared."""
    for package in ("rnn_jax", "rnn_parity", "shared"):
        shutil.copytree(ROOT / package, tmp_path / package)
    (tmp_path / "flax").mkdir()
    (tmp_path / "flax" / "__init__.py").write_text("raise ImportError('none here', name='flax')")
    finished = python("from rnn_parity import JaxProgram", cwd=tmp_path, path=tmp_path)
    assert finished.stderr.splitlines()[-1] == "ImportError: none here"
