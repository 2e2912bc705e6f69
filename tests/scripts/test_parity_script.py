"""Runs of scripts/parity.py from start to end: exit codes, what they print, what they leave."""

import html
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.commands.parity import Arguments
from shared.config import Config, resolve
from shared.parity.comparison import PROVED
from shared.protocol.trace import PHASES_OF_A_RUN
from shared.system import process
from tests.support.command_line import SCRIPTS
from tests.support.parity_script import BY_TENSOR, REPORT, SHORT, Call


def test_a_proof_exits_with_0_and_says_so(proof: subprocess.CompletedProcess) -> None:
    assert proof.returncode == 0, proof.stderr
    assert proof.stderr == ""
    title, verdict, single, wrote = proof.stdout.splitlines()
    assert title == (
        "hello: rnn (tanh): jax/handcrafted against torch/handcrafted, 20 steps in float64"
    )
    assert verdict.startswith("proved in float64: equal within 1e-09: 20 steps, 48 tensors each (")
    assert single.startswith("float32: inside the envelope of 2 runs a side at ")
    assert wrote == "wrote X/parity.html, X/parity.md and the pictures beside them"
    assert {file.name for file in (proof.args / "X").iterdir()} == {*REPORT, "envelope.png"}
    for file in (proof.args / "X").iterdir():
        assert file.stat().st_size > 1000, file


def test_the_page_is_self_contained_and_has_the_verdict(proof: subprocess.CompletedProcess) -> None:
    page = html.unescape((proof.args / "X" / "parity.html").read_text())
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert "url(" not in page
    assert page.count("data:image/png;base64,") == 3 + len(PHASES_OF_A_RUN)
    markdown = (proof.args / "X" / "parity.md").read_text()
    assert re.findall(r"\(([\w-]+\.png)\)", markdown) == [
        "losses.png", "deviations.png", *BY_TENSOR, "envelope.png",
    ]  # fmt: skip
    for line in proof.stdout.splitlines()[1:3]:
        assert line in markdown
        assert line in page
    for text in (page, markdown):
        assert (
            "python scripts/parity.py --task hello --steps 20 --runs 1 --out X --traces T" in text
        )
        assert "--betas 0.9 0.999" in text
        assert "jax/handcrafted" in text
        words = " ".join(text.split())
        assert "The envelope is what rounding alone does" in words
        assert "A step passes through its phases in the order of the legend" in words


def test_layers_of_the_frameworks_as_contenders(call: Call) -> None:
    finished = call("parity.py", *SHORT, "--cell", "lstm", "--contenders",
                    "torch/native", "torch/handcrafted")  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert "torch/native against torch/handcrafted, 5 steps" in finished.stdout
    assert "proved in float64" in finished.stdout
    finished = call("parity.py", *SHORT, "--contenders", "jax/native", "torch/handcrafted",
                    "--out", "X")  # fmt: skip
    assert finished.returncode == 1
    assert "NOT equal: first difference at step 1: " in finished.stdout
    assert "cause" not in finished.stdout
    assert "one bias" in Path("X/parity.md").read_text()


def test_a_report_is_replaced_as_a_whole(proof, tmp_path: Path, call: Call) -> None:
    """The old one had a picture of float32, which the new one lacks."""
    shutil.copytree(proof.args / "X", tmp_path / "X")
    (tmp_path / "X" / "traps.md").write_text("an older gallery")
    finished = call("parity.py", *SHORT, "--out", "X", "--overwrite")
    assert finished.returncode == 0
    assert {file.name for file in (tmp_path / "X").iterdir()} == REPORT
    markdown = (tmp_path / "X" / "parity.md").read_text()
    assert "5 steps" in markdown
    assert "envelope" not in markdown


def test_an_interruption_speaks_of_resuming_only_where_there_is_something_to_resume(
    monkeypatch, capsys
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["parity.py"])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(process, "_leave", sys.exit)
    with pytest.raises(SystemExit) as stop:
        process.run(interrupt)
    assert stop.value.code == 130
    assert capsys.readouterr().err == "parity.py: interrupted\n"


def test_the_help_is_quick_and_shows_every_option_of_its_own() -> None:
    ran = subprocess.run(
        [sys.executable, str(SCRIPTS / "parity.py"), "--help"],
        capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "80"},
    )  # fmt: skip
    for option in ("--steps", "--tolerance", "--runs", "--contenders", "--inject", "--list-traps",
                   "--trap-gallery", "--traces", "--out", "--overwrite"):  # fmt: skip
        assert option in ran.stdout, option


def test_an_interrupted_run_ends_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """A process of its own, stopped as Ctrl-C does it while traces are being written."""
    command = [sys.executable, str(SCRIPTS / "parity.py"), "--traces", "T", "--out", "X"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.rglob("step-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, "parity.py: interrupted\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--out", "--traces"])
def test_a_folder_that_cannot_be_made_is_noticed_before_the_first_step(
    option: str, call: Call
) -> None:
    finished = call("parity.py", *SHORT, option, "/proc/none/here")
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.startswith(
        f"parity.py: {option} /proc/none/here: expected a folder that "
    )


def test_settings_are_shown_as_they_are_typed(proof, call: Call) -> None:
    """What a page says can be pasted."""
    markdown = (proof.args / "X" / "parity.md").read_text()
    options = re.findall(r"`(--[^`]+)`", markdown)
    assert {"--no-bidirectional", "--betas 0.9 0.999", "--data.words hello"} <= set(options)
    words = [word for one in options for word in one.split(" ")]
    again = call("parity.py", *words, "--steps", "2", "--runs", "0")
    assert (again.returncode, again.stderr) == (0, "")


def test_the_command_proves_with_the_tolerance_of_the_library() -> None:
    assert Arguments(resolve(Config())).tolerance == PROVED
