"""Files of weights of any content: read as what they are, or refused in a line that names them."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from shared.errors import InvalidInput
from shared.protocol.state_dict import find_layer
from shared.protocol.weight_files import read_layer, write_layer
from tests.support.fuzz import EDITS, Edit, damaged, fuzz
from tests.support.wrapped_cases import state

SUFFIXES = [".pt", ".safetensors", ".npz", ".msgpack", ".weights.h5"]


KINDS = [*SUFFIXES, ".keras", "an old .pt"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of each kind."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("whole")
    layer = find_layer(state(nn.GRU(3, 4)))
    for suffix in SUFFIXES:
        write_layer(folder / f"a{suffix}", layer, one_bias=True)
        (folder / f"a{suffix}").rename(folder / suffix)
    with zipfile.ZipFile(folder / ".keras", "w") as archive:
        archive.writestr("config.json", '{"class_name": "Sequential", "config": {"name": "a"}}')
        archive.write(folder / ".weights.h5", "model.weights.h5")
    torch.save(state(nn.GRU(3, 4)), folder / "an old .pt", _use_new_zipfile_serialization=False)
    return folder


@fuzz(200)
@given(st.sampled_from(KINDS), EDITS)
def test_a_damaged_file_is_read_or_refused(
    whole: Path, tmp_path: Path, kind: str, edits: list[Edit]
) -> None:
    file = tmp_path / "file"
    file.write_bytes(damaged((whole / kind).read_bytes(), edits))
    try:
        found = read_layer(file, one_bias=True)
    except InvalidInput as error:
        said = str(error)
        assert said.startswith(f"{file}: "), said
        assert "expected" in said or "missing" in said or "unexpected" in said, said
        assert len(said) < 2000, said
    else:
        assert found.config.cell == "gru"


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_read(kind: str, whole: Path) -> None:
    assert read_layer(whole / kind, one_bias=True).config.hidden_size == 4


def test_a_damaged_folder_of_orbax_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a.orbax"
    write_layer(folder, find_layer(state(nn.GRU(3, 4))), one_bias=True)
    for name in ("_METADATA", "manifest.ocdbt"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(
            InvalidInput, match=r"a\.orbax: expected a folder of Orbax, got"
        ) as said:
            read_layer(folder, one_bias=True)
        assert len(str(said.value)) < 1000
        (folder / name).write_bytes(content)
    assert read_layer(folder, one_bias=True).config.cell == "gru"


def test_a_dict_in_itself_is_refused(tmp_path: Path) -> None:
    around: dict[str, object] = {"weight_ih_l0": torch.ones(1)}
    around["again"] = around
    torch.save(around, tmp_path / "a.pt")
    with pytest.raises(InvalidInput, match=r"a\.pt: expected a state dict, got dicts in dicts"):
        read_layer(tmp_path / "a.pt")


def test_objects_in_npz_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", weight_ih_l0=np.array([{}], object), allow_pickle=True)
    with pytest.raises(InvalidInput, match=r"expected an \.npz file, got in weight_ih_l0: Object"):
        read_layer(tmp_path / "a.npz")
