"""Where a computation in float64 becomes one in float32, by the line of the user's code; and
subnormal numbers, which count as zero as they do in JAX on CPUs."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import torch
from torch.overrides import TorchFunctionMode

LIBRARIES = tuple(str(Path(file).parent) for file in (torch.__file__, jaxtyping.__file__, __file__))
"""Where the code lies that is not the user's: functions of torch, and wrappers of functions."""


class Narrowings(TorchFunctionMode):
    """Notes where in its context a function of torch makes float32 of float64."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if torch.is_tensor(result) and result.dtype == torch.float32:
            given = [*args, *(kwargs or {}).values()]
            if any(torch.is_tensor(one) and one.dtype == torch.float64 for one in given):
                self.places.append(_source())
        return result


def _source() -> str:
    frames = traceback.extract_stack()
    users = [frame for frame in frames if not frame.filename.startswith(LIBRARIES)]
    frame = (users or frames)[-1]
    return f"{frame.filename}:{frame.lineno} ({frame.name})"


@contextmanager
def subnormals_flushed() -> Iterator[None]:
    """The setting is the thread's, so NumPy's too, and is put back afterwards."""
    tiny = np.array(np.finfo(np.float64).tiny)
    before = bool(tiny * 0.5 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
