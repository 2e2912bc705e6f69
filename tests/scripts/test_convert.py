"""scripts/convert.py: files there and back, damaged, hostile."""

import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from shared.protocol import Snapshot
from shared.runs import checkpoint
from shared.system import process
from tests.support.command_line import SMALL, check_refused, script

STACKED: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
Convert = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def convert(tmp_path: Path, monkeypatch, capfd) -> Convert:
    """The script in tmp_path, without a process of its own."""

    def called(*arguments: str) -> subprocess.CompletedProcess:
        module = importlib.import_module("scripts.convert")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.setattr(sys, "argv", ["convert.py", *arguments])
        capfd.readouterr()
        code = 0
        try:
            process.run(module.main)
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, out, err)

    return called


class Model(nn.Module):
    """A layer deep in a model, as people have them."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.encoder = nn.ModuleDict({"lstm": layer})
        self.head = nn.Linear(8, 2)


def lstm(**options: Any) -> nn.LSTM:
    torch.manual_seed(0)
    return nn.LSTM(3, 4, **(STACKED | options))


def check_equal(tensors: dict[str, Any], layer: nn.Module) -> None:
    expected = layer.state_dict()
    assert set(tensors) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(torch.as_tensor(tensors[name]), tensor), name
        assert tensor.any(), name


def test_a_model_of_torch_to_canonical_and_back(tmp_path: Path, convert: Convert) -> None:
    layer = lstm(proj_size=2)
    model = Model(layer)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    finished = convert("model.pt", "lstm.safetensors")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines() == [
        "model.pt: LSTM(input_size=3, hidden_size=4, num_layers=2, bias=True, bidirectional=True, "
        "proj_size=2), float32 under 'encoder.lstm.'",
        "left out: embedding.weight, head.weight, head.bias",
        "wrote lstm.safetensors: 20 tensors, weight_ih_l0 …",
    ]
    check_equal(load_file(tmp_path / "lstm.safetensors"), layer)

    arguments = ["lstm.safetensors", "back.pt", "--target-prefix", "encoder.lstm."]
    finished = convert(*arguments)
    assert finished.stdout.endswith("wrote back.pt: 20 tensors, encoder.lstm.weight_ih_l0 …\n")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    check_equal({name.removeprefix("encoder.lstm."): t for name, t in back.items()}, layer)
    report = model.load_state_dict(back, strict=False)
    assert not report.unexpected_keys


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_every_dtype_keeps_its_bits(dtype: torch.dtype, tmp_path: Path, convert: Convert) -> None:
    layer = nn.GRU(3, 4, dtype=dtype)
    torch.save(layer.state_dict(), tmp_path / "gru.pt")
    assert convert("gru.pt", "gru.safetensors").returncode == 0
    assert convert("gru.safetensors", "back.pth").returncode == 0
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert {tensor.dtype for tensor in back.values()} == {dtype}
    check_equal(back, layer)
    assert convert("back.pth", "again.safetensors").returncode == 0
    files = [(tmp_path / name).read_bytes() for name in ("gru.safetensors", "again.safetensors")]
    assert files[0] == files[1]


def test_a_safetensors_model_and_two_layers_in_it(tmp_path: Path, convert: Convert) -> None:
    layers = {"encoder.": nn.GRU(3, 4), "decoder.": lstm()}
    tensors = {
        prefix + name: tensor.numpy()
        for prefix, layer in layers.items()
        for name, tensor in layer.state_dict().items()
    }
    save_file(tensors | {"count": np.ones(1, np.int64)}, tmp_path / "model.safetensors")
    check_refused(
        convert("model.safetensors", "one.safetensors"),
        "model.safetensors",
        "expected --source-prefix, one of 'decoder.', 'encoder.'",
    )
    assert not (tmp_path / "one.safetensors").exists()
    for prefix, layer in layers.items():
        target = f"{prefix}safetensors"
        assert convert("model.safetensors", target, "--source-prefix", prefix).returncode == 0
        check_equal(load_file(tmp_path / target), layer)
    check_refused(
        convert("model.safetensors", "x.safetensors", "--source-prefix", "coder."),
        "'coder.weight_ih_l0'",
        "only 'decoder.', 'encoder.'",
    )


def test_state_dicts_within_dicts(tmp_path: Path, convert: Convert) -> None:
    content = {"epoch": 3, "state_dict": Model(lstm()).state_dict(), "note": "best"}
    torch.save(content, tmp_path / "checkpoint.pth")
    finished = convert("checkpoint.pth", "lstm.safetensors")
    assert finished.returncode == 0, finished.stderr
    assert "under 'state_dict.encoder.lstm.'" in finished.stdout
    check_equal(load_file(tmp_path / "lstm.safetensors"), lstm())


def test_a_checkpoint_of_a_run(tmp_path: Path, convert: Convert) -> None:
    """What was trained in JAX goes to a torch layer, with the name that the documentation gives."""
    arguments = ["--task", "last-value", "--cell", "gru", *SMALL, "--out", "run"]
    trained = script("run.py", "--backend", "jax", *arguments, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    source = "run/checkpoint-9.safetensors"
    finished = convert(source, "gru.pt", "--source-prefix", "weights/rnn.")
    assert finished.returncode == 0, finished.stderr
    layer = nn.GRU(3, 4)
    layer.load_state_dict(torch.load(tmp_path / "gru.pt", weights_only=True), strict=True)
    checkpoint = load_file(tmp_path / source)
    for name, tensor in layer.state_dict().items():
        assert np.array_equal(tensor.numpy(), checkpoint[f"weights/rnn.{name}"]), name


class Code:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def test_code_in_a_file_does_not_run(tmp_path: Path, convert: Convert) -> None:
    torch.save(lstm().state_dict() | {"x": Code()}, tmp_path / "code.pt")
    check_refused(
        convert("code.pt", "out.safetensors"), "code.pt", "tensors alone", "would run posix.system"
    )
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(Code()))
    check_refused(convert("pickle.pt", "out.safetensors"), "pickle.pt", "expected a state dict")
    torch.save(lstm(), tmp_path / "module.pt")
    check_refused(convert("module.pt", "out.safetensors"), "module.pt", "torch.nn.modules")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["code.pt", "module.pt", "pickle.pt"]


def changed(**tensors: torch.Tensor | None) -> dict[str, torch.Tensor]:
    state = dict(lstm().state_dict()) | tensors
    return {name: tensor for name, tensor in state.items() if tensor is not None}


DAMAGED: dict[str, tuple[dict[str, torch.Tensor], list[str]]] = {
    "missing": (changed(bias_hh_l1=None), ["missing bias_hh_l1 (16,)"]),
    "missing the first": (changed(weight_ih_l0=None), ["missing weight_ih_l0"]),
    "unexpected": (changed(weight_hr_l1=torch.ones(2, 4)), ["unexpected weight_hr_l1"]),
    "a layer between missing": (
        changed(weight_ih_l3=torch.ones(16, 8)),
        ["missing weight_ih_l2", "unexpected weight_ih_l3"],
    ),
    "shape": (
        changed(weight_hh_l1_reverse=torch.ones(16, 5)),
        ["weight_hh_l1_reverse: expected shape (16, 4), got (16, 5)"],
    ),
    "one axis": (
        changed(weight_ih_l0=torch.ones(16)),
        ["weight_ih_l0: expected 2 axes, got (16,)"],
    ),
    "no cell": (
        changed(weight_ih_l0=torch.ones(8, 3)),
        ["weight_ih_l0: expected 1, 3 or 4", "hidden size 4", "got 8"],
    ),
    "two dtypes": (
        changed(bias_ih_l0=torch.ones(16).double()),
        ["one dtype, got float32 (", "float64 (bias_ih_l0)"],
    ),
    "integers": (
        {name: tensor.int() for name, tensor in changed().items()},
        ["weight_ih_l0", "got int32"],
    ),
    "no layer": ({"head.weight": torch.ones(2, 2)}, ["'weight_ih_l0'", "found none"]),
    "nothing": ({}, ["found none"]),
}


@pytest.mark.parametrize("form", ["pt", "safetensors"])
@pytest.mark.parametrize("case", DAMAGED)
def test_a_state_dict_that_is_no_layer(
    case: str, form: str, tmp_path: Path, convert: Convert
) -> None:
    tensors, expected = DAMAGED[case]
    if form == "pt":
        torch.save(tensors, tmp_path / "in.pt")
    else:
        save_file({name: t.numpy() for name, t in tensors.items()}, tmp_path / "in.safetensors")
    check_refused(convert(f"in.{form}", "out.pt"), f"in.{form}", *expected)
    assert [path.name for path in tmp_path.iterdir()] == [f"in.{form}"]


def test_damaged_files(tmp_path: Path, convert: Convert) -> None:
    torch.save(lstm().state_dict(), tmp_path / "whole.pt")
    save_file({"weight_ih_l0": np.ones((4, 3))}, tmp_path / "whole.safetensors")
    for form in ("pt", "safetensors"):
        content = (tmp_path / f"whole.{form}").read_bytes()
        for name, damaged in {
            "short": content[: len(content) // 2],
            "empty": b"",
            "junk": b"junk" * 100,
        }.items():
            file = tmp_path / f"{name}.{form}"
            file.write_bytes(damaged)
            check_refused(convert(file.name, f"out.{form}"), file.name, "expected a")
    check_refused(convert("none.pt", "out.pt"), "none.pt", "No such file")
    check_refused(convert("none.safetensors", "out.pt"), "none.safetensors")
    (tmp_path / "folder.pt").mkdir()
    check_refused(convert("folder.pt", "out.pt"), "folder.pt", "expected a")
    assert not list(tmp_path.glob("out.*"))


def test_a_target_that_exists_is_kept(tmp_path: Path, convert: Convert) -> None:
    torch.save(lstm().state_dict(), tmp_path / "in.pt")
    (tmp_path / "out.safetensors").write_text("mine")
    check_refused(convert("in.pt", "out.safetensors"), "out.safetensors exists", "--overwrite")
    assert (tmp_path / "out.safetensors").read_text() == "mine"
    assert convert("in.pt", "out.safetensors", "--overwrite").returncode == 0
    check_equal(load_file(tmp_path / "out.safetensors"), lstm())
    check_refused(convert("in.pt", "nowhere/out.pt"), "nowhere/out.pt", "existing folder")
    check_refused(convert("in.pt", "out.npz"), "out.npz", ".safetensors", ".pt")
    check_refused(convert("in.pt"), "TARGET")
    torch.save({}, tmp_path / "bad.pt")
    check_refused(convert("bad.pt", "out.safetensors", "--overwrite"), "bad.pt")
    check_equal(load_file(tmp_path / "out.safetensors"), lstm())


def test_a_target_that_is_a_folder_or_a_link_to_nothing(tmp_path: Path, convert: Convert) -> None:
    torch.save(lstm().state_dict(), tmp_path / "in.pt")
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "link.pt").symlink_to("nothing")
    check_refused(convert("in.pt", "folder.pt", "--overwrite"), "folder.pt: expected a file's name")
    check_refused(convert("in.pt", "link.pt"), "link.pt exists")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.pt", "in.pt", "link.pt"]


def test_a_failed_write_leaves_nothing_and_names_the_file(
    tmp_path: Path, convert: Convert, monkeypatch
) -> None:
    """A full disk; and a neighbour's file of a likely name is not touched."""
    torch.save(lstm().state_dict(), tmp_path / "in.pt")
    (tmp_path / "out.pt.tmp").write_text("mine")

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shared.system.files.os.fsync", no_space)
    finished = convert("in.pt", "out.pt")
    assert finished.returncode == 1
    assert finished.stderr.splitlines() == ["convert.py: out.pt: No space left on device"]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.pt", "out.pt.tmp"]
    assert convert("in.pt", "out.pt").returncode == 0
    assert (tmp_path / "out.pt.tmp").read_text() == "mine"


