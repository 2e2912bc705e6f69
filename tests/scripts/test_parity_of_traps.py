"""Traps that scripts/parity.py plants: named, listed, and refused where they change nothing."""

import re
from pathlib import Path

import pytest

from tests.scripts.test_imports import BLOCKER, python
from tests.support.parity_script import REPORT, Call


def test_a_planted_trap_exits_with_1_and_is_named(tmp_path: Path, call: Call) -> None:
    finished = call("parity.py", "--inject", "adam", "--steps", "5", "--out", "X")
    assert finished.returncode == 1
    assert finished.stderr == ""
    _, planted, verdict, cause, _ = finished.stdout.splitlines()
    assert planted.startswith("planted in jax/handcrafted: adam:epsilon-hat: ")
    assert verdict.startswith("NOT equal: first difference at step 1: weights/head.bias[0]: ")
    assert cause.startswith("cause: adam:epsilon-hat: ")
    assert {file.name for file in (tmp_path / "X").iterdir()} == REPORT
    page = (tmp_path / "X" / "parity.html").read_text()
    assert "the cause: the difference vanishes" in page
    assert page.count("the cause: the difference vanishes") == 1
    assert "Step 1 was taken again, once for each trap with that one thing switched in " in page


def test_the_traps_are_listed_by_name_without_a_framework() -> None:
    code = BLOCKER.format(forbidden={"jax", "flax", "optax", "torch", "rnn_jax", "rnn_torch"}) + (
        "import runpy\n"
        "sys.argv = ['parity.py', '--list-traps']\n"
        "runpy.run_path('scripts/parity.py', run_name='__main__')\n"
    )
    finished = python(code)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines() == [
        "single-bias", "clip-epsilon", "reset-gate", "adam", "rmsprop-epsilon", "ragged-mean",
        "mean-of-means", "padding", "float32", "gates", "initial-values", "batch-order",
    ]  # fmt: skip


PLANTED_IN_VAIN = {
    "clip-epsilon": (["--clip-norm", "1000"], "--clip-norm, below the norm of the gradients"),
    "gates:transposed": (["--hidden-size", "1"], "--hidden-size above 1"),
    "mean-of-means:4": (  # the first three batches are full
        ["--task", "last-value", "--data.train-examples", "200", "--data.sequence-length", "3"],
        "a batch of 4 or more rows, and unequal counts of targets in the parts of 4 processes",
    ),
    "batch-order": (["--data.words", "aa", "aa", "--batch-size", "1"], "not alike"),
    "adam:epsilon-hat": (["--eps", "0"], "--eps and --betas above 0"),
    "rmsprop-epsilon": (["--eps", "0"], "--eps above 0"),
    "padding": (
        ["--task", "last-value", "--data.train-examples", "200", "--data.sequence-length", "3",
         "--data.min-length", "3"],
        "sequences of several lengths",
    ),
}  # fmt: skip


@pytest.mark.parametrize("trap", PLANTED_IN_VAIN)
def test_a_trap_that_changes_nothing_is_no_proof(trap: str, tmp_path: Path, call: Call) -> None:
    settings, needs = PLANTED_IN_VAIN[trap]
    options = ["--steps", "3", "--epochs", "3", "--traces", "new/T", *settings]
    finished = call("parity.py", "--inject", trap, *options)
    assert finished.returncode == 2
    assert "proved" not in finished.stdout
    assert finished.stderr.startswith(f"parity.py: --inject {trap}: expected a run that it changes")
    assert needs in finished.stderr
    assert ", got one equal within 1e-09: 3 steps, " in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_differs_and_its_cause_stand_out(tmp_path: Path, call: Call) -> None:
    call("parity.py", "--inject", "adam", "--steps", "2", "--epochs", "2", "--out", "X")
    page = (tmp_path / "X" / "parity.html").read_text()
    cause, tensor = re.findall(r'<tr class="culprit"><td>(.*?)</td>', page)
    assert cause == "adam:epsilon-hat"
    assert tensor == "weights"
    for text in (page, (tmp_path / "X" / "parity.md").read_text()):
        assert re.findall(r"([\w.]+) \(differs first\)", text) == ["head.bias"]
