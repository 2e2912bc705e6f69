"""Recurrent layers in files of Keras 3: `.keras`, and `.weights.h5`, which has no settings.

Both are read without Keras, and nothing that a config names is imported or run.
"""

import importlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from shared.errors import InvalidInput
from shared.protocol.keras_cells import is_part
from shared.protocol.keras_settings import KerasSettings
from shared.protocol.weights import Weights
from shared.system.files import DAMAGED, brief, write_atomically

WEIGHTS = "model.weights.h5"
"""File of the arrays in a `.keras` file."""
CONFIG = "config.json"
_LARGE = 1 << 30
"""Bytes of an array up to which a file may say what it likes."""
_EXPANSION = 1000
"""Times that a larger array may be larger than what is stored of it."""


def read_keras(path: Path) -> tuple[Weights, list[str], dict[str, KerasSettings]]:
    """Reads a `.keras` file.

    Returns:
        The recurrent layers' arrays, by their places in the file; the names of the others; the
        settings of each place that the config tells: "layers/lstm/" → its class and config.

    Raises:
        InvalidInput: it is missing or damaged, or h5py is not installed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            known = _by_names(json.loads(archive.read(CONFIG)))
            content = archive.read(WEIGHTS)
    except (*DAMAGED, RecursionError) as error:
        raise InvalidInput(f"{path}: expected a .keras file, got: {brief(error)}") from error
    arrays, others, names = _read(path, io.BytesIO(content))
    settings: dict[str, KerasSettings] = {}
    for place, chain in names.items():
        if chain in known:
            settings[place] = known[chain]
    return arrays, others, settings


def read_keras_weights(path: Path) -> tuple[Weights, list[str]]:
    """Returns the recurrent layers' arrays of a `.weights.h5` file, and the names of the others.

    Raises:
        InvalidInput: it is missing, damaged, of Keras 2 or no such file, or h5py is not installed.
    """
    try:
        with open(path, "rb") as file:
            arrays, others, _ = _read(path, file)
    except OSError as error:
        raise InvalidInput(f"{path}: expected a .weights.h5 file, got: {error}") from error
    return arrays, others


def write_keras_weights(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a `.weights.h5` file as Keras does; until it is complete, the old file stays.

    Raises:
        InvalidInput: h5py is not installed.
        OSError: it cannot be written; the message names the file.
    """
    content = io.BytesIO()
    with h5py().File(content, "w") as file:
        for name, array in arrays.items():
            data = file.create_dataset(name, data=np.ascontiguousarray(array), track_times=False)
            if array.dtype == ml_dtypes.bfloat16:
                data.attrs["dtype"] = "bfloat16"
    write_atomically(path, content.getvalue())


def _read(path: Path, file: BinaryIO) -> tuple[Weights, list[str], dict[str, tuple[str, ...]]]:
    """Returns arrays, names of the others, and for each place the names of the layers around it."""
    hdf = h5py()
    arrays: Weights = {}
    others: list[str] = []
    names: dict[str, str] = {}

    def see(place: str, item: Any) -> None:
        if isinstance(item, hdf.Dataset):
            if is_part(place):
                arrays[place] = _array(path, place, item)
            else:
                others.append(place)
        elif place.split("/")[-1] == "vars" and isinstance(item.attrs.get("name"), str):
            names[place.removesuffix("vars")] = item.attrs["name"]

    try:
        with hdf.File(file, "r") as content:
            if "layer_names" in content.attrs or "model_weights" in content:
                raise InvalidInput(
                    f"{path}: expected a .weights.h5 file of Keras 3, got a whole model (of Keras "
                    "2, or of save('….h5')); load it there and write "
                    "model.save_weights('model.weights.h5') with Keras 3"
                )
            content.visititems(see)
    except InvalidInput:
        raise
    except (*DAMAGED, TypeError, AttributeError) as error:
        raise InvalidInput(f"{path}: expected a .weights.h5 file, got: {brief(error)}") from error
    outer = sorted(names, key=len)
    chains = {
        place: tuple(names[around] for around in outer if place.startswith(around))
        for place in names
    }
    return arrays, others, chains


def _array(path: Path, place: str, item: Any) -> np.ndarray:
    """Returns an array that lies in the file itself, in a size that what is stored justifies."""
    size, stored = item.size * item.dtype.itemsize, item.id.get_storage_size()
    if item.external or item.is_virtual or (size > _LARGE and size > _EXPANSION * stored):
        raise InvalidInput(
            f"{path}: {place}: expected an array that is stored in the file, got one of {size} "
            f"bytes, of which {stored} are there"
        )
    array = np.asarray(item[()])
    if item.attrs.get("dtype") == "bfloat16":
        array = array.view(ml_dtypes.bfloat16)
    return array


def _by_names(config: Any) -> dict[tuple[str, ...], KerasSettings]:
    """Returns the entries of a model's config by the names of the layers around them and their
    own."""
    found: dict[tuple[str, ...], KerasSettings] = {}

    def see(entry: Any, around: tuple[str, ...]) -> None:
        if isinstance(entry, dict):
            settings = entry.get("config")
            if isinstance(settings, dict) and isinstance(settings.get("name"), str):
                around = (*around, settings["name"])
                found.setdefault(around, KerasSettings(str(entry.get("class_name")), settings))
            for value in entry.values():
                see(value, around)
        elif isinstance(entry, list):
            for value in entry:
                see(value, around)

    see(config, ())
    return found


def h5py() -> ModuleType:
    """Returns the package that reads and writes HDF5: only Keras's files need it.

    Raises:
        InvalidInput: it is not installed.
    """
    try:
        return importlib.import_module("h5py")
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "Keras's files need the package h5py, which is not installed: "
            'pip install "rnn-parity[keras]"'
        ) from error
