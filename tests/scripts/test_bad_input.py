"""Bad input of scripts: one clear line on stderr, exit code 2, nothing written, no traceback."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import SMALL, check_refused, script, started

BAD = {
    "no backend": ([], ["--backend"]),
    "unknown backend": (["--backend", "mxnet"], ["mxnet", "jax", "torch"]),
    "unknown task": (["--task", "chess"], ["--task", "chess", "hello", "last-value"]),
    "unknown cell": (["--cell", "qrnn"], ["--cell", "qrnn", "lstm"]),
    "unknown option": (["--learning", "3"], ["--learning"]),
    "option of another task": (
        ["--data.path", "x.txt"],
        ["Unrecognized option --data.path: task hello has none, text, forecast, sequences, labels"],
    ),
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
    "decay without a beginning": (["--schedule", "decay"], ["--decay-after", "epochs", "None"]),
    "decay after no epoch": (
        ["--schedule", "decay", "--decay-after", "0"],
        ["--decay-after", "positive", "0"],
    ),
    "decay that grows": (
        ["--schedule", "decay", "--decay-after", "1", "--gamma", "1.2"],
        ["--gamma", "(0, 1]", "1.2"],
    ),
    "beginning of another schedule": (
        ["--schedule", "step", "--step-size", "1", "--decay-after", "2"],
        ["--decay-after", "--schedule step", "--step-size, --gamma"],
    ),
    "tied to no embedding": (["--tied"], ["--tied", "--embedding-size 8", "got None"]),
    "tied to a small embedding": (
        ["--tied", "--embedding-size", "4"],
        ["--tied", "--embedding-size 8", "got 4"],
    ),
    "tied in both directions": (
        ["--tied", "--bidirectional", "--embedding-size", "8"],
        ["--tied", "--embedding-size 16", "got 8"],
    ),
    "tied to fewer outputs": (
        ["--task", "copy", *SMALL[:6], "--tied", "--embedding-size", "128"],
        ["--tied", "outputs", "task copy", "9", "10"],
    ),
    "forget bias of nan": (["--cell", "lstm", "--forget-bias", "nan"], ["--forget-bias", "nan"]),
    "forget bias without a gate": (["--forget-bias", "1"], ["--forget-bias 1.0", "--cell rnn"]),
    "no initial range": (["--init-range", "0"], ["--init-range", "positive", "0.0"]),
    "negative initial range": (["--init-range", "-0.1"], ["--init-range", "-0.1"]),
    "initial range of nan": (["--init-range", "nan"], ["--init-range", "nan"]),
    "negative seed": (["--seed", "-1"], ["--seed"]),
    "both directions truncated": (["--bidirectional", "--bptt", "3"], ["--bidirectional"]),
    "truncated without targets": (["--task", "last-value", "--bptt", "5", *SMALL[:10]], ["--bptt"]),
    "missing text": (["--task", "text", "--data.path", "none.txt"], ["none.txt"]),
    "empty text": (["--task", "text", "--data.path", "empty.txt"], ["empty.txt", "empty"]),
    "text in latin-1": (["--task", "text", "--data.path", "latin.txt"], ["UTF-8", "0xe9"]),
    "short text": (["--task", "text", "--data.path", "short.txt"], ["short.txt", "characters"]),
    "text as a folder": (["--task", "text", "--data.path", "."], ["--data.path"]),
    "a film of one frame": (["--task", "motion", "--data.frames", "1"], ["--data.frames", "got 1"]),
    "numbers without end": (
        ["--task", "translate", "--data.largest", "1000000"],
        ["--data.largest", "at most 999999", "got 1000000"],
    ),
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
    "no run to resume": (["--resume", "nowhere"], ["nowhere", "a run folder, with a config.json"]),
    "an embedding of real numbers": (
        ["--task", "last-value", *SMALL, "--embedding-size", "4"],
        ["--embedding-size 4", "needs tokens", "last-value"],
    ),
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
    for backend in ("torch", "jax"):
        check_refused(script("compare.py", "--backend", backend, cwd=tmp_path), "--contenders")
    check_refused(script("compare.py", "nowhere", "elsewhere", cwd=tmp_path), "nowhere")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "option"),
    [("run.py", "--out"), ("run.py", "--resume"), ("run.py", "--config"), ("sample.py", "--run"),
     ("predict.py", "--run"), ("compare.py", "--out"), ("parity.py", "--traces")],
)  # fmt: skip
def test_an_empty_name_is_not_the_folder_at_hand(
    command: str, option: str, call: Callable, tmp_path: Path
) -> None:
    """As it comes from a variable of the shell that is not set."""
    base = ["--backend", "torch"] if command == "run.py" else []
    for words in ([option, ""], [f"{option}="]):
        check_refused(call(command, *base, *words), f"{option}: expected a value, got an empty one")
    assert not [*tmp_path.iterdir()]


def test_no_choice_is_called_none(call: Callable) -> None:
    refused = call("sample.py", "--run", "x", "--backend", "tf")
    check_refused(refused, "'jax'", "'torch'")
    assert "None" not in refused.stderr


def test_another_json_is_no_configuration(call: Callable, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"data": "text", "task": "hello"}')
    refused = call("run.py", "--backend", "jax", "--config", "summary.json")
    check_refused(refused, "no config of this version: expected an object as data, got 'text'")


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("JAX_NUM_CPU_DEVICES", "0", ["--device auto", "JAX_NUM_CPU_DEVICES=0"]),
        ("JAX_NUM_CPU_DEVICES", "many", ["--backend jax", "cannot be imported", "many"]),
        ("JAX_ENABLE_COMPILATION_CACHE", "maybe", ["--backend jax", "truth value 'maybe'"]),
        ("JAX_PLATFORMS", "cuda", ["--device auto", "JAX_PLATFORMS=cuda"]),
    ],
)
def test_a_setting_that_jax_cannot_use_is_named(
    setting: str, value: str, expected: list[str], tmp_path: Path
) -> None:
    ran = started("run.py", "--backend", "jax", cwd=tmp_path, XLA_FLAGS="", **{setting: value})
    check_refused(ran, *expected)
    assert not list(tmp_path.iterdir())
