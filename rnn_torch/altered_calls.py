"""What alterations are made of: functions of torch that do something else while a module runs."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import fields, is_dataclass, replace
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.overrides import TorchFunctionMode

Replacement = Callable[[Callable[..., Any], tuple, dict[str, Any]], Any]
"""(function, args, kwargs) → what is returned in place of function(*args, **kwargs)."""
Replaced = Mapping[Callable[..., Any], Replacement]
Start = Callable[[nn.Module, ExitStack], Replaced]
"""Registers hooks on a module, what removes them on the stack, and returns functions that do
something else."""


class _Noting(TorchFunctionMode):
    """Notes by name which functions are called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Any] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen[getattr(func, "__name__", "")] = func
        return func(*args, **(kwargs or {}))


def _packing() -> tuple[Any, Any]:
    """Returns the functions that those of torch.nn.utils.rnn call in turn, which have no public
    name."""
    with _Noting() as noting:
        pad_packed_sequence(pack_padded_sequence(torch.zeros(1, 1, 1), torch.ones(1)))
    return noting.seen["_pack_padded_sequence"], noting.seen["_pad_packed_sequence"]


PACK, PAD = _packing()
"""What torch's pack_padded_sequence and pad_packed_sequence call."""


class Try(NamedTuple):
    """One alteration and how it begins."""

    name: str
    about: str
    phases: tuple[str, ...]
    start: Start
    path: str | None = None
    """The submodule to which it is confined; None: all, and the loss."""


class Calls(TorchFunctionMode):
    """While it is active, functions of torch are replaced. What they call themselves is not."""

    def __init__(self, replaced: Replaced, running: list[int] | None):
        super().__init__()
        self.replaced, self.running = replaced, running

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        replacement = self.replaced.get(func)
        elsewhere = self.running == [] and func not in (PACK, PAD)  # which frame a layer's call
        if replacement is None or elsewhere:
            return func(*args, **(kwargs or {}))
        return replacement(func, args, kwargs or {})


def calls(replaced: Replaced) -> Start:
    """Returns the start of an alteration that needs no hooks."""
    return lambda module, stack: replaced


def arguments(change: Callable[[dict[str, Any]], Any]) -> Replacement:
    """Calls a function, written in Python, with changed arguments.

    Args:
        change: writes into the arguments by name, defaults included.
    """

    def replacement(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        change(bound.arguments)
        return function(*bound.args, **bound.kwargs)

    return replacement


def given(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a function, written in Python, by name."""
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def in_modules(one: Try, paths: Iterable[str]) -> Iterator[Try]:
    """Yields an alteration everywhere, and if several modules have to do with it, in each alone."""
    yield one
    paths = list(paths)
    for path in paths if len(paths) > 1 else ():
        yield one._replace(
            name=f"{one.name}:{path}", about=f"{one.about}, in {path} alone", path=path
        )


def paths_of(module: nn.Module, kinds: type | tuple[type, ...]) -> list[str]:
    return [path for path, part in module.named_modules() if isinstance(part, kinds)]


def confined(module: nn.Module, path: str, stack: ExitStack) -> list[int]:
    """Returns a list that has elements while a submodule runs."""
    running: list[int] = []
    part = module.get_submodule(path)

    def begin(*_: Any) -> None:
        running.append(1)

    def end(*_: Any) -> None:
        running.pop()

    stack.callback(part.register_forward_pre_hook(begin, prepend=True).remove)
    stack.callback(part.register_forward_hook(end, always_call=True).remove)
    return running


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Changes every tensor in a nesting of tuples, lists, dicts, named tuples and dataclasses."""
    if torch.is_tensor(value):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(part, change) for part in value))
    if isinstance(value, (tuple, list)):
        return type(value)(mapped(part, change) for part in value)
    if isinstance(value, dict):
        copied = value.copy()
        copied.update((key, mapped(part, change)) for key, part in value.items())
        return copied
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: mapped(getattr(value, f.name), change) for f in fields(value) if f.init}
        return replace(value, **parts)
    return value


# What a module's own code mentions ------------------------------------------------------------


def mentioned(module: nn.Module) -> set[str]:
    """Returns the names of functions and attributes in the code of a module's own classes, of the
    functions that it holds, and of those of the same files that these call."""
    names: set[str] = set()
    seen: set[int] = set()
    for part in module.modules():
        for one in type(part).__mro__:
            if not _library(one.__module__):
                for value in vars(one).values():
                    _collect(value, names, seen)
        for value in vars(part).values():
            if callable(value):
                _collect(value, names, seen)
    return names


def _collect(value: Any, names: set[str], seen: set[int]) -> None:
    value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    if isinstance(value, FunctionType) and not _library(value.__module__):
        if id(value) in seen:
            return
        seen.add(id(value))
        own = _names(value.__code__)
        names |= own
        for name in own & value.__globals__.keys():
            _collect(value.__globals__[name], names, seen)
        for cell in value.__closure__ or ():
            _collect(cell.cell_contents, names, seen)
    elif callable(value) and not isinstance(value, (type, nn.Module)):
        names.add(getattr(value, "__name__", ""))


def _names(code: CodeType) -> set[str]:
    inner = [_names(const) for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*inner)


def _library(name: str | None) -> bool:
    return (name or "builtins").partition(".")[0] in ("torch", "builtins", "collections", "abc")
