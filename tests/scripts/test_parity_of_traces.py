"""Traces in folders, as scripts/parity.py writes, compares, replaces and keeps them."""

import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from shared.parity.trace_files import read_trace, write_trace
from tests.support.parity_script import REPORT, SHORT, Call

SIDES = "jax-handcrafted", "torch-handcrafted"


def test_traces_of_a_proof_are_equal(proof, tmp_path: Path, call: Call) -> None:
    folders = [proof.args / "T" / side for side in SIDES]
    for folder in folders:
        names = sorted(file.name for file in folder.iterdir())
        assert names == [f"step-{i:06}.safetensors" for i in range(1, 21)]
    finished = call("parity.py", *map(str, folders))
    assert finished.returncode == 0
    verdict, wrote = finished.stdout.splitlines()
    assert verdict == proof.stdout.splitlines()[1]
    assert wrote.startswith("wrote reports/parity-traces-1/parity.html, ")
    files = {file.name for file in (tmp_path / "reports" / "parity-traces-1").iterdir()}
    assert files == REPORT - {"losses.png"}
    assert call("parity.py", *map(str, folders)).stdout.splitlines()[1].startswith(
        "wrote reports/parity-traces-2/"
    )  # fmt: skip


def test_a_changed_number_in_a_file_is_found(proof, tmp_path: Path, call: Call) -> None:
    shutil.copytree(proof.args / "T", tmp_path / "T")
    file = tmp_path / "T" / SIDES[1] / "step-000007.safetensors"
    trace = read_trace(file)
    trace["gradients/head.bias"][2] *= 1 + 1e-6
    write_trace(file.parent, 7, trace)
    finished = call("parity.py", *(f"T/{side}" for side in SIDES), "--out", "report")
    assert finished.returncode == 1
    assert finished.stderr == ""
    verdict, grew, *steps, last, wrote = finished.stdout.splitlines()
    assert verdict.startswith(
        "NOT equal: first difference at step 7: gradients/head.bias[2]: T/jax-handcrafted "
    )
    assert verdict.endswith("; 1 of 4 elements differ")
    assert grew == "how it grew:"
    assert [line.split(":")[0] for line in steps] == [f"  step {i}" for i in (1, 4, 6)]
    assert re.fullmatch(r"  step 7: \d\.\d\de-0[67] at most, in gradients/head\.bias", last)
    assert wrote.startswith("wrote report/")
    markdown = (tmp_path / "report" / "parity.md").read_text()
    assert "| step | 7 |" in markdown
    assert "| element | [2] |" in markdown
    assert verdict in markdown
    loose = call("parity.py", *(f"T/{s}" for s in SIDES), "--tolerance", "1e-5", "--out", "loose")
    assert loose.returncode == 0


def test_a_tolerance_of_zero_is_met_by_identical_traces(tmp_path: Path, call: Call) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_trace(tmp_path / folder, 1, {"weights/w": np.array([1.0, 2.0])})
    finished = call("parity.py", "a", "b", "--tolerance", "0")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "equal within 0: 1 step, 1 tensor each" in finished.stdout


def test_traces_in_float32_are_not_called_a_proof_in_float64(tmp_path: Path, call: Call) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_trace(tmp_path / folder, 1, {"weights/w": np.array([1.0, 2.0], np.float32)})
    assert call("parity.py", "a", "b").stdout.startswith("in float32: equal within 1e-09: ")


STRANGE = [
    "<script>alert(1)</script>/<b>", "layers/$x$", "layers/$a_{$", "layers/_x", "/", "plain",
    "layers/a|b", "层/隐藏", "layers/a\nb", "layers/" + "a.very.long.name." * 9,
]  # fmt: skip


@pytest.mark.draws
def test_names_are_escaped_drawn_and_printed_in_one_line(tmp_path: Path, call: Call) -> None:
    """A tensor's name is anything that a file can hold; a folder's nearly so."""
    first, second = "<script>alert(2)<", "$x$|_"
    for folder, value in ((first, 1.0), (second, 2.0)):
        (tmp_path / folder).mkdir()
        for step in (1, 2):
            write_trace(tmp_path / folder, step, dict.fromkeys(STRANGE, np.array([3.0, value])))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finished = call("parity.py", first, second, "--out", "X")
    assert (finished.returncode, finished.stderr) == (1, "")
    assert "first difference at step 1: <script>alert(1)</script>/<b>[1]: " in finished.stdout
    assert all(line.isprintable() for line in finished.stdout.splitlines())
    page = (tmp_path / "X" / "parity.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;script&gt;alert(2)&lt;" in page
    markdown = (tmp_path / "X" / "parity.md").read_text()
    rows = [line for line in markdown.splitlines() if line.startswith("| layers | ")]
    assert r"| layers | a\|b | 3.33e-01 | 1 | 3.33e-01 |" in rows
    assert "| layers | a b | 3.33e-01 | 1 | 3.33e-01 |" in rows


def test_traces_that_were_there_are_not_lost_to_a_run_that_is_refused(
    proof, tmp_path: Path, call: Call
) -> None:
    shutil.copytree(proof.args / "T", tmp_path / "T")
    options = ["--inject", "clip-epsilon", "--clip-norm", "1000", "--steps", "3", "--epochs", "3"]
    finished = call("parity.py", *options, "--traces", "T", "--overwrite")
    assert finished.returncode == 2
    assert len(list((tmp_path / "T" / SIDES[0]).iterdir())) == 20


def test_traces_are_replaced_if_one_says_so(proof, tmp_path: Path, call: Call) -> None:
    """Such as those that an interrupted run left."""
    shutil.copytree(proof.args / "T", tmp_path / "T")
    finished = call("parity.py", *SHORT, "--traces", "T")
    assert finished.returncode == 2
    assert (
        finished.stderr == "parity.py: --traces T: holds other traces; --overwrite replaces them\n"
    )
    finished = call("parity.py", *SHORT, "--traces", "T", "--overwrite")
    assert finished.returncode == 0
    for side in SIDES:
        assert len(list((tmp_path / "T" / side).iterdir())) == 5
    unfinished = tmp_path / "T" / ".unfinished-traces-of a run that was killed"
    unfinished.mkdir()
    (unfinished / "step-000001.safetensors").write_text("half")
    assert call("parity.py", *SHORT, "--traces", "T").stderr.endswith("replaces them\n")
    finished = call("parity.py", *SHORT, "--traces", "T", "--overwrite")
    assert finished.returncode == 0
    assert {file.name for file in (tmp_path / "T").iterdir()} == set(SIDES)
    (tmp_path / "T" / SIDES[0] / "notes").write_text("mine")
    finished = call("parity.py", *SHORT, "--traces", "T", "--overwrite")
    assert finished.returncode == 2
    assert "expected a new or empty folder, got one with files" in finished.stderr
