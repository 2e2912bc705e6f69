"""What travels with a job to another machine, and the places of its files there.

A node has no file of the user's. Its scratch folder has a folder that stands for the root of the
user's file system: what is /home/ada/sales.csv to the user is ROOT/home/ada/sales.csv there, and
the run's working directory is ROOT/home/ada if that is the user's. So a relative path is the same
in both places, and an absolute one differs by ROOT alone, which no other text has. Files of text
that come back have it taken out.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shared.config import Config
from shared.errors import InvalidInput
from shared.system.json_files import CHECKSUM, digest

Data = dict[str, np.ndarray]
"""Absolute path of the user's → bytes of the file."""


def data_files(config: Config) -> tuple[str, ...]:
    """Returns the absolute paths of all files that the data of a configuration is read from.

    Raises:
        InvalidInput: there is nothing at a path.
    """
    given = getattr(config.data, "path", None) or ()
    found: list[str] = []
    for path in (given,) if isinstance(given, str) else given:
        place = os.path.abspath(path)
        if not os.path.exists(place):
            raise InvalidInput(f"--data.path {path}: expected a file or a folder, got none")
        inside = [os.path.join(at, n) for at, _, names in os.walk(place) for n in sorted(names)]
        found += sorted(inside) if os.path.isdir(place) else [place]
    return tuple(found)


def read_data(files: tuple[str, ...]) -> Data:
    """Reads files as they are.

    Raises:
        OSError: one cannot be read.
    """
    return {file: np.frombuffer(Path(file).read_bytes(), np.uint8) for file in files}


def write_data(data: Data, root: str) -> None:
    """Writes the user's files to their places below a root."""
    for path, content in data.items():
        place = at(path, root)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        content.tofile(place)


def at(path: str, root: str) -> str:
    """Returns the place of a path of the user's below a root; a relative path stays as it is."""
    return root + path if os.path.isabs(path) else path


def placed(config: Config, root: str) -> Config:
    """Returns a configuration whose data lies below a root."""
    changed: dict[str, Any] = {}
    path, folder = (getattr(config.data, name, None) for name in ("path", "folder"))
    if isinstance(path, str):
        changed["path"] = at(path, root)
    elif path:
        changed["path"] = tuple(at(one, root) for one in path)
    if folder is not None:
        changed["folder"] = at(folder, root)
    return replace(config, data=replace(config.data, **changed)) if changed else config


def as_the_users(name: str, content: bytes, root: str) -> bytes:
    """Returns a run's file in which all paths are the user's.

    Args:
        name: of the file. Of a signed JSON file, the checksum is that of the result.
    """
    if root.encode() not in content or Path(name).suffix not in (".json", ".md"):
        return content
    if not name.endswith(".json"):
        return content.replace(root.encode(), b"")
    values = _without(json.loads(content), root)
    if CHECKSUM in values:
        del values[CHECKSUM]
        values[CHECKSUM] = digest(values)
    return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _without(value: Any, root: str) -> Any:
    if isinstance(value, str):
        return value.replace(root, "")
    if isinstance(value, Mapping):
        return {key: _without(one, root) for key, one in value.items()}  # pyright: ignore
    if isinstance(value, list):
        return [_without(one, root) for one in value]  # pyright: ignore
    return value
