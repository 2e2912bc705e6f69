"""The arrays of a port by their places: read, and put in place as a whole.

A place is what leads to an array, joined by dots: "encoder.layers.0.kernel".
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from shared.errors import InvalidInput


def arrays(model: Any) -> dict[str, Any]:
    """Returns the real arrays of a `flax.nnx.Module` or a pytree, by place. A variable that a
    module has in two places is there once.

    Raises:
        InvalidInput: two arrays in one place.
    """
    found: dict[str, Any] = {}
    for place, array in everything(model):
        if not hasattr(array, "dtype") or not jnp.issubdtype(array.dtype, jnp.floating):
            continue
        if place in found:
            raise InvalidInput(f"{place}: expected one array there, got two")
        found[place] = array
    return found


def optional(model: Any) -> list[str]:
    """Returns the places of arrays that are no parameters, such as a running mean."""
    if not isinstance(model, nnx.Module):
        return []
    return [dotted(path) for path, var in _variables(model) if not isinstance(var, nnx.Param)]


def aliases(model: Any) -> dict[str, str]:
    """Returns other places of variables that a module has in several → the place in `arrays`."""
    if not isinstance(model, nnx.Module):
        return {}
    places = {id(variable): dotted(path) for path, variable in _variables(model)}
    return {
        dotted(path): places[id(node)]
        for path, node in walk(model)
        if id(node) in places and places[id(node)] != dotted(path)
    }


def with_arrays(model: Any, values: Mapping[str, np.ndarray]) -> Any:
    """Puts values in their places: into a module itself, or into a copy of a pytree. Places without
    a value keep what they have."""
    if isinstance(model, nnx.Module):
        for path, variable in _variables(model):
            if dotted(path) in values:
                variable.set_value(placed(values[dotted(path)], variable.get_value()))
        return model
    leaves, tree = jax.tree_util.tree_flatten_with_path(model)
    changed = []
    for path, leaf in leaves:
        new = values.get(keys(path))
        if new is not None and not isinstance(leaf, np.ndarray):
            new = placed(new, leaf)
        changed.append(leaf if new is None else new)
    return jax.tree.unflatten(tree, changed)


def walk(
    node: Any, path: tuple = (), above: frozenset[int] = frozenset()
) -> Iterator[tuple[tuple, Any]]:
    """Yields modules and variables in the order in which they were defined, with what leads to
    them. One with several places comes several times, but not within itself.

    Args:
        path: what leads to the node.
        above: ids of the modules and containers that it is in.
    """
    if isinstance(node, nnx.Variable):
        yield path, node
        return
    if id(node) in above:
        return
    if isinstance(node, nnx.List):
        items: Any = enumerate(node)
    elif isinstance(node, nnx.Module):
        yield path, node
        items = vars(node).items()
    elif isinstance(node, Mapping):
        items = node.items()
    elif isinstance(node, (list, tuple)):
        items = enumerate(node)
    else:
        return
    for key, part in items:
        yield from walk(part, (*path, key), above | {id(node)})


def placed(array: np.ndarray, old: Any) -> Array:
    """Returns values as an array where the old one is: on its device, or wherever JAX likes. One
    that is bound to no device must not become so: a step that mixes both kinds is compiled again
    for its own results, which are bound."""
    device = old.sharding if isinstance(old, Array) and old.committed else None
    return jnp.asarray(array, device=device)


def dotted(path: tuple) -> str:
    return ".".join(map(str, path))


def keys(path: tuple) -> str:
    """Returns the place of a leaf of a pytree."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def everything(model: Any) -> list[tuple[str, Any]]:
    """Returns the values of all variables of a module, or all leaves of a pytree, by place."""
    if isinstance(model, nnx.Module):
        return [(dotted(path), variable.get_value()) for path, variable in _variables(model)]
    leaves, _ = jax.tree_util.tree_flatten_with_path(model)
    return [(keys(path), leaf) for path, leaf in leaves]


def _variables(model: nnx.Module) -> list[tuple[tuple, nnx.Variable]]:
    """Returns the variables but for the keys of random numbers: those of the module, no copies.
    Arrays that are no variables are constants."""
    found = nnx.to_flat_state(nnx.state(model, nnx.Not(nnx.RngState)))
    return [(path, node) for path, node in found if isinstance(node, nnx.Variable)]
