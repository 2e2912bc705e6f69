"""Finds where a computation in float64 becomes one in less, by the line of the user's code; and
sets subnormal numbers to count as zero, as they do in JAX on CPUs."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import torch

from rnn_torch import private

LIBRARIES = tuple(str(Path(file).parent) for file in (torch.__file__, jaxtyping.__file__, __file__))
"""Places of code that is not the user's: functions of torch, and wrappers of functions."""


@contextmanager
def narrowings() -> Iterator[list[str]]:
    """Notes where in its context an operation makes less of float64: "float32 inside float64: …".
    Where torch does not show its operations, the list says that nobody looked."""
    if private.DispatchMode is None or private.tree_leaves is None:
        yield [
            f"nobody looked for float32 inside float64: torch lacks {', '.join(private.MISSING)}"
        ]
        return
    with _Narrowings() as noted:
        yield noted.places


class _Narrowings(private.DispatchMode or object):  # pyright: ignore[reportGeneralTypeIssues]
    """A mode that sees operations, not functions: an assignment to a part of a tensor is an
    operation, too, and returns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rounded = _rounded((args, kwargs))  # before an operation writes into it
        result = func(*args, **(kwargs or {}))
        given = _precisions((args, kwargs))
        if torch.float64 in given:
            less = _precisions(result) - {torch.float64}
            less |= rounded if torch.float64 in _precisions(result) else set()
            self.places += [
                f"{str(dtype).removeprefix('torch.')} inside float64: {_source()}" for dtype in less
            ]
        return result


def _precisions(values: Any) -> set[torch.dtype]:
    tensors = (one for one in private.tree_leaves(values) if torch.is_tensor(one))
    return {tensor.dtype for tensor in tensors if tensor.is_floating_point()}


def _rounded(values: Any) -> set[torch.dtype]:
    """Returns in which precisions below float64 there are numbers, but for integers: these are the
    same in all, as far as they go."""
    tensors = (one for one in private.tree_leaves(values) if torch.is_tensor(one))
    return {
        one.dtype
        for one in tensors
        if one.is_floating_point() and one.dtype != torch.float64 and not _whole(one)
    }


def _whole(tensor: Any) -> bool:
    return bool((tensor.detach() == tensor.detach().round()).all())


def _source() -> str:
    frames = traceback.extract_stack()
    users = [frame for frame in frames if not frame.filename.startswith(LIBRARIES)]
    frame = (users or frames)[-1]
    return f"{frame.filename}:{frame.lineno} ({frame.name})"


@contextmanager
def subnormals_flushed() -> Iterator[None]:
    """Counts subnormal numbers as zero inside. The setting is the thread's, so NumPy's too, and is
    put back afterwards."""
    tiny = np.array(np.finfo(np.float64).tiny)
    before = bool(tiny * 0.5 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
