"""What a file or folder of arrays is, by its content: a suffix says only what somebody thought."""

import zipfile
from pathlib import Path
from typing import Literal, get_args

from shared.errors import InvalidInput, printable
from shared.system.files import DAMAGED, brief

Kind = Literal["torch", "safetensors", "npz", "msgpack", "orbax", "keras", "h5"]
"""torch: of torch.save, in either of its forms; h5: HDF5, as Keras's `.weights.h5`."""

_ORBAX = {"_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt"}
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How a file of torch.save began before it was an archive: its magic number, pickled."""
_BEGINNINGS: dict[bytes, str] = {
    b"\x93NUMPY": "a .npy file, a single array without a name",
    b"\x1f\x8b": "a gzip archive, which must be unpacked",
    b"version https://git-lfs": "a pointer of Git LFS; `git lfs pull` fetches the file itself",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"{": "JSON text",
    b"GGUF": "a GGUF file",
}


def kind_of(path: Path) -> Kind:
    """Tells what a file or folder is.

    Raises:
        InvalidInput: it is missing or of another kind; the message says what it looks like.
    """
    if path.is_dir():
        return _kind_of_folder(path)
    try:
        with open(path, "rb") as file:
            start = file.read(64)
            length = file.seek(0, 2)
    except OSError as error:
        raise InvalidInput(f"{path}: expected a file of weights, got: {error.strerror}") from error
    if start.startswith(b"PK\x03\x04"):
        return _kind_of_archive(path)
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "h5"
    if start.startswith(_LEGACY):
        return "torch"
    header = int.from_bytes(start[:8], "little")
    if len(start) > 8 and start[8:9] == b"{" and header <= length:
        return "safetensors"
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise _unknown(path, "a plain pickle, which could run code; torch.save writes another file")
    # A map of msgpack: of up to 15, of 2¹⁶ or of 2³² entries.
    if start[:1] and (0x81 <= start[0] <= 0x8F or start[0] in (0xDE, 0xDF)):
        return "msgpack"
    raise _unknown(path, _look(start))


def _kind_of_archive(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except DAMAGED as error:
        look = f"a zip archive that is cut off or damaged: {brief(error)}"
        raise _unknown(path, look) from error
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        raise _unknown(
            path,
            "a TorchScript archive; if you trust it, for this runs its code, save its state dict "
            f'alone: module = torch.jit.load("{path.name}", map_location="cpu"); '
            'torch.save(module.state_dict(), "weights.pt")',
        )
    if "data.pkl" in inner:
        return "torch"
    if "config.json" in names and "model.weights.h5" in names:
        return "keras"
    if any("exported_program" in name or name.startswith("models/") for name in inner):
        raise _unknown(
            path,
            "a program of torch.export; save its state dict alone: program = "
            f'torch.export.load("{path.name}"); torch.save(program.state_dict, "weights.pt")',
        )
    if all(name.endswith(".npy") for name in names):
        return "npz"
    shown = ", ".join(names[:3]) or "nothing"
    raise _unknown(path, f"a zip archive with {printable(shown)} …")


def _kind_of_folder(path: Path) -> Kind:
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise InvalidInput(f"{path}: expected weights, got: {error.strerror}") from error
    if names & _ORBAX and not any((path / name / "_METADATA").exists() for name in names):
        return "orbax"
    below = sorted(
        found.parent.relative_to(path)
        for pattern in ("*/_METADATA", "*/*/_METADATA")
        for found in path.glob(pattern)
    )
    if below:
        shown = ", ".join(f"{path / one}" for one in below[-3:])
        raise _unknown(path, f"a folder of Orbax checkpoints; one of them is a source: {shown}")
    looks = {
        ".metadata": "a distributed checkpoint of torch; torch.distributed.checkpoint.format_utils."
        'dcp_to_torch_save(folder, "weights.pt") makes it a file',
        "saved_model.pb": "a SavedModel of TensorFlow; Keras 3 writes .weights.h5 from the model",
    }
    for name, look in looks.items():
        if name in names:
            raise _unknown(path, look)
    raise _unknown(path, "a folder" if names else "an empty folder")


def _look(start: bytes) -> str:
    if not start:
        return "an empty one"
    for beginning, look in _BEGINNINGS.items():
        if start.startswith(beginning):
            return look
    try:
        start[:40].decode("ascii")
    except UnicodeDecodeError:
        return f"one that begins with {start[:8]!r}"
    return f"text that begins with {printable(start[:20].decode('ascii'))!r}"


def _unknown(path: Path, look: str) -> InvalidInput:
    kinds = ", ".join(get_args(Kind)).replace("h5", ".weights.h5")
    return InvalidInput(f"{path}: expected a file of weights ({kinds}), got {look}")
