"""Trees of arrays in files of Flax (msgpack) and folders of Orbax, read and written as NumPy
arrays."""

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization

from shared.errors import InvalidInput
from shared.protocol.weights import Weights
from shared.system.files import brief, write_atomically
from shared.system.folders import written_beside

_IN_A_LIST = 1
_EMPTY: dict[str, Any] = {"Dict": {}, "List": [], "None": None}
"""What Orbax stores of branches without leaves."""


def read_msgpack(path: Path, wanted: Callable[[str], bool]) -> tuple[Weights, list[str]]:
    """Reads a file of `flax.serialization.to_bytes`.

    Args:
        wanted: which arrays to return, by name: "params.lstm.ii.kernel".

    Returns:
        Name → array, and the names of the other arrays.

    Raises:
        InvalidInput: it is missing, damaged or another file.
    """
    try:
        content = serialization.msgpack_restore(path.read_bytes())
        leaves = jax.tree_util.tree_leaves_with_path(content)
    except Exception as error:  # damaged bytes make it fail in any way
        got = f"a damaged one or another file: {brief(error)}"
        raise InvalidInput(f"{path}: expected a msgpack file of Flax, got {got}") from error
    named = [
        (_name([str(getattr(step, "key", getattr(step, "idx", step))) for step in place]), leaf)
        for place, leaf in leaves
    ]
    return _sorted_out(path, named, wanted)


def read_orbax(path: Path, wanted: Callable[[str], bool]) -> tuple[Weights, list[str]]:
    """Reads a folder of Orbax, only the arrays that are wanted, wherever they were sharded.

    Args:
        wanted: which arrays to return, by name: "params.lstm.ii.kernel".

    Returns:
        Name → array, and the names of the other arrays.

    Raises:
        InvalidInput: it is damaged or another folder.
    """
    try:
        # Not reader.metadata, which opens all arrays at once: each of a damaged folder beside the
        # first would print a traceback of its own.
        leaves = json.loads((path / "_METADATA").read_text())["tree_metadata"].values()
        places = [[(str(s["key"]), s["key_type"]) for s in one["key_metadata"]] for one in leaves]
        kinds = [one["value_metadata"]["value_type"] for one in leaves]
        names = [_name([key for key, _ in place]) for place in places]
        found: list[tuple[str, Any]] = []
        with ocp.PyTreeCheckpointer() as reader:
            for number, (name, kind) in enumerate(zip(names, kinds, strict=True)):
                if wanted(name) and kind not in _EMPTY:
                    found.append((name, _one_leaf(reader, path, places, kinds, number)))
                elif kind not in _EMPTY:
                    found.append((name, None))
    except Exception as error:  # what is missing or damaged makes it fail in any way
        got = f"a damaged one or another: {brief(error)}"
        raise InvalidInput(f"{path}: expected a folder of Orbax, got {got}") from error
    return _sorted_out(path, found, wanted)


def _one_leaf(
    reader: ocp.Checkpointer,
    path: Path,
    places: Sequence[Sequence[tuple[str, int]]],
    kinds: Sequence[str],
    number: int,
) -> np.ndarray:
    """Returns one array of a folder.

    Args:
        places: of all leaves, each key with its kind: 1 for a list's.
        kinds: of all leaves, as Orbax calls them.
    """
    array, nothing = ocp.RestoreArgs(restore_type=np.ndarray), ocp.RestoreArgs()
    items = [_EMPTY.get(kind, ocp.PLACEHOLDER) for kind in kinds]
    arguments = [_EMPTY.get(kind, nothing) for kind in kinds]
    items[number], arguments[number] = 0, array
    request = ocp.args.PyTreeRestore(
        item=_nested(places, items), restore_args=_nested(places, arguments)
    )
    leaf = reader.restore(path.absolute(), args=request)
    for key, kind in places[number]:
        leaf = leaf[int(key) if kind == _IN_A_LIST else key]
    return leaf


def _nested(places: Sequence[Sequence[tuple[str, int]]], leaves: Sequence[Any]) -> Any:
    """Returns leaves in dicts and lists as their places say."""
    tree: dict[str, Any] = {}
    lists: list[tuple[dict[str, Any], str]] = []
    for place, leaf in zip(places, leaves, strict=True):
        branch = tree
        for (key, _), (_, kind) in pairwise(place):
            if key not in branch and kind == _IN_A_LIST:
                lists.append((branch, key))
            branch = branch.setdefault(key, {})
        branch[place[-1][0]] = leaf
    for branch, key in reversed(lists):  # the inner ones first
        branch[key] = [branch[key][number] for number in sorted(branch[key], key=int)]
    return tree


def write_msgpack(path: Path, tensors: Weights) -> None:
    """Writes a tree as `flax.serialization.to_bytes` does; until it is complete, the old file
    stays. Dots in the names are the tree's branches."""
    write_atomically(path, serialization.msgpack_serialize(_tree(tensors)))


def write_orbax(path: Path, tensors: Weights) -> None:
    """Writes a folder of Orbax; until it is complete, the old folder stays."""
    with written_beside(path) as folder, ocp.PyTreeCheckpointer() as writer:
        writer.save(folder.absolute(), _tree(tensors))


def _sorted_out(
    path: Path, leaves: Iterable[tuple[str, Any]], wanted: Callable[[str], bool]
) -> tuple[Weights, list[str]]:
    """Returns the arrays that are wanted, and the names of all others."""
    arrays: Weights = {}
    others: list[str] = []
    for name, leaf in leaves:
        if not wanted(name):
            others.append(name)
        elif isinstance(leaf, np.ndarray) and name not in arrays:
            arrays[name] = leaf
        else:
            raise InvalidInput(f"{path}: {name}: expected one array, got {type(leaf).__name__}")
    return arrays, others


def _name(steps: Sequence[str]) -> str:
    """Returns the branches of a leaf, joined by dots. An nnx state has its arrays as `value`."""
    return ".".join(steps[:-1] if steps[-1:] == ["value"] else steps)


def _tree(tensors: Weights) -> dict[str, Any]:
    """Returns nested dicts; a name's dots and slashes are the branches."""
    tree: dict[str, Any] = {}
    for name, array in tensors.items():
        *branches, leaf = name.replace("/", ".").split(".")
        place = tree
        for branch in branches:
            place = place.setdefault(branch, {})
        place[leaf] = np.asarray(array, order="C")
    return tree
