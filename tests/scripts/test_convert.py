"""Files that scripts/convert.py writes hold the same tensors, and no other file is harmed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from tests.support.command_line import SMALL, check_refused, script
from tests.support.convert_cases import Convert, lstm


class Model(nn.Module):
    """A layer deep in a model, as people have them."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.encoder = nn.ModuleDict({"lstm": layer})
        self.head = nn.Linear(8, 2)


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
        "expected a prefix (--source-prefix), one of 'decoder.', 'encoder.'",
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


def test_a_target_that_exists_is_kept(tmp_path: Path, convert: Convert) -> None:
    torch.save(lstm().state_dict(), tmp_path / "in.pt")
    (tmp_path / "out.safetensors").write_text("mine")
    check_refused(convert("in.pt", "out.safetensors"), "out.safetensors exists", "--overwrite")
    assert (tmp_path / "out.safetensors").read_text() == "mine"
    assert convert("in.pt", "out.safetensors", "--overwrite").returncode == 0
    check_equal(load_file(tmp_path / "out.safetensors"), lstm())
    check_refused(convert("in.pt", "nowhere/out.pt"), "nowhere/out.pt", "existing folder")
    check_refused(convert("in.pt", "out.txt"), "out.txt", ".safetensors", ".pt")
    check_refused(convert("in.pt", "out.keras"), "out.keras: expected a name in .weights.h5")
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
