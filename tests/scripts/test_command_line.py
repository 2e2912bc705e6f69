"""What scripts/run.py leaves behind: a complete run folder, also where a run stops or goes on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.support.command_line import SCRIPTS, SMALL, check_refused, script


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run of last-value in torch."""
    folder = tmp_path_factory.mktemp("finished")
    ran = script(
        "run.py", "--backend", "torch", "--task", "last-value", *SMALL, "--out", "run", cwd=folder
    )
    assert ran.returncode == 0, ran.stderr
    return folder / "run"


def test_a_run_leaves_a_complete_folder(finished: Path) -> None:
    assert {file.name for file in finished.iterdir()} == {
        "config.json", "metrics.jsonl", "checkpoint-6.safetensors", "checkpoint-9.safetensors",
        "card.md", "curves.png", "predictions.npz", "predictions.png", "schema.json",
        "summary.json",
    }  # fmt: skip
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["task"] == "last-value"
    assert summary["steps"] == 9
    (baseline,) = summary["baselines"]
    assert baseline["name"] == "class frequencies"
    assert baseline["scores"]["loss"] > 0.5
    assert summary["held_out"] is True
    for name in (
        "implementation",
        "cell",
        "precision",
        "device",
        "path",
        "versions",
        "peak_memory_mb",
    ):
        assert summary[name], name
    for name in ("compile_s", "step_ms", "total_s"):
        assert summary[name] >= 0, name


def test_metrics_have_a_line_for_every_step_and_evaluation(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    train = [line for line in lines if line["split"] == "train"]
    valid = [line for line in lines if line["split"] == "valid"]
    assert [line["step"] for line in train] == list(range(1, 10))
    assert [line["epoch"] for line in train] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [(line["step"], line["epoch"]) for line in valid] == [(3, 1), (6, 2), (9, 3)]
    assert lines[-1]["split"] == "test"
    assert set(lines[0]) == {"step", "epoch", "split", "loss", "accuracy"}


def test_checkpoints_hold_the_canonical_weights(finished: Path) -> None:
    tensors = load_file(finished / "checkpoint-9.safetensors")
    assert tensors["weights/rnn.weight_ih_l0"].shape == (4, 3)
    assert tensors["moments/exp_avg_sq.head.bias"].shape == (2,)
    assert tensors["carry/0"].shape == (1, 16, 4)
    assert all(np.isfinite(array).all() for array in tensors.values())


def test_an_occupied_folder_is_refused_and_kept(finished: Path) -> None:
    before = (finished / "metrics.jsonl").read_bytes()
    again = script("run.py", "--backend", "torch", "--out", str(finished), cwd=finished.parent)
    check_refused(again, "--resume", "--overwrite")
    assert (finished / "metrics.jsonl").read_bytes() == before


def test_resume_refuses_other_settings(finished: Path) -> None:
    for arguments in (["--hidden-size", "5"], ["--seed", "4"], ["--task", "hello"], []):
        check_refused(
            script("run.py", "--resume", str(finished), *arguments, cwd=finished.parent), "--"
        )


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_resumed_run_is_the_uninterrupted_one(backend: str, tmp_path: Path) -> None:
    task = ["--backend", backend, "--task", "last-value", *SMALL[:-2]]
    for arguments in (
        [*task, "--out", "whole", "--epochs", "4"],
        [*task, "--out", "parts", "--epochs", "2"],
        ["--resume", "parts", "--epochs", "4"],
    ):
        ran = script("run.py", *arguments, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
    whole, parts = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "parts"))
    assert parts == whole
    summary = json.loads((tmp_path / "parts" / "summary.json").read_text())
    assert [(part["start"], part["end"]) for part in summary["segments"]] == [(0, 6), (6, 12)]


