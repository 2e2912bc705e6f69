"""Recurrent layers in files of torch.save, read without running anything that is in them."""

import io
import pickle
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from rnn_torch.exchange import to_numpy, to_tensor
from shared.errors import InvalidInput
from shared.protocol.state_dict import is_recurrent
from shared.protocol.weights import Weights
from shared.system.files import write_atomically


def read_torch(path: Path) -> tuple[Weights, list[str]]:
    """Returns the recurrent tensors in a file, and the names of the others. Dicts in dicts, such as
    {"state_dict": …}, give names with dots.

    Raises:
        InvalidInput: it is missing, damaged, or holds other objects than tensors and plain values.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle's protocols; what matters is refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        got = f"one that would run {named[1]}" if named else "another file"
        raise InvalidInput(f"{path}: expected a state dict, tensors alone, got {got}") from error
    except OSError as error:
        raise InvalidInput(f"{path}: expected a state dict, got: {error.strerror}") from error
    except Exception as error:  # damaged bytes make torch.load fail in any way
        got = "a damaged one or another file"
        raise InvalidInput(f"{path}: expected a file of torch.save, got {got}") from error
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in _flat(content, ""):
        if name in tensors:
            raise InvalidInput(f"{path}: expected names of tensors to differ, got {name} twice")
        tensors[name] = tensor
    recurrent = {}
    for name, tensor in tensors.items():
        if is_recurrent(name):
            try:
                recurrent[name] = to_numpy(tensor)
            except (TypeError, RuntimeError, NotImplementedError) as error:  # sparse, quantised, …
                kind = f"{tensor.layout}, {tensor.dtype}, on {tensor.device}"
                raise InvalidInput(f"{path}: {name}: expected plain values, got {kind}") from error
    return recurrent, [name for name in tensors if name not in recurrent]


def write_torch(path: Path, tensors: Weights) -> None:
    """Writes a state dict as torch.save does; until it is complete, the old file stays."""
    content = io.BytesIO()
    torch.save({name: to_tensor(array) for name, array in tensors.items()}, content)
    write_atomically(path, content.getvalue())


def _flat(content: Any, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(content, torch.Tensor):
        yield prefix, content
    elif isinstance(content, dict):
        for name, value in content.items():
            yield from _flat(value, f"{prefix}.{name}" if prefix else str(name))
