"""What the submodules of a module are given and return, call by call.

with captured(module) as calls:
    module(x)
calls[0].path, calls[0].outputs["outputs"]
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from shared.protocol.nests import below, children
from shared.protocol.program import Call


class _Running(NamedTuple):
    """A call that has begun."""

    path: str
    number: int
    inputs: Mapping[str, Tensor]


_RUNNING: list[_Running] = []
"""Innermost last."""


@contextmanager
def captured(module: nn.Module) -> Iterator[list[Call]]:
    """Records every call of the module and of its submodules, in the order in which they end: an
    inner one before the outer one. What is computed stays the same, bit for bit.

    Inputs are called `inputs.0`, `inputs.mask`, … by position or keyword, outputs `outputs`,
    `outputs.0`, `outputs.1.0`, …. What is no tensor is left out. A packed sequence is its data,
    `outputs.0.padded` (batch first), and its `outputs.0.lengths`. All are copies without gradients.

    Ends before the backward pass, in which checkpointed modules are called again. Without gradients
    and in evaluation mode PyTorch computes a transformer in another way if it has hooks, and these
    are some: call it with gradients there.

    Args:
        module: gets hooks for the time of the context, so a copy is better. A module with several
            paths has the first. One that was compiled by torch.jit is left out.
    """
    calls: list[Call] = []
    counts: Counter[str] = Counter()
    depth = len(_RUNNING)
    handles = []
    try:
        for path, part in module.named_modules():
            if isinstance(part, torch.jit.ScriptModule):  # which takes no hooks
                continue
            before, after = _hooks(path, calls, counts)
            handles.append(part.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(part.register_forward_hook(after, with_kwargs=True))
        yield calls
    finally:
        for handle in handles:
            handle.remove()
        del _RUNNING[depth:]


def current() -> str:
    """Returns the path of the innermost module that is running inside of `captured`. The whole
    module's is empty, as is that of none."""
    return _RUNNING[-1].path if _RUNNING else ""


def kinds(module: nn.Module) -> dict[str, str]:
    """Returns the class of each submodule, by path."""
    return {path: type(part).__name__ for path, part in module.named_modules()}


def _hooks(path: str, calls: list[Call], counts: Counter[str]) -> tuple[Any, Any]:
    def before(_: nn.Module, args: tuple, kwargs: dict) -> None:
        counts[path] += 1
        # Now, since a module may change what it gets.
        inputs = _tensors("inputs", dict(enumerate(args)) | kwargs)
        _RUNNING.append(_Running(path, counts[path], inputs))

    def after(_: nn.Module, __: tuple, ___: dict, outputs: Any) -> None:
        running = _RUNNING.pop()
        while running.path != path:  # an inner module whose error the model caught
            running = _RUNNING.pop()
        calls.append(Call(path, running.number, running.inputs, _tensors("outputs", outputs)))

    return before, after


def _tensors(name: str, value: Any) -> dict[str, Tensor]:
    """Returns copies of the tensors of a nest by name."""
    if isinstance(value, Tensor):
        return {name: value.detach().clone()}
    if isinstance(value, PackedSequence):
        with torch.no_grad():
            data, lengths = pad_packed_sequence(value, batch_first=True)
        return {below(name, "padded"): data, below(name, "lengths"): lengths}
    found: dict[str, Tensor] = {}
    for key, part in children(value) or ():
        found |= _tensors(below(name, key), part)
    return found
