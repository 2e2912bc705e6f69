"""scripts/convert.py between all formats: the same bits there and back, and what it says."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from tests.support.command_line import check_refused, script
from tests.support.convert_cases import Convert, check_tensors
from tests.support.pairwise import each_by_default
from tests.support.wrapped_cases import DROPPED, state, trained, used, weight_norm

OPEN = [".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".npz", ".msgpack", ".orbax", ".weights.h5"]
TREES = (".msgpack", ".orbax", ".weights.h5")
LAYERS: dict[str, dict[str, Any]] = {"LSTM": {}, "GRU": {}, "RNN": {}}


def single(kind: str, suffix: str, dtype: torch.dtype = torch.float32) -> dict[str, np.ndarray]:
    """A layer that a format can hold as it is: with a bias_hh of zeros where it has one bias."""
    torch.manual_seed(0)
    tensors = state(getattr(nn, kind)(3, 4, bidirectional=True, dtype=dtype))
    if suffix in TREES and not (kind == "GRU" and suffix == ".weights.h5"):
        for name in ("bias_hh_l0", "bias_hh_l0_reverse"):
            kept = 8 if kind == "GRU" else 16  # linen's GRU has b_hn
            tensors[name][:kept] = 0
    return tensors


@pytest.mark.parametrize(("kind", "suffix"), each_by_default(LAYERS, OPEN))
def test_every_open_format_gives_the_same_bits_back(
    kind: str, suffix: str, tmp_path: Path, convert: Convert
) -> None:
    tensors = single(kind, suffix)
    save_file(tensors, tmp_path / "in.safetensors")
    there = convert("in.safetensors", f"there{suffix}")
    assert there.returncode == 0, there.stderr
    (tmp_path / f"there{suffix}").rename(tmp_path / "anything")  # the content tells what it is
    back = convert("anything", "back.safetensors", "--one-bias")
    assert back.returncode == 0, back.stderr
    assert "left out" not in back.stdout
    found = load_file(tmp_path / "back.safetensors")
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].tobytes() == array.tobytes(), name
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"in.safetensors", "anything", "back.safetensors"}


@pytest.mark.parametrize(
    ("suffix", "dtype"), each_by_default(OPEN, [torch.float64, torch.bfloat16, torch.float16])
)
def test_dtypes_keep_their_bits(
    suffix: str, dtype: torch.dtype, tmp_path: Path, convert: Convert
) -> None:
    tensors = single("GRU", suffix, dtype)
    save_file(tensors, tmp_path / "in.safetensors")
    there = convert("in.safetensors", f"there{suffix}")
    if (suffix, dtype) == (".npz", torch.bfloat16):
        check_refused(there, "there.npz: weight_ih_l0: expected a dtype of NumPy's own")
        assert [path.name for path in tmp_path.iterdir()] == ["in.safetensors"]
        return
    assert there.returncode == 0, there.stderr
    assert convert(f"there{suffix}", "back.safetensors", "--one-bias").returncode == 0
    found = load_file(tmp_path / "back.safetensors")
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".npz"])
def test_a_cell_keeps_its_names(suffix: str, tmp_path: Path, convert: Convert) -> None:
    cell = state(nn.GRUCell(3, 4))
    save_file({f"decoder.{name}": a for name, a in cell.items()}, tmp_path / "in.safetensors")
    done = convert("in.safetensors", f"a{suffix}", "--target-prefix", "cell")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "in.safetensors: GRUCell(input_size=3, hidden_size=4, bias=True), float32 under 'decoder.'",
        f"wrote a{suffix}: 4 tensors, cell.weight_ih …",
    ]
    assert convert(f"a{suffix}", "back.safetensors").returncode == 0
    found = load_file(tmp_path / "back.safetensors")
    check_tensors({name: found[name] for name in cell}, cell)


def test_what_was_computed_assumed_and_left_out_is_said(tmp_path: Path, convert: Convert) -> None:
    x = torch.randn(5, 2, 3)
    model = nn.ModuleDict({"rnn": trained(weight_norm(nn.GRU(3, 4), "weight_hh_l0"), x)})
    model["head"] = nn.Linear(4, 2)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "m.ckpt")
    done = convert("m.ckpt", "gru.weights.h5")
    assert done.stdout.splitlines() == [
        "m.ckpt: GRU(input_size=3, hidden_size=4, num_layers=1, bias=True, bidirectional=False), "
        "float32 under 'state_dict.rnn.'",
        "computed: state_dict.rnn.weight_hh_l0 (weight norm)",
        "left out: state_dict.head.weight, state_dict.head.bias",
        "wrote gru.weights.h5: 3 tensors, layers/gru/cell/vars/0 …",
    ]
    done = convert("gru.weights.h5", "back.npz")
    assert done.stdout.splitlines()[1] == (
        "assumed: activation tanh, recurrent_activation sigmoid, go_backwards False, "
        "merge_mode concat"
    )
    with np.load(tmp_path / "back.npz") as found:
        expected = used(model["rnn"], "weight_hh_l0", x)
        assert np.abs(found["weight_hh_l0"] - expected).max() <= 1e-6


def test_drop_connect_takes_the_trained_matrix(tmp_path: Path, convert: Convert) -> None:
    x = torch.randn(5, 2, 3)
    wrapped = trained(DROPPED["around, beside a copy"](nn.LSTM(3, 4), "weight_hh_l0"), x)
    torch.save({"rnns.0": wrapped.state_dict()}, tmp_path / "raw.pt")
    done = convert("raw.pt", "lstm.safetensors")
    assert "computed: rnns.0.module.weight_hh_l0 (DropConnect)" in done.stdout
    found = load_file(tmp_path / "lstm.safetensors")
    assert np.array_equal(found["weight_hh_l0"], used(wrapped, "weight_hh_l0", x))


def test_one_layer_of_a_stack(tmp_path: Path, convert: Convert) -> None:
    stack = state(nn.GRU(3, 4, num_layers=11, bidirectional=True))
    save_file(stack, tmp_path / "in.safetensors")
    check_refused(
        convert("in.safetensors", "a.weights.h5"),
        "a.weights.h5: weight_ih_l1: expected a single layer", "--layer 0",
    )  # fmt: skip
    check_refused(
        convert("in.safetensors", "a.npz", "--layer", "11"),
        "layer (--layer): expected 0 to 10, got 11",
    )
    assert not list(tmp_path.glob("a.*"))
    for number in (0, 1, 10):
        done = convert("in.safetensors", "a.weights.h5", "--layer", str(number), "--overwrite")
        assert done.returncode == 0, done.stderr
        assert "and 77 more" in done.stdout  # that are left out
        assert convert("a.weights.h5", "back.safetensors", "--overwrite").returncode == 0
        found = load_file(tmp_path / "back.safetensors")
        assert len(found) == 8
        for name, array in found.items():
            assert np.array_equal(array, stack[name.replace("_l0", f"_l{number}")]), name


REFUSED_WRITES = {
    "two biases, msgpack": ("LSTM", {}, ".msgpack", "bias_hh_l0: the format has a single bias"),
    "two biases, orbax": ("RNN", {}, ".orbax", "bias_hh_l0: the format has a single bias"),
    "two biases, h5": ("RNN", {}, ".weights.h5", "bias_hh_l0: the format has a single bias"),
    "a projection": ("LSTM", {"proj_size": 2}, ".msgpack", "weight_hr_l0: Flax's cells have no"),
    "a stack": ("GRU", {"num_layers": 2}, ".orbax", "weight_ih_l1: expected a single layer"),
}


@pytest.mark.parametrize("case", REFUSED_WRITES)
def test_what_a_format_cannot_hold_is_refused_by_name(
    case: str, tmp_path: Path, convert: Convert
) -> None:
    kind, options, suffix, said = REFUSED_WRITES[case]
    save_file(state(getattr(nn, kind)(3, 4, **options)), tmp_path / "in.safetensors")
    check_refused(convert("in.safetensors", f"out{suffix}"), f"out{suffix}: {said}")
    assert [path.name for path in tmp_path.iterdir()] == ["in.safetensors"]


def test_a_folder_of_orbax_is_replaced_as_a_whole(
    tmp_path: Path, convert: Convert, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(single("GRU", ".orbax"), tmp_path / "in.safetensors")
    assert convert("in.safetensors", "a/").returncode == 0
    before = {path.name for path in (tmp_path / "a").iterdir()}
    check_refused(convert("in.safetensors", "a/"), "a exists: expected another name, or --over")
    assert convert("in.safetensors", "a/", "--overwrite").returncode == 0
    assert {path.name for path in (tmp_path / "a").iterdir()} == before

    (tmp_path / "mine.orbax").mkdir()
    (tmp_path / "mine.orbax" / "notes").write_text("mine")
    check_refused(
        convert("in.safetensors", "mine.orbax", "--overwrite"),
        "mine.orbax: expected a folder of Orbax to replace, got another",
    )
    assert (tmp_path / "mine.orbax" / "notes").read_text() == "mine"

    def no_space(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shared.system.folders.os.replace", no_space)
    failed = convert("in.safetensors", "b.orbax")
    assert failed.returncode == 1
    assert "No space left on device" in failed.stderr
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"in.safetensors", "a", "mine.orbax"}


def test_as_a_process(tmp_path: Path) -> None:
    """Formats of Flax and of Keras, without anything that a test's process has set up."""
    save_file(single("GRU", ".msgpack", torch.float64), tmp_path / "in.safetensors")

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return script("convert.py", *arguments, cwd=tmp_path)

    for suffix in TREES:
        done = run("in.safetensors", f"a{suffix}")
        assert (done.returncode, done.stderr) == (0, "")
        done = run(f"a{suffix}", f"back{suffix}.npz", "--one-bias")
        assert (done.returncode, done.stderr) == (0, "")
        with np.load(tmp_path / f"back{suffix}.npz") as found:
            assert {array.dtype.name for array in found.values()} == {"float64"}
