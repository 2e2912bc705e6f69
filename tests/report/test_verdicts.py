"""Verdicts on pairs of runs: proved equal, different, or not comparable."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from shared.config.choices import with_choice
from shared.report.verdict import pairs, statements
from shared.runs import read_run
from shared.runs.run import Curve
from shared.runs.run_folder import read_config
from shared.training import train
from tests.support import checksummed
from tests.support.changed_run import changed_run
from tests.support.command_line import script


def test_verdicts_separate_proof_from_what_cannot_be_compared(compared: Path) -> None:
    runs = [read_run(folder) for folder in sorted((compared / "runs").iterdir())]
    verdicts = {frozenset((pair.first, pair.second)): pair for pair in pairs(runs)}
    proved = verdicts[frozenset(("jax handcrafted", "torch handcrafted"))]
    assert proved.largest <= 1e-9
    assert proved.verdict.startswith("equal in float64")
    native = verdicts[frozenset(("jax native", "torch native"))]
    assert native.largest > 1e-4
    assert "not comparable" in native.verdict
    assert "b_hn" in (compared / "report.md").read_text()


def test_layers_directions_dropout_and_embedding_of_the_command_line_agree(tmp_path: Path) -> None:
    ran = script(
        "compare.py", "--task", "hello", "--epochs", "30", "--cell", "lstm", "--num-layers", "2",
        "--bidirectional", "--dropout", "0.3", "--embedding-size", "4", "--precision", "float64",
        "--contenders", "jax/handcrafted", "torch/handcrafted", "--out", "report", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    runs = [read_run(folder) for folder in (tmp_path / "report" / "runs").iterdir()]
    (pair,) = pairs(runs)
    assert pair.verdict.startswith("equal in float64")
    assert pair.largest <= 1e-9
    assert all(run.config.network.dropout == 0.3 for run in runs)


def test_a_difference_in_float64_is_called_a_defect(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared / "runs" / "jax-handcrafted", tmp_path / "changed")
    file = tmp_path / "changed" / "metrics.jsonl"
    lines = file.read_text().splitlines()
    third = json.loads(lines[2])
    third["loss"] *= 1 + 1e-8
    lines[2] = json.dumps(third)
    file.write_text("\n".join([*lines, ""]))
    summary = file.with_name("summary.json")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    checksummed.write(summary, checksummed.read(summary) | {"history": found})
    runs = [read_run(tmp_path / "changed"), read_run(compared / "runs" / "torch-handcrafted")]
    (pair,) = pairs(runs)
    assert pair.at == 3
    assert pair.verdict.startswith("DIFFERENT")


def test_equal_losses_of_other_settings_prove_nothing(compared: Path, tmp_path: Path) -> None:
    """Before the first update every optimizer has the same loss."""
    base = read_config(compared / "runs" / "torch-handcrafted" / "config.json")
    runs = []
    for name, optimizer in (("one", "adam"), ("other", "sgd")):
        chosen = with_choice(base.optimization, "optimizer", optimizer)
        config = replace(base, epochs=1, eval_every=1, optimization=chosen)
        train(config, tmp_path / name, quiet=True)
        runs.append(read_run(tmp_path / name))
    (pair,) = pairs(runs)
    assert (pair.largest, pair.kind) == (0, "open")
    assert pair.verdict.startswith("other settings")


def test_steps_that_were_not_recorded_are_not_called_equal(compared: Path, tmp_path: Path) -> None:
    base = read_config(compared / "runs" / "torch-handcrafted" / "config.json")
    runs = []
    for implementation in ("handcrafted", "native"):
        config = replace(base, implementation=implementation, log_every=7)
        train(config, tmp_path / implementation, quiet=True)
        runs.append(read_run(tmp_path / implementation))
    (pair,) = pairs(runs)
    assert (pair.steps, pair.of, pair.kind) == (5, 40, "proved")
    assert pair.verdict == "equal in float64: every common step within 1e-09"
    assert "5 of 40 steps compared" in pair.sentence
    agreement = statements(runs, [pair])[0]
    assert "agree at the 5 steps, of 40, that both of each pair recorded." in agreement.text


def test_other_data_is_not_compared_step_by_step(compared: Path, tmp_path: Path) -> None:
    other = changed_run(compared, tmp_path / "run", data="0123456789abcdef")
    first = read_run(compared / "runs" / "torch-handcrafted")
    (pair,) = pairs([first, other])
    assert "not comparable" in pair.verdict


def test_a_run_that_was_native_once_is_not_compared(compared: Path, tmp_path: Path) -> None:
    other = changed_run(compared, tmp_path / "run", notes=["one bias for two"])
    (pair,) = pairs([read_run(compared / "runs" / "torch-handcrafted"), other])
    assert "see the note on jax handcrafted" in pair.verdict


def test_losses_near_zero_are_compared_absolutely(compared: Path) -> None:
    """A small cross-entropy is log(1 + s), and 1 + s is rounded to 1e-16 whatever s is."""
    runs = [read_run(compared / "runs" / name) for name in ("jax-handcrafted", "torch-handcrafted")]
    steps = np.arange(1, 3)
    for run, losses in zip(runs, ([1e-7, 0.5], [1e-7 + 5e-16, 0.5]), strict=True):
        run.curves["train"] = Curve(steps, steps, np.array(losses), np.ones(2))
    (pair,) = pairs(runs)
    assert pair.verdict.startswith("equal in float64")
    runs[1].curves["train"].loss[0] = 1e-7 + 5e-15
    (pair,) = pairs(runs)
    assert pair.verdict.startswith("DIFFERENT")