def test_a_run_resumed_in_the_other_framework_says_what_it_does(tmp_path: Path) -> None:
    start = ["--backend", "jax", "--task", "last-value", *SMALL, "--precision", "float64"]
    assert script("run.py", *start, "--out", "run", cwd=tmp_path).returncode == 0
    ran = script("run.py", "--resume", "run", "--backend", "torch", "--epochs", "5", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[1] == (
        "resuming run after step 9 of 15 (steps 1–9 in jax handcrafted): "
        "steps 10–15 follow in torch handcrafted"
    )
    assert lines[2].startswith("epoch 4/5")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    first, second = summary["segments"]
    assert [first[name] for name in ("backend", "implementation", "start", "end")] == [
        "jax", "handcrafted", 0, 9,
    ]  # fmt: skip
    assert [second[name] for name in ("backend", "implementation", "start", "end")] == [
        "torch", "handcrafted", 9, 15,
    ]  # fmt: skip
    *_, steps, process, _ = lines
    assert steps == (
        f"steps 1–9 in jax handcrafted, {first['step_ms']:.3f} ms each; "
        f"steps 10–15 in torch handcrafted, {second['step_ms']:.3f} ms each"
    )
    assert process.startswith("since resuming: compiled in 0.0 s")


def test_hello_spells_elloh_by_default(tmp_path: Path) -> None:
    ran = script("run.py", "--backend", "jax", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "hello → elloh" in ran.stdout
    summary = json.loads(
        (tmp_path / "runs" / "hello-jax-handcrafted-rnn-1" / "summary.json").read_text()
    )
    assert summary["samples"] == [{"input": "hello", "predicted": "elloh", "target": "elloh"}]
    assert summary["test"]["loss"] < 0.01
    assert summary["held_out"] is False


def test_a_diverging_run_stops_and_names_the_step(tmp_path: Path) -> None:
    ran = script(
        "run.py", "--backend", "torch", "--nonlinearity", "relu", "--optimizer", "sgd",
        "--learning-rate", "1e8", "--epochs", "50", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert "nan at step" in line or "inf at step" in line
    assert "learning rate 1e+08" in line
    (run,) = (tmp_path / "runs").iterdir()
    written = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(record["loss"]) for record in written)
    assert not (run / "summary.json").exists()


def test_log_every_thins_the_training_lines(tmp_path: Path) -> None:
    ran = script(
        "run.py",
        "--backend",
        "torch",
        "--epochs",
        "10",
        "--log-every",
        "4",
        "--out",
        "run",
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines if line["split"] == "train"] == [4, 8]


def test_native_flax_says_what_it_cannot_hold(tmp_path: Path) -> None:
    ran = script(
        "run.py", "--backend", "jax", "--implementation", "native", "--cell", "gru",
        "--epochs", "5", "--out", "run", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert any("one bias" in note for note in summary["notes"])
    assert any("b_hn" in note for note in summary["notes"])
    assert "b_hn" in ran.stdout


def test_weights_that_overflow_in_the_last_step_are_no_checkpoint(tmp_path: Path) -> None:
    """The loss of a step is that of the weights before it."""
    ran = script(
        "run.py", "--backend", "torch", "--optimizer", "sgd", "--learning-rate", "1e29",
        "--weight-decay", "1e29", "--epochs", "1", "--out", "run", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert "weights/rnn.weight_ih_l0 is no longer finite at step 1 (epoch 1" in line
    written = {file.name for file in (tmp_path / "run").iterdir()}
    assert written == {"config.json", "metrics.jsonl", "schema.json"}


def test_another_optimizer_drops_the_constants_of_the_first(tmp_path: Path) -> None:
    """--config holds Adam's eps, resolved; --optimizer sgd has none."""
    start = ["--backend", "torch", "--epochs", "1", "--schedule", "step", "--step-size", "3"]
    assert script("run.py", *start, "--out", "a", cwd=tmp_path).returncode == 0
    ran = script(
        "run.py", "--config", "a/config.json", "--optimizer", "sgd", "--schedule=cosine",
        "--out", "b", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    optimization = json.loads((tmp_path / "b" / "config.json").read_text())["optimization"]
    assert (optimization["eps"], optimization["momentum"]) == (None, 0.0)
    assert (optimization["step_size"], optimization["min_learning_rate"]) == (None, 0.0)


def test_a_terminal_in_ascii_is_enough(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(SCRIPTS / "run.py"), "--backend", "torch", "--epochs", "2"],
        cwd=tmp_path, capture_output=True, check=False,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert b"hello ? " in ran.stdout
    refused = script("run.py", "--backend", "mxnet", cwd=tmp_path, PYTHONIOENCODING="ascii")
    check_refused(refused, "run.py: invalid choice 'mxnet'")
    assert refused.stderr.endswith("'torch').\n")  # the hints are left out, as in other terminals


def test_an_interruption_that_a_callback_swallows_counts_a_moment_later() -> None:
    """Python drops what a callback of its garbage collector raises, and JAX has one."""
    code = """
import gc, signal, sys, time
from shared.system import process

def callback(phase, info):
    gc.callbacks.remove(callback)
    signal.raise_signal(signal.SIGINT)

def main(argv):
    gc.callbacks.append(callback)
    gc.collect()
    time.sleep(30)
    print("not interrupted")

sys.argv = ["x.py"]
process.run(main)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPTS.parent, capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "x.py: interrupted\n")


def test_a_run_that_lacks_only_its_pictures_gets_them(finished: Path, tmp_path: Path) -> None:
    """It was killed between its summary and them."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    pictures = {name: (run / name).read_bytes() for name in ("curves.png", "predictions.png")}
    for name in pictures:
        (run / name).unlink()
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    drawn = script("run.py", "--resume", "run", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    after = {file.name: file.read_bytes() for file in run.iterdir()}
    assert after == before | pictures
    check_refused(script("run.py", "--resume", "run", cwd=tmp_path), "already trained for 3 epochs")


def test_a_comparison_that_was_stopped_goes_on(tmp_path: Path) -> None:
    """What is done stays, what was begun is finished."""
    command = ["compare.py", "--task", "last-value", *SMALL, "--out", "out", "--contenders",
               "torch/handcrafted", "torch/native"]  # fmt: skip
    whole = script(*command, cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    runs = [tmp_path / "out" / "runs" / name for name in ("torch-handcrafted", "torch-native")]
    (runs[1] / "summary.json").unlink()
    for file in (tmp_path / "out").iterdir():
        if file.is_file():
            file.unlink()
    before = (runs[0] / "summary.json").read_bytes()
    again = script(*command, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[0] == "out/runs/torch-handcrafted (done)"
    assert "resuming out/runs/torch-native after step 9 of 9" in again.stdout
    assert (runs[0] / "summary.json").read_bytes() == before
    assert (tmp_path / "out" / "report.html").exists()
    check_refused(script(*command, cwd=tmp_path), "--out out: holds another report")
