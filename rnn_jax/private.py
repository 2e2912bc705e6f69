"""Parts of JAX and Flax that they do not promise to keep, gathered here: what random draws are
noticed by.

`jax.random` checks arguments in public functions, which a program may have imported under any name,
and draws in functions that these look up at each call: `bernoulli` in `_bernoulli`. Only there can
a draw be noticed whoever calls.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from flax.core import axes_scan, lift
from jax.extend.core import jaxpr_as_fun

from shared.errors import InvalidInput

INNER: dict[str, Any] = inspect.unwrap(jax.random.uniform).__globals__
"""Functions of JAX's own by name, as those of jax.random look them up."""
_LOOPS: dict[str, Any] = inspect.unwrap(jax.lax.scan).__globals__


@contextmanager
def replaced(
    needed: Mapping[str, Callable[..., Any]], others: Mapping[str, Callable[..., Any]]
) -> Iterator[None]:
    """Puts functions in place of those that draw, for the time of the context. Each gets JAX's own
    as its first argument.

    Args:
        needed: by their names in JAX.
        others: the same; one that JAX lacks is left out.

    Raises:
        InvalidInput: JAX lacks one that is needed.
    """
    missing = [name for name in needed if not callable(INNER.get(name))]
    if missing:
        raise InvalidInput(
            "dropout: expected a release of JAX whose draws can be noticed, got "
            f"{jax.__version__}, whose jax.random lacks {', '.join(missing)}: switch dropout off"
        )
    functions = {name: f for name, f in {**others, **needed}.items() if name in INNER}
    before = {name: INNER[name] for name in functions}
    INNER.update({name: partial(function, before[name]) for name, function in functions.items()})
    try:
        yield
    finally:
        INNER.update(before)


@contextmanager
def loops_of_linen_traced(quiet: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Lets the loops of flax.linen trace their bodies once, under `jax.disable_jit` too. Linen
    counts keys in Python: if that executes each step, each has keys of its own, also where the
    module asks for the same ones in all steps.

    Args:
        quiet: inside of it linen looks at a body whose draws it throws away.
    """

    def looked_at(*args: Any, **kwargs: Any) -> Any:
        with quiet():
            return look(*args, **kwargs)

    loops = {name: partial(_traced, getattr(jax.lax, name)) for name in ("scan", "while_loop")}
    lax = _Changed(jax.lax, loops)
    evaluation: Any = vars(axes_scan)["pe"]
    look = evaluation.trace_to_jaxpr_nounits
    names = [
        (axes_scan, "lax", lax),
        (axes_scan, "pe", _Changed(evaluation, {"trace_to_jaxpr_nounits": looked_at})),
        (lift, "jax", _Changed(jax, {"lax": lax})),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in names]
    for place in names:
        setattr(*place)
    try:
        yield
    finally:
        for place in before:
            setattr(*place)


def _traced(loop: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    config = _LOOPS["config"]
    _LOOPS["config"] = _Changed(config, {"disable_jit": SimpleNamespace(value=False)})
    try:
        return loop(*args, **kwargs)
    finally:
        _LOOPS["config"] = config


class _Changed:
    """A module or object as it is, but for some attributes."""

    def __init__(self, original: Any, changes: Mapping[str, Any]):
        self._original = original
        self.__dict__.update(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def run_scan(_: Any, __: Any, *args: Any, **how: Any) -> list[Any]:
    """Executes a scan step by step, in place of the loop that JAX would compile."""
    step, first, last = jaxpr_as_fun(how["jaxpr"]), how["num_consts"], how["num_carry"]
    constants, carry, given = args[:first], list(args[first : first + last]), args[first + last :]
    stacked: list[list[Any]] = [[] for _ in how["jaxpr"].out_avals[last:]]
    steps = range(how["length"])
    for i in reversed(steps) if how["reverse"] else steps:
        outputs = step(*constants, *carry, *(x[i] for x in given))
        carry = outputs[:last]
        for found, output in zip(stacked, outputs[last:], strict=True):
            found.append(output)
    if how["reverse"]:
        stacked = [found[::-1] for found in stacked]
    avals = how["jaxpr"].out_avals[last:]
    empty = (jnp.zeros((0, *aval.shape), aval.dtype) for aval in avals)
    return [*carry, *(jnp.stack(s) if s else e for s, e in zip(stacked, empty, strict=True))]


def run_while(_: Any, __: Any, *args: Any, **how: Any) -> list[Any]:
    """Executes a while loop step by step, in place of the loop that JAX would compile."""
    first, last = how["cond_nconsts"], how["cond_nconsts"] + how["body_nconsts"]
    goes_on, step = jaxpr_as_fun(how["cond_jaxpr"]), jaxpr_as_fun(how["body_jaxpr"])
    carry = list(args[last:])
    while goes_on(*args[:first], *carry)[0].any():
        carry = step(*args[first:last], *carry)
    return carry
