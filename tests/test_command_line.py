"""What a user of scripts/run.py sees: one clear line for bad input, and a complete run folder."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from shared import cli

SCRIPTS = Path(__file__).parents[1] / "scripts"
SMALL = [
    "--data.train-examples", "40", "--data.valid-examples", "8", "--data.test-examples", "9",
    "--data.sequence-length", "5", "--data.input-size", "3", "--hidden-size", "4",
    "--batch-size", "16", "--epochs", "3",
]  # fmt: skip


def script(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / name), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "60"},
    )


@pytest.fixture
def call(tmp_path: Path, monkeypatch, capfd) -> Callable[..., subprocess.CompletedProcess]:
    """`script` in tmp_path without a process of its own, which would import a framework each time.

    What is left out is shown by the tests that do use a process: the exit status and the streams.
    """

    def called(name: str, *arguments: str) -> subprocess.CompletedProcess:
        module = importlib.import_module(f"scripts.{Path(name).stem}")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.run(module.main)
        out, err = capfd.readouterr()
        assert isinstance(stop.value.code, int)
        return subprocess.CompletedProcess(arguments, stop.value.code, out, err)

    return called


def check_refused(finished: subprocess.CompletedProcess, *expected: str) -> None:
    """Exit code 2, and exactly one line on stderr, with every expected part in it."""
    assert finished.returncode == 2, (finished.returncode, finished.stderr)
    lines = finished.stderr.splitlines()
    assert len(lines) == 1, finished.stderr
    for part in expected:
        assert part in lines[0], (part, lines[0])


BAD = {
    "no backend": ([], ["--backend"]),
    "unknown backend": (["--backend", "mxnet"], ["mxnet", "jax", "torch"]),
    "unknown task": (["--task", "chess"], ["--task", "chess", "hello", "last-value"]),
    "unknown cell": (["--cell", "qrnn"], ["--cell", "qrnn", "lstm"]),
    "unknown option": (["--learning", "3"], ["--learning"]),
    "option of another task": (["--data.path", "x.txt"], ["--data.path", "nrecognized"]),
    "no number": (["--hidden-size", "big"], ["--hidden-size", "big"]),
    "zero size": (["--hidden-size", "0"], ["--hidden-size", "positive", "0"]),
    "negative size": (["--batch-size", "-1"], ["--batch-size", "positive", "-1"]),
    "zero epochs": (["--epochs", "0"], ["--epochs", "positive"]),
    "zero layers": (["--num-layers", "0"], ["--num-layers", "positive"]),
    "zero log-every": (["--log-every", "0"], ["--log-every", "positive"]),
    "no examples": (
        ["--task", "last-value", "--data.test-examples", "0"],
        ["--data.test-examples", "positive"],
    ),
    "dropout of 1": (["--num-layers", "2", "--dropout", "1"], ["--dropout", "[0, 1)", "1.0"]),
    "negative dropout": (["--num-layers", "2", "--dropout", "-0.1"], ["--dropout", "-0.1"]),
    "dropout of nan": (["--num-layers", "2", "--dropout", "nan"], ["--dropout", "nan"]),
    "dropout in one layer": (["--dropout", "0.5"], ["--dropout", "--num-layers", "2"]),
    "relu in an lstm": (["--cell", "lstm", "--nonlinearity", "relu"], ["--cell rnn"]),
    "momentum for adam": (["--momentum", "0.9"], ["--momentum", "adam", "--betas"]),
    "betas for sgd": (["--optimizer", "sgd", "--betas", "0.9", "0.9"], ["--betas", "sgd"]),
    "alpha for adamw": (["--optimizer", "adamw", "--alpha", "0.9"], ["--alpha", "adamw"]),
    "beta of 1": (["--betas", "0.9", "1"], ["--betas", "[0, 1)"]),
    "nesterov alone": (["--optimizer", "sgd", "--nesterov", "True"], ["--nesterov", "--momentum"]),
    "negative learning rate": (["--learning-rate", "-1"], ["--learning-rate", "positive"]),
    "infinite learning rate": (["--learning-rate", "inf"], ["--learning-rate", "positive"]),
    "zero clip norm": (["--clip-norm", "0"], ["--clip-norm", "positive"]),
    "gamma without step": (["--gamma", "0.5"], ["--gamma", "--schedule constant"]),
    "step without size": (["--schedule", "step"], ["--step-size"]),
    "negative seed": (["--seed", "-1"], ["--seed"]),
    "both directions truncated": (["--bidirectional", "--bptt", "3"], ["--bidirectional"]),
    "truncated without targets": (["--task", "last-value", "--bptt", "5", *SMALL[:10]], ["--bptt"]),
    "missing text": (["--task", "text", "--data.path", "none.txt"], ["none.txt"]),
    "empty text": (["--task", "text", "--data.path", "empty.txt"], ["empty.txt", "empty"]),
    "text in latin-1": (["--task", "text", "--data.path", "latin.txt"], ["UTF-8", "0xe9"]),
    "short text": (["--task", "text", "--data.path", "short.txt"], ["short.txt", "characters"]),
    "text as a folder": (["--task", "text", "--data.path", "."], ["--data.path"]),
    "shares over 1": (["--task", "text", "--data.split", "0.9", "0.9", "0.1"], ["--data.split"]),
    "text untruncated": (["--task", "text", "--bptt", "None"], ["--bptt"]),
    "huge size": (["--hidden-size", "100000"], ["--hidden-size", "GB"]),
    "huge data": (
        ["--task", "last-value", "--data.train-examples", "1000000000"],
        ["--data.train-examples", "GB"],
    ),
    "size beyond 32 bits": (["--batch-size", "3000000000"], ["--batch-size", "2^31"]),
    "seed beyond 64 bits": (["--seed", str(2**64)], ["--seed"]),
    "rate beyond float32": (["--learning-rate", "1e39"], ["--learning-rate", "1e+30"]),
    "eps beyond float32": (["--eps", "1e300"], ["--eps", "1e+30"]),
    "one beta": (["--betas", "0.9"], ["--betas", "FLOAT FLOAT"]),
    "thinned to nothing": (["--log-every", "1001"], ["--log-every", "1000 steps", "1001"]),
    "line break in a name": (["--task", "text", "--data.path", "a\nb"], ["a\\nb"]),
    "name in no encoding": (["--data.path", os.fsdecode(b"caf\xe9")], ["UTF-8", "caf"]),
    "folder below a file": (["--out", "empty.txt/run"], ["--out", "file"]),
    "folder with a long name": (["--out", "a" * 300], ["--out", "too long"]),
    "folder that is a dangling link": (["--out", "dangling"], ["--out", "dangling"]),
    "two configurations": (["--resume", "x", "--config", "empty.txt"], ["--resume", "--config"]),
    "no gpu": (["--device", "gpu"], ["--device gpu", "cpu"]),
    "no run to resume": (["--resume", "nowhere"], ["nowhere"]),
    "no configuration": (["--config", "empty.txt"], ["empty.txt"]),
    "folder with other files": (["--out", "."], ["--out", "other files"]),
    "file as folder": (["--out", "empty.txt"], ["--out", "file"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(
    case: str, tmp_path: Path, call
) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1") * 2000)
    (tmp_path / "short.txt").write_text("too short")
    before = sorted(tmp_path.rglob("*"))
    arguments, expected = BAD[case]
    backend = [] if case in ("no backend", "unknown backend") else ["--backend", "torch"]
    if case == "no gpu" and _has_gpu():
        pytest.skip("this machine has a GPU")
    check_refused(call("run.py", *backend, *arguments), *expected)
    assert sorted(tmp_path.rglob("*")) == before


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def test_jax_refuses_a_device_it_does_not_have(tmp_path: Path) -> None:
    finished = script("run.py", "--backend", "jax", "--device", "tpu", cwd=tmp_path)
    check_refused(finished, "--device tpu", "cpu")
    assert not list(tmp_path.iterdir())


def test_compare_refuses_bad_contenders(tmp_path: Path) -> None:
    for contenders in (["jax/handcrafted"], ["jax/handcrafted", "jax/magic"]):
        check_refused(
            script("compare.py", "--contenders", *contenders, cwd=tmp_path), "--contenders"
        )
    check_refused(script("compare.py", "--backend", "torch", cwd=tmp_path), "--contenders")
    check_refused(script("compare.py", "nowhere", "elsewhere", cwd=tmp_path), "nowhere")
    assert not list(tmp_path.iterdir())


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
        "config.json", "metrics.jsonl", "checkpoint-last.safetensors",
        "checkpoint-best.safetensors", "curves.png", "summary.json",
    }  # fmt: skip
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["task"] == "last-value"
    assert summary["steps"] == 9
    assert summary["baseline"]["loss"] > 0.5
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
    tensors = load_file(finished / "checkpoint-last.safetensors")
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


def test_resume_refuses_a_checkpoint_of_another_network(finished: Path, tmp_path: Path) -> None:
    """As when text grows between two runs and with it the vocabulary."""
    shutil.copytree(finished, tmp_path / "run")
    values = json.loads((finished / "config.json").read_text())
    values["network"]["hidden_size"] = 5
    (tmp_path / "run" / "config.json").write_text(json.dumps(values))
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    check_refused(
        script("run.py", "--resume", "run", "--epochs", "9", cwd=tmp_path),
        "checkpoint-last", "float32 (5, 3) as weights/rnn.weight_ih_l0, got float32 (4, 3)",
    )  # fmt: skip
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


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


def test_hello_spells_elloh_by_default(tmp_path: Path) -> None:
    ran = script("run.py", "--backend", "jax", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "hello → elloh" in ran.stdout
    summary = json.loads(
        (tmp_path / "runs" / "hello-jax-handcrafted-rnn-1" / "summary.json").read_text()
    )
    assert summary["sample"] == {"input": "hello", "predicted": "elloh", "target": "elloh"}
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
    assert {file.name for file in (tmp_path / "run").iterdir()} == {"config.json", "metrics.jsonl"}


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
