"""A recurrent layer in a file, whatever wrote it: read by content, written by the name's suffix.

found = read_layer("model.ckpt")          # FoundLayer, as of find_layer
write_layer("lstm.safetensors", found)

torch.save (.pt, .pth, .bin, .ckpt), .safetensors, .npz    names as in torch
Flax's msgpack (.msgpack), a folder of Orbax (.orbax)      names as in linen
Keras 3 (.weights.h5; .keras is only read)                 names as in Keras
"""

from pathlib import Path
from typing import NamedTuple

from shared.errors import InvalidInput
from shared.protocol.backend import check_installed, part_of
from shared.protocol.keras_files import h5py, read_keras, read_keras_weights, write_keras_weights
from shared.protocol.keras_settings import KerasSettings, with_settings
from shared.protocol.layer_forms import as_keras, as_linen
from shared.protocol.state_dict import FoundLayer, find_layer, is_recurrent, read_safetensors
from shared.protocol.weights import Weights
from shared.system.array_files import read_npz, write_npz
from shared.system.file_kinds import kind_of
from shared.system.tensor_files import write_tensors

TORCH = (".pt", ".pth", ".bin", ".ckpt")
SUFFIXES = (".safetensors", *TORCH, ".npz", ".msgpack", ".orbax", ".weights.h5")
"""Endings of the names of what can be written. A name that ends in a slash is a folder of Orbax."""


class Content(NamedTuple):
    """What a file holds."""

    tensors: Weights
    """Those that may belong to a recurrent layer, by the names in the file."""
    others: list[str]
    """Names of all others."""
    settings: dict[str, KerasSettings]
    """Settings that stand beside the tensors, by the prefix of their layer."""


def read_content(path: Path | str) -> Content:
    """Reads the recurrent tensors of a file or folder, without running anything that is in it.

    Raises:
        InvalidInput: it is missing, damaged or of no kind that is read here, or what reads this
            kind is not installed.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind == "keras":
        return Content(*read_keras(path))
    if kind == "torch":
        found = part_of("torch", "files").read_torch(path)
    elif kind == "safetensors":
        found = read_safetensors(path)
    elif kind == "npz":
        found = read_npz(path, is_recurrent)
    elif kind == "h5":
        found = read_keras_weights(path)
    elif kind == "msgpack":
        found = part_of("jax", "files").read_msgpack(path, is_recurrent)
    else:
        found = part_of("jax", "files").read_orbax(path, is_recurrent)
    tensors, others = found
    return Content(tensors, others, {})


def layer_in(content: Content, prefix: str | None = None, *, one_bias: bool = False) -> FoundLayer:
    """Finds the layer in what a file holds, as `find_layer`, with the settings that the file tells.

    Raises:
        InvalidInput: as `find_layer`; a setting that torch's layers do not have.
    """
    layer = find_layer(content.tensors, prefix, one_bias=one_bias)
    if layer.prefix in content.settings:
        return with_settings(layer, content.settings)
    return layer


def read_layer(
    path: Path | str, prefix: str | None = None, *, one_bias: bool = False
) -> FoundLayer:
    """Reads the recurrent layer or cell in a file or folder.

    Args:
        prefix: what stands before its canonical names; None if there is only one layer.
        one_bias: take a single bias of Flax or Keras that is not zero as bias_ih.

    Raises:
        InvalidInput: as `read_content` and `layer_in`; the message names the file.
    """
    content = read_content(path)
    try:
        return layer_in(content, prefix, one_bias=one_bias)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error


def suffix_of(target: str) -> str:
    """Returns the one of `SUFFIXES` that a name ends in.

    Raises:
        InvalidInput: it has none of them.
    """
    if target.endswith("/"):
        return ".orbax"
    for suffix in SUFFIXES:
        if Path(target).name.endswith(suffix):
            return suffix
    if target.endswith(".keras"):
        raise InvalidInput(
            f"{target}: expected a name in .weights.h5, got .keras, which holds a whole model with "
            "its config; model.load_weights reads the other"
        )
    raise InvalidInput(f"{target}: expected a name in {', '.join(SUFFIXES)}")


def check_writer(suffix: str) -> None:
    """Refuses a format that nothing here writes, before anything is read.

    Raises:
        InvalidInput: the framework or package is not installed; the message names it.
    """
    if suffix in TORCH:
        check_installed(["torch"])
    elif suffix in (".msgpack", ".orbax"):
        check_installed(["jax"])
    elif suffix == ".weights.h5":
        h5py()


def tensors_for(
    suffix: str, layer: FoundLayer, prefix: str = "", *, one_bias: bool = False
) -> Weights:
    """Returns what a file with this suffix holds of a layer: name → array.

    Args:
        prefix: what to put before the names; its last dot may be left out.
        one_bias: add two biases where the format has one.

    Raises:
        InvalidInput: the format cannot hold the layer; the message names the tensor.
    """
    if suffix == ".weights.h5":
        return as_keras(layer, prefix, one_bias)
    if prefix and not prefix.endswith((".", "/")):
        prefix += "."
    if suffix in (".msgpack", ".orbax"):
        return as_linen(layer, prefix, one_bias)
    return {prefix + name: array for name, array in layer.tensors.items()}


def write_content(target: str, tensors: Weights) -> None:
    """Writes tensors into a file or folder; until it is complete, an old one stays.

    Raises:
        InvalidInput: the format has no such dtype, or what writes it is not installed.
        OSError: it cannot be written.
    """
    suffix, path = suffix_of(target), Path(target)
    if suffix in TORCH:
        part_of("torch", "files").write_torch(path, tensors)
    elif suffix == ".safetensors":
        write_tensors(path, tensors)
    elif suffix == ".npz":
        write_npz(path, tensors)
    elif suffix == ".weights.h5":
        write_keras_weights(path, tensors)
    elif suffix == ".msgpack":
        part_of("jax", "files").write_msgpack(path, tensors)
    else:
        part_of("jax", "files").write_orbax(path, tensors)


def write_layer(
    target: Path | str, layer: FoundLayer, prefix: str = "", *, one_bias: bool = False
) -> None:
    """Writes a layer in the format of the name's suffix; an old file is replaced.

    Args:
        prefix: what to put before the names.
        one_bias: add two biases where the format has one.

    Raises:
        InvalidInput: another suffix, or what the format cannot hold; the message names the tensor.
        OSError: it cannot be written.
    """
    target = str(target)
    write_content(target, tensors_for(suffix_of(target), layer, prefix, one_bias=one_bias))
