"""What a file is, by its content; what it looks like, if it is nothing that is read."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from shared.errors import InvalidInput
from shared.system.file_kinds import kind_of


def archive(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return content.getvalue()


LOOKS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "got an empty one"),
    "a pickle": (b"\x80\x04\x95\x00", "got a plain pickle, which could run code"),
    "an array": (b"\x93NUMPY\x01", "got a .npy file, a single array without a name"),
    "gzip": (gzip.compress(b"x"), "got a gzip archive, which must be unpacked"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1", "got a pointer of Git LFS"),
    "a page": (b"<!DOCTYPE html><html>", "got a web page"),
    "JSON": (json.dumps({"a": 1}).encode(), "got JSON text"),
    "text": (b"hello\nworld", r"got text that begins with 'hello\\nworld'"),
    "bytes": (b"\xff\xfe\x00\x01", r"got one that begins with b'\xff\xfe\x00\x01'"),
    "a header beyond the end": (b"\xff" * 8 + b"{", "got one that begins with"),
    "another archive": (archive("a.txt", "b.txt"), "got a zip archive with a.txt, b.txt …"),
    "half an archive": (archive("a.txt")[:40], "got a zip archive that is cut off or damaged"),
    "an exported program": (
        archive("a/serialized_exported_program.json", "a/version"), "got a program of torch.export"
    ),
}  # fmt: skip


@pytest.mark.parametrize("look", LOOKS)
def test_another_file_is_refused_with_what_it_looks_like(look: str, tmp_path: Path) -> None:
    content, said = LOOKS[look]
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InvalidInput) as refusal:
        kind_of(tmp_path / "a")
    assert said in str(refusal.value)
    assert f"{tmp_path / 'a'}: expected a file of weights (torch, " in str(refusal.value)
    assert "\n" not in str(refusal.value)


FOLDERS: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "got an empty folder"),
    "files": (["a"], "got a folder"),
    "steps": (["100/default/_METADATA", "200/default/_METADATA"], "one of them is a source: "),
    "torch": ([".metadata", "__0_0.distcp"], "a distributed checkpoint of torch; .*dcp_to_torch"),
    "TensorFlow": (["saved_model.pb"], "a SavedModel of TensorFlow"),
}


@pytest.mark.parametrize("look", FOLDERS)
def test_another_folder_is_refused_with_what_it_looks_like(look: str, tmp_path: Path) -> None:
    names, said = FOLDERS[look]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(InvalidInput, match=said):
        kind_of(tmp_path)
    if look == "steps":
        assert kind_of(tmp_path / "100" / "default") == "orbax"


def test_the_content_tells_the_kind(tmp_path: Path) -> None:
    """Whatever the name says."""
    path = tmp_path / "a.txt"
    torch.save({"a": torch.ones(1)}, path)
    assert kind_of(path) == "torch"
    torch.save({"a": torch.ones(1)}, path, _use_new_zipfile_serialization=False)
    assert kind_of(path) == "torch"
    save_file({"a": np.ones(1)}, path)
    assert kind_of(path) == "safetensors"
    with open(path, "wb") as file:
        np.savez(file, a=np.ones(1))
    assert kind_of(path) == "npz"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    assert kind_of(path) == "h5"
    path.write_bytes(b"\x81\xa1a\x01")
    assert kind_of(path) == "msgpack"
    path.write_bytes(archive("config.json", "metadata.json", "model.weights.h5"))
    assert kind_of(path) == "keras"
    with pytest.raises(InvalidInput, match="No such file"):
        kind_of(tmp_path / "none")