def test_names_from_a_file_stay_on_their_line(tmp_path: Path, convert: Convert) -> None:
    strange = {f"a\n\x1b[31m.{name}": tensor for name, tensor in lstm().state_dict().items()}
    torch.save(strange | {"x\ny": torch.ones(1)}, tmp_path / "in.pt")
    finished = convert("in.pt", "out.safetensors")
    assert finished.returncode == 0, finished.stderr
    described, left, wrote = finished.stdout.splitlines()
    assert described.endswith(r"under 'a\n\x1b[31m.'")
    assert left == r"left out: x\ny"
    assert wrote == "wrote out.safetensors: 16 tensors, weight_ih_l0 …"


def test_many_layers_are_not_all_listed(tmp_path: Path, convert: Convert) -> None:
    weight = torch.ones(4, 1)
    torch.save({f"l{k:03}.weight_ih_l0": weight for k in range(300)}, tmp_path / "in.pt")
    finished = convert("in.pt", "out.pt")
    check_refused(finished, "one of 'l000.', 'l001.'", "'l009.' and 290 more: there are several")


def test_tensors_that_numpy_cannot_hold_are_named(tmp_path: Path, convert: Convert) -> None:
    whole = dict(lstm().state_dict())
    for kind, tensor in {
        "sparse": torch.ones(16, 3).to_sparse(),
        "float8": torch.ones(16, 3).to(torch.float8_e4m3fn),
    }.items():
        torch.save(whole | {"weight_ih_l0": tensor}, tmp_path / "in.pt")
        finished = convert("in.pt", "out.pt")
        check_refused(finished, "in.pt: weight_ih_l0: expected plain values, got", kind)
    torch.save({"m": whole, "m.weight_ih_l0": torch.ones(1)}, tmp_path / "in.pt")
    check_refused(convert("in.pt", "out.pt"), "got m.weight_ih_l0 twice")


def test_as_a_command(tmp_path: Path) -> None:
    """The exit status and the streams of a process; help that lists every option."""
    torch.save(lstm().state_dict(), tmp_path / "in.pt")
    finished = script("convert.py", "in.pt", "out.safetensors", cwd=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "")
    check_refused(script("convert.py", "in.pt", "out.safetensors", cwd=tmp_path), "exists")
    helped = script("convert.py", "--help", cwd=tmp_path)
    assert helped.returncode == 0
    for option in ("SOURCE", "TARGET", "--source-prefix", "--target-prefix", "--overwrite"):
        assert option in helped.stdout, option


def test_a_damaged_checkpoint_is_not_converted(tmp_path: Path, convert: Convert) -> None:
    weights = {f"rnn.{name}": p.detach().numpy() for name, p in nn.GRU(2, 3).named_parameters()}
    file = tmp_path / "checkpoint-7.safetensors"
    checkpoint.write(file, checkpoint.Checkpoint(Snapshot.of(weights), "0123"))
    options = (file.name, "out.pt", "--source-prefix", "weights/rnn.")
    assert convert(*options).returncode == 0
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    refused = convert(*options, "--overwrite")
    check_refused(refused, f"{file.name}: expected contents that match its sha256")
