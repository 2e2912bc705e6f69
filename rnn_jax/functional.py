"""A model as a function of its parameters and its other state, each by their places."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from jax import Array

from rnn_jax.arrays import dotted, everything, keys
from rnn_jax.nests import cast
from rnn_jax.precision import narrowings
from shared.errors import InvalidInput
from shared.protocol.nests import arguments, parts
from shared.protocol.program import calling


class Function(NamedTuple):
    """A model as a function."""

    call: Callable[..., tuple[Any, dict[str, Any]]]
    """(params, rest, inputs, calls) → outputs and the rest afterwards, each by its places. `inputs`
    is a nest (see `shared.protocol.nests.arguments`). A list `calls` is filled with the calls of
    submodules."""
    shapes: dict[str, tuple]
    """Of the parameters."""
    rest: dict[str, Any]
    """Other state, such as the running mean of a normalisation."""
    keys: frozenset[str] = frozenset()
    """Places in the rest that belong to generators of random numbers."""
    strays: Sequence[str] = ()
    """Not empty after a call that changed what is no variable."""


def as_function(model: Any, params: Any, dtype: Any, call: Any = None) -> Function:
    """Returns the model as a function of parameters and other state by their places.

    Args:
        model, params, dtype, call: as for `JaxProgram`.

    Raises:
        InvalidInput: a module of flax.linen, parameters that are not real numbers, or two of them
            in one place.
    """
    if isinstance(model, linen.Module):
        raise InvalidInput(
            f"model: expected a function or an nnx.Module, got {type(model).__name__} of "
            'flax.linen, which `lambda params, x: module.apply({"params": params}, x)` makes one of'
        )
    if isinstance(model, type):
        raise InvalidInput(
            f"model: expected a function or an nnx.Module, got the class {model.__name__}"
        )
    if isinstance(model, nnx.Module):
        return _module_as_function(model, dtype, call)
    if not callable(model):
        raise InvalidInput(
            f"model: expected a function or an nnx.Module, got {type(model).__name__}"
        )
    if call is not None:
        raise InvalidInput("call: expected an nnx.Module to call, got a function")
    if params is None:
        raise InvalidInput("params: expected the pytree of the function's parameters, got None")
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    places = [keys(path) for path, _ in leaves]
    for place, (_, leaf) in zip(places, leaves, strict=True):
        _check_real(place, leaf)
        if places.count(place) > 1:
            raise InvalidInput(f"params: {place}: expected one parameter there, got two")

    def run(values: dict, rest: dict, inputs: Any, calls: list | None = None) -> Any:
        given, named = arguments(inputs)
        tree_of = jax.tree.unflatten(tree, [values[place] for place in places])
        with _capturing(None, calls):
            return model(tree_of, *given, **named), rest

    shapes = {p: np.shape(leaf) for p, (_, leaf) in zip(places, leaves, strict=True)}
    return Function(run, shapes, {})


def _module_as_function(model: nnx.Module, dtype: Any, how: Any) -> Function:
    graph, state, other = nnx.split(model, nnx.Param, ...)
    flat, held = dict(nnx.to_flat_state(state)), dict(nnx.to_flat_state(other))
    # A module may hold arrays as they are, too: constants, which stay as they are.
    variables = {path: v for path, v in held.items() if isinstance(v, nnx.Variable)}
    constants = [(path, array) for path, array in held.items() if path not in variables]
    strays: list[str] = []
    for path, param in flat.items():
        _check_real(dotted(path), param.get_value())

    def run(values: dict, rest: dict, inputs: Any, calls: list | None = None) -> Any:
        found = [(path, nnx.Param(values[dotted(path)])) for path in flat]
        others = [(path, v.replace(rest[dotted(path)])) for path, v in variables.items()]
        states = (nnx.from_flat_state(part) for part in (found, [*others, *constants]))
        merged = nnx.merge(graph, *states, copy=True)
        given, named = arguments(inputs)
        with _capturing(merged, calls):
            outputs = how(merged, *given, **named) if how else merged(*given, **named)
        if not strays and nnx.graphdef(merged) != graph:
            strays.append("a call changes")
        after = dict(nnx.to_flat_state(nnx.state(merged)))
        return outputs, {dotted(path): after[path].get_value() for path in variables}

    rest = {dotted(path): _in(dtype, v.get_value()) for path, v in variables.items()}
    random = (dotted(path) for path, v in variables.items() if isinstance(v, nnx.RngState))
    shapes = {dotted(path): param.shape for path, param in flat.items()}
    return Function(run, shapes, rest, frozenset(random), strays)


@contextmanager
def _capturing(model: Any, calls: list | None) -> Iterator[None]:
    """Fills the list, if there is one, with the calls of submodules."""
    if calls is None:
        yield
        return
    from rnn_jax.captures import captured

    with captured(model) as found:
        yield
    calls += found


def check_without_dropout(model: Any) -> None:
    """Raises InvalidInput if a module draws dropout masks."""
    for path, part in nnx.iter_modules(model) if isinstance(model, nnx.Module) else ():
        if isinstance(part, nnx.Dropout) and part.rate > 0 and not part.deterministic:
            raise InvalidInput(
                f"model: expected dropout to be off (model.eval() or a rate of 0), or "
                f'dropout="replay", since no two frameworks draw the same; got a rate of '
                f"{part.rate} in {dotted(path) or 'it'}"
            )


def _check_real(place: str, leaf: Any) -> None:
    """Refuses a parameter that is not of real numbers: as real numbers it would be the parameter of
    another program."""
    if np.iscomplexobj(leaf):
        raise InvalidInput(f"params: {place}: expected real numbers, got {leaf.dtype}")


def _in(dtype: Any, value: Any) -> Any:
    """Returns a real array in this dtype; what is none stays."""
    real = hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)
    return jnp.asarray(value, dtype) if real else value


def evaluation(
    model: Any, params: Any, inputs: Any, dtype: Any = np.float64
) -> tuple[Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], list[str]]:
    """Returns the function arrays by place → outputs by name, in evaluation mode, and where it
    leaves float64. Places without an array keep what they have. The process keeps its dtypes.

    Args:
        model, params: as for `JaxProgram`; a copy of a module is computed with.
        inputs: what it is called with, a nest of arrays (`shared.protocol.nests.arguments`).
        dtype: in which is computed, float64 or float32.

    Raises:
        InvalidInput: a model that cannot be called so; what is no model.
    """
    double = np.dtype(dtype) == np.float64
    with jax.enable_x64(double):
        if isinstance(model, nnx.Module):
            with calling("ours", "a module that can be copied"):
                model = nnx.clone(model)
            model.eval()
        call, shapes, rest, *_ = as_function(model, params, dtype)
        given = cast(inputs, np.dtype(dtype))
        tree = model if params is None else params
        own = {path: _in(dtype, value) for path, value in everything(tree) if path in shapes}

    def forward(values: dict[str, Array], rest: dict[str, Array]) -> dict[str, Array]:
        with calling("ours"):
            outputs, _ = call(values, rest, given)
        return parts("outputs", outputs, (jax.Array, np.ndarray))

    compiled = jax.jit(forward)

    def evaluate(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with jax.enable_x64(double), jax.default_matmul_precision("highest"):
            cast = {path: np.asarray(array, dtype) for path, array in arrays.items()}
            held = {path: cast.get(path, value) for path, value in rest.items()}
            found = compiled({path: cast.get(path, own[path]) for path in shapes}, held)
        return {name: np.asarray(array) for name, array in found.items()}

    with jax.enable_x64(double):  # refused now, if at all
        less = list(narrowings(jax.make_jaxpr(forward)(own, rest).jaxpr)) if double else []
    return evaluate, list(dict.fromkeys(less))


def in_evaluation(model: Any, params: Any, dtype: Any, call: Any, other: Any) -> Function | None:
    """Returns the model in evaluation mode, as `as_function`; a function is its own unless another
    one is given.

    Raises:
        InvalidInput: another one beside a module, which has its own mode.
    """
    if not isinstance(model, nnx.Module):
        return as_function(other or model, params, dtype)
    if other is not None:
        raise InvalidInput("evaluation: expected it for a function, got it beside a module")
    with calling("model", "a module that can be copied"):
        copy = nnx.clone(model)
    copy.eval()
    return as_function(copy, None, dtype, call)


def real(name: str, loss: Any) -> Array:
    """Returns the loss of a program, which must be one real number."""
    got = type(loss).__name__
    if isinstance(loss, (jax.Array, np.ndarray, float)):
        array = jnp.asarray(loss)
        if not array.ndim and jnp.issubdtype(array.dtype, jnp.floating):
            return array
        got = f"{array.dtype} of shape {array.shape}"
    raise InvalidInput(f"{name}: loss: expected one real number, got {got}")
