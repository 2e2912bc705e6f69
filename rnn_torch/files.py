"""Recurrent layers in files of torch.save, read without running anything that is in them."""

import io
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch

from rnn_torch.beside import ALLOWED, Array
from rnn_torch.exchange import to_numpy, to_tensor
from shared.errors import InvalidInput
from shared.protocol.state_dict import is_recurrent
from shared.protocol.weights import Weights
from shared.system.files import write_atomically

_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")
"""Names under which checkpoints commonly hold the weights."""


def read_torch(path: Path) -> tuple[Weights, list[str]]:
    """Returns the recurrent tensors in a file, and the names of the others. Dicts in dicts, such as
    {"state_dict": …}, give names with dots. What commonly lies beside the weights is passed over
    (`rnn_torch/beside.py`).

    Raises:
        InvalidInput: it is missing, damaged, or holds other objects than these; the message names
            the first, and how to get the state dict out of the file.
    """
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(ALLOWED):
            warnings.simplefilter("ignore")  # of pickle's protocols; what matters is refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from error
    except OSError as error:
        raise InvalidInput(f"{path}: expected a state dict, got: {error.strerror}") from error
    except Exception as error:  # damaged bytes make torch.load fail in any way
        got = "a damaged one or another file"
        raise InvalidInput(f"{path}: expected a file of torch.save, got {got}") from error
    try:
        flat = list(_flat(content, ""))
    except RecursionError as error:
        raise InvalidInput(
            f"{path}: expected a state dict, got dicts in dicts without end"
        ) from error
    tensors: dict[str, torch.Tensor | Array] = {}
    for name, tensor in flat:
        if name in tensors:
            raise InvalidInput(f"{path}: expected names of tensors to differ, got {name} twice")
        tensors[name] = tensor
    recurrent: Weights = {}
    for name, tensor in tensors.items():
        if is_recurrent(name):
            recurrent[name] = _plain(path, name, tensor)
    return recurrent, [name for name in tensors if name not in recurrent]


def write_torch(path: Path, tensors: Weights) -> None:
    """Writes a state dict as torch.save does; until it is complete, the old file stays."""
    content = io.BytesIO()
    torch.save({name: to_tensor(array) for name, array in tensors.items()}, content)
    write_atomically(path, content.getvalue())


def _plain(path: Path, name: str, tensor: torch.Tensor | Array) -> np.ndarray:
    if isinstance(tensor, Array):
        if (array := tensor.read()) is None:
            raise InvalidInput(f"{path}: {name}: expected plain values, got another array of NumPy")
        return array
    try:
        return to_numpy(tensor)
    except (TypeError, RuntimeError, NotImplementedError) as error:  # sparse, quantised, …
        kind = f"{tensor.layout}, {tensor.dtype}, on {tensor.device}"
        raise InvalidInput(f"{path}: {name}: expected plain values, got {kind}") from error


def _flat(content: Any, prefix: str) -> Iterator[tuple[str, torch.Tensor | Array]]:
    if isinstance(content, (torch.Tensor, Array)):
        yield prefix, content
        return
    branches: Any = ()
    if isinstance(content, Mapping):
        branches = content.items()
    elif isinstance(content, (list, tuple)):
        branches = enumerate(content)
    for name, value in branches:
        yield from _flat(value, f"{prefix}.{name}" if prefix else str(name))


class _Pickle(NamedTuple):
    """What the pickle in a file says, without running it."""

    whole: bool
    """True if the outermost object is of a class, not a dict or list."""
    texts: set[str]
    classes: list[str]


def _refusal(path: Path, said: str) -> InvalidInput:
    """Returns the error for what torch refuses, with the lines that save the state dict alone."""
    named = re.search(r"GLOBAL (\S+)", said)
    if named is None:
        got = "another file"
        if "Unsupported operand" in said:
            got = "one of another pickle protocol than torch.save's own, 2"
        elif "DTensor" in said:
            got = "one with distributed tensors; tensor.full_tensor() makes each of them whole"
        return InvalidInput(f"{path}: expected a state dict, tensors alone, got {got}")
    found = _scan(path)
    module = {"_parameters", "_buffers", "_modules"} <= found.texts
    got = f"one that would run {named[1]}"
    if module and found.whole:
        name = found.classes[0] if found.classes else named[1]
        got = f"a whole module ({name}), which would run code"
    elif module:
        got = f"one with a whole module in it ({named[1]}), which would run code"
    state = _lone_state(found, module)
    return InvalidInput(
        f"{path}: expected a state dict, tensors alone, got {got}; if you trust the file, for this "
        f'runs it, save the state dict alone: content = torch.load("{path.name}", '
        f'map_location="cpu", weights_only=False); torch.save({state}, "weights.pt")'
    )


def _lone_state(found: _Pickle, module: bool) -> str:
    """Returns the code of a state dict in `content`, without what lies beside it."""
    if found.whole:
        return "content.state_dict()"
    key = next((key for key in _KEYS if key in found.texts), "")
    if key:
        return f'content["{key}"]' + ".state_dict()" * (module and "state" not in key)
    if module:
        return "next(m for m in content.values() if isinstance(m, torch.nn.Module)).state_dict()"
    return "{name: t for name, t in content.items() if isinstance(t, torch.Tensor)}"


def _scan(path: Path) -> _Pickle:
    """Reads the pickle of a file of torch.save as text."""
    archived = zipfile.is_zipfile(path)
    texts: set[str] = set()
    classes: list[str] = []
    first = ""
    # Damaged bytes end it anyhow; what was read until there is enough for a message.
    with suppress(Exception), ExitStack() as opened:
        stream: IO[bytes] = opened.enter_context(open(path, "rb"))
        if archived:
            archive = opened.enter_context(zipfile.ZipFile(path))
            name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            stream = opened.enter_context(archive.open(name))
        # An old file has several pickles: a magic number, a version, the machine, the content.
        while not classes and not texts & set(_KEYS):
            first = ""
            for code, value, _ in pickletools.genops(stream):
                first = first or code.name * (code.name != "PROTO")
                if code.name == "GLOBAL":
                    classes.append(str(value).replace(" ", "."))
                elif isinstance(value, str):
                    texts.add(value)
    if not archived:
        texts.discard("module")  # which stands before each class in an old file
    outer = first == "GLOBAL" and classes[:1] != ["collections.OrderedDict"]
    return _Pickle(outer or first == "MARK", texts, classes)
