"""What comes from elsewhere is data: nothing in it is run, and it names no place to write to."""

import ast
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from shared.config import resolve
from shared.config.data import GeneratedData, TextData
from shared.config.settings import NetworkConfig
from shared.report import write_report
from shared.report.comparison_page import HTML
from shared.runs import read_run
from shared.runs.run_folder import read_config
from shared.tasks import TASKS
from shared.training import train
from tests.support.browser import chromium, opened
from tests.support.command_line import SCRIPTS, SMALL, check_refused, script

ROOT = SCRIPTS.parent
SOURCES = [
    file
    for package in ("rnn_jax", "rnn_torch", "shared", "scripts")
    for file in sorted((ROOT / package).rglob("*.py"))
]
LOADERS = {"np.load": ("allow_pickle", False), "torch.load": ("weights_only", True)}
RUNNING = {
    "eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "yaml.load",
    "marshal.loads", "shelve.open", "np.fromfile", "joblib.load", "torch.jit.load",
}  # fmt: skip


OWN = {
    "shared/system/team.py": {"pickle.loads"},
    "shared/system/mapped_values.py": {"pickle.load"},
}
"""What the processes of one run send each other, or map of a file that one of them has just
written: never a file of a user's, and torch.distributed itself unpickles there, too."""


def violations(source: str) -> list[str]:
    """Calls that may run what they read."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in RUNNING:
            found.append(called)
        if called in LOADERS:
            name, value = LOADERS[called]
            said = {word.arg: word.value for word in node.keywords}
            if name not in said or ast.unparse(said[name]) != str(value):
                found.append(called)
        for word in node.keywords:
            if word.arg == "shell" and ast.unparse(word.value) != "False":
                found.append(f"{called} in a shell")
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_is_unpickled_or_run(file: Path) -> None:
    own = OWN.get(str(file.relative_to(ROOT)), set())
    assert {*violations(file.read_text())} == own


def test_a_violation_is_found() -> None:
    source = "np.load(f)\nnp.load(f, allow_pickle=True)\ntorch.load(f, weights_only=False)\n"
    source += "eval('1')\npickle.load(f)\nsubprocess.run(c, shell=True)\n"
    found = ["np.load", "np.load", "torch.load", "eval", "pickle.load", "subprocess.run in a shell"]
    assert violations(source) == found
    assert violations("np.load(f, allow_pickle=False); torch.load(f, weights_only=True)") == []


# Configurations -----------------------------------------------------------------------------------


def stored_elsewhere(folder: Path) -> Path:
    """A configuration whose data would be generated in a folder."""
    config = resolve(
        replace(
            TASKS["last-value"].defaults,
            backend="torch",
            network=NetworkConfig(hidden_size=4),
            data=GeneratedData(20, 8, 9, 5, 3, folder=str(folder / "elsewhere")),
        )
    )
    file = folder / "config.json"
    file.write_text(json.dumps(asdict(config)))
    return file


@pytest.mark.parametrize("name", ["run.py", "compare.py"])
def test_a_config_file_has_no_data_written(name: str, tmp_path: Path) -> None:
    stored_elsewhere(tmp_path)
    backend = ["--backend", "torch"] if name == "run.py" else []
    refused = script(name, "--config", "config.json", *backend, cwd=tmp_path)
    check_refused(refused, f"{name}: --data.folder {tmp_path / 'elsewhere'}: expected the data")
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_a_folder_on_the_command_line_is_made_and_then_read(tmp_path: Path) -> None:
    stored_elsewhere(tmp_path)
    options = ["run.py", "--config", "config.json", "--backend", "torch"]
    made = script(*options, "--data.folder", "mine", "--out", "run", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert not (tmp_path / "elsewhere").exists()
    # The run's own configuration names it now; it is only read.
    again = script("run.py", "--config", "run/config.json", "--out", "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    shutil.rmtree(tmp_path / "mine")
    resumed = script("run.py", "--resume", "run", "--epochs", "9", cwd=tmp_path)
    check_refused(resumed, "run.py: --data.folder mine: expected the data there, as run/config")
    assert not (tmp_path / "mine").exists()


def test_a_comparison_makes_the_folder_that_its_command_line_names(tmp_path: Path) -> None:
    options = ["compare.py", "--task", "last-value", *SMALL, "--data.folder", "mine"]
    options += ["--contenders", "torch/handcrafted", "torch/native", "--out", "out"]
    compared = script(*options, cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert (tmp_path / "mine" / "data.json").is_file()
    assert read_config(tmp_path / "out/runs/torch-native/config.json").data.folder == "mine"  # pyright: ignore


# The report ---------------------------------------------------------------------------------------

TAKEN = "document.title='taken'"
ATTACK = f'</pre><script>{TAKEN}</script><img src=x onerror="{TAKEN}">'


def test_a_text_with_a_script_is_shown_as_text(tmp_path: Path) -> None:
    """In a browser: what the text says stands on the page, and is not done."""
    (tmp_path / "book.txt").write_text(f"{ATTACK}\n" * 40)
    folders = []
    for implementation in ("handcrafted", "native"):
        config = replace(
            TASKS["text"].defaults, backend="torch", implementation=implementation, epochs=1,
            batch_size=2, bptt=20, network=NetworkConfig(hidden_size=4),
            data=TextData(path=str(tmp_path / "book.txt"), split=(0.6, 0.2, 0.2)),
        )  # fmt: skip
        folders.append(tmp_path / f"<b>{implementation}")
        train(config, folders[-1], quiet=True)
    write_report([read_run(folder) for folder in folders], tmp_path / "report")
    page = tmp_path / "report" / HTML
    prompt = read_run(folders[0]).summary.generated["prompt"]  # pyright: ignore
    assert "<script>" in prompt, "what is shown must have something to hide"
    control = tmp_path / "control.html"
    control.write_text(f"<title>mine</title><pre>{ATTACK}</pre>")
    with chromium() as browser:
        with opened(browser, page) as looked:
            assert prompt in looked.page.locator("pre").first.text_content()
            assert looked.page.title() == "text: comparison"
            assert looked.page.locator("[onerror]").count() == 0
        with opened(browser, control) as looked:  # it would be seen, if it were done
            assert looked.page.title() == "taken"
