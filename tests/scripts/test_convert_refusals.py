"""Files, damaged or hostile, that scripts/convert.py refuses in one line."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from shared.protocol import Snapshot
from shared.runs import checkpoint
from tests.support.command_line import check_refused
from tests.support.convert_cases import Convert, lstm


class Code:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def test_code_in_a_file_does_not_run(tmp_path: Path, convert: Convert) -> None:
    torch.save(lstm().state_dict() | {"x": Code()}, tmp_path / "code.pt")
    check_refused(
        convert("code.pt", "out.safetensors"), "code.pt", "tensors alone", "would run posix.system"
    )
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(Code()))
    check_refused(convert("pickle.pt", "out.safetensors"), "pickle.pt", "got a plain pickle")
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
