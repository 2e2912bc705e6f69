"""What the submodules of a model are given and return, call by call.

def loss(...):                          # traced by jax.jit, jax.value_and_grad, …
    model = nnx.merge(…)                # a copy
    with captured(model) as calls:
        outputs = model(x)
    return …, calls                     # a pytree of arrays, as auxiliary output
"""

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from jax.extend.core import get_opaque_trace_state

from rnn_jax.arrays import dotted, walk
from shared.protocol.nests import below, children
from shared.protocol.program import Call


class _Recording:
    """The calls so far, and the trace in which they are recorded."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.counts: Counter[str] = Counter()
        self.trace = _trace()


_RECORDING: ContextVar[_Recording | None] = ContextVar("recording", default=None)
_RUNNING: ContextVar[str] = ContextVar("running", default="")
_PATH = "_pytree__path"
"""Where a module keeps its path, which its copies inside of a scan then have, too. nnx does not
show attributes that begin so, and keeps what is no array out of a module's state."""
_KIND = "_pytree__recorded"
"""Where a class of ours keeps the class that it stands for."""


@contextmanager
def captured(model: Any) -> Iterator[list[Call]]:
    """Records every call of a model and of its submodules, in the order in which they end: an inner
    one before the outer one. What is computed stays the same, bit for bit.

    Inputs are called `inputs.0`, `inputs.mask`, … by position or keyword, outputs `outputs`,
    `outputs.0`, `outputs.1.0`, …. What is no array is left out. Values inside of a scan, vmap, jit
    or remat of the model's own cannot be had outside of it: a path there has one call, without
    inputs and outputs.

    Args:
        model: an `nnx.Module`, which should be a copy: for the time of the context its submodules
            are of subclasses of their classes. A module with several paths has the first. For
            anything else the `flax.linen` modules that are applied meanwhile are recorded, with
            their paths below the one that is applied.
    """
    recording = _Recording()
    active, running = _RECORDING.set(recording), _RUNNING.set("")
    try:
        if isinstance(model, nnx.Module):
            with _recorders(model):
                yield recording.calls
        else:
            with linen.intercept_methods(_intercept):
                yield recording.calls
    finally:
        _RUNNING.reset(running)
        _RECORDING.reset(active)


def current() -> str:
    """Returns the path of the innermost module that is running inside of `captured`, also in a
    scan. The whole model's is empty, as is that of none."""
    return _RUNNING.get()


def kinds(model: Any) -> dict[str, str]:
    """Returns the class of each submodule of an `nnx.Module`, by path; nothing for a function."""
    if not isinstance(model, nnx.Module):
        return {}
    found = _modules(model)
    return {path: type(module).__name__ for path, module in found.items()}


def _flatten(call: Call) -> tuple[tuple, tuple]:
    children = *call.inputs.values(), *call.outputs.values()
    return children, (call.path, call.number, tuple(call.inputs), tuple(call.outputs))


def _unflatten(kept: tuple, arrays: Any) -> Call:
    path, number, inputs, outputs = kept
    values = tuple(arrays)
    given = dict(zip(inputs, values, strict=False))
    returned = dict(zip(outputs, values[len(inputs) :], strict=True))
    return Call(path, number, given, returned)


# Its arrays are leaves, its path and number are not: a compiled function can return it.
jax.tree_util.register_pytree_node(Call, _flatten, _unflatten)


# Modules of nnx ---------------------------------------------------------------------------------


@contextmanager
def _recorders(model: nnx.Module) -> Iterator[None]:
    try:
        for path, module in _modules(model).items():
            if any("__call__" in vars(base) for base in type(module).__mro__):
                vars(module)[_PATH] = path
                # Not by the module's own way to set attributes, which may refuse or note it.
                object.__setattr__(module, "__class__", _recorder(type(module)))
        yield
    finally:
        for module in _modules(model).values():  # also those that came meanwhile
            vars(module).pop(_PATH, None)
            if _KIND in vars(type(module)):
                object.__setattr__(module, "__class__", vars(type(module))[_KIND])


@functools.cache
def _recorder(kind: type) -> type:
    """Returns a subclass that looks like the class and records its calls."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        function = super(ours, self).__call__
        return _recorded(vars(self).get(_PATH), function, args, kwargs)

    original = inspect.getattr_static(kind, "__call__")
    # The signature stays: nnx.Sequential looks at it.
    functools.update_wrapper(call, original, updated=())
    names = ("__module__", "__qualname__", "__doc__")
    space = {name: getattr(kind, name) for name in names} | {"__call__": call, _KIND: kind}
    make: Any = type(kind)
    # Not made as a subclass, since the user's class may count these, or refuse them.
    ours = make(kind.__name__, (nnx.Module,), space, pytree=False)
    ours.__bases__ = (kind,)
    del ours._pytree__nodes, ours._pytree__is_pytree  # those of the user's class instead
    if ours._pytree__is_pytree:
        jax.tree_util.register_pytree_with_keys(
            ours,
            flatten_with_keys=ours._pytree__flatten_with_paths,
            unflatten_func=ours._pytree__unflatten,
            flatten_func=ours._pytree__flatten,
        )
    return ours


def _modules(model: nnx.Module) -> dict[str, nnx.Module]:
    seen: set[int] = set()
    found: dict[str, nnx.Module] = {}
    for path, node in walk(model):
        if isinstance(node, nnx.Module) and id(node) not in seen:
            seen.add(id(node))
            found[dotted(path)] = node
    return found


# Modules of linen -------------------------------------------------------------------------------


def _intercept(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
    if context.method_name != "__call__":
        return call(*args, **kwargs)
    return _recorded(dotted(context.module.path), call, args, kwargs)


# A call -----------------------------------------------------------------------------------------


def _recorded(path: str | None, call: Callable, args: tuple, kwargs: dict) -> Any:
    recording = _RECORDING.get()
    if recording is None or path is None:
        return call(*args, **kwargs)
    here = recording.trace == _trace()
    recording.counts[path] += 1
    number = recording.counts[path]
    inputs = _arrays("inputs", dict(enumerate(args)) | kwargs) if here else {}
    running = _RUNNING.set(path)
    try:
        outputs = call(*args, **kwargs)
    finally:
        _RUNNING.reset(running)
    if here:
        recording.calls.append(Call(path, number, inputs, _arrays("outputs", outputs)))
    elif number == 1:  # how often such a body is traced says nothing
        recording.calls.append(Call(path, 1, {}, {}))
    return outputs


def _trace() -> Any:
    """Returns what tells one trace from another: values of an inner one must not leave it."""
    return get_opaque_trace_state(convention="flax")


def _arrays(name: str, value: Any) -> dict[str, Any]:
    """Returns the arrays of a nest by name."""
    if isinstance(value, nnx.Variable):
        value = value.get_value()
    if isinstance(value, (jax.Array, np.ndarray)):
        key = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
        return {} if key or value.dtype.kind in "OUSM" else {name: value}
    found: dict[str, Any] = {}
    if isinstance(value, nnx.Pytree):  # a module may be a dataclass
        return found
    for key, part in children(value) or ():
        found |= _arrays(below(name, key), part)
    return found
