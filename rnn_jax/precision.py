"""Finds where a computation in float64 becomes one in less, by the line of the user's code."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import flax
import jax.numpy as jnp
import jaxtyping
import optax
from jax.extend import core as jax_core

HERE = Path(__file__).parent
LIBRARIES = (
    *(str(Path(str(library.__file__)).parent) for library in (flax, optax, jaxtyping)),
    *(str(HERE / file) for file in ("pair.py", "functional.py", "captures.py")),
)
"""Places of code that is not the user's."""


def less_than_float64(jaxpr: Any) -> list[str]:
    """Returns where a closed jaxpr makes less of float64, or float64 of less."""
    return [*narrowings(jaxpr.jaxpr), *widenings(jaxpr.jaxpr)]


def narrowings(jaxpr: Any) -> Iterator[str]:
    """Yields where an equation makes less of float64, in every jaxpr within this one: "float32
    inside float64: …"."""
    for equation in _equations(jaxpr):
        if "float64" in _precisions(equation.invars):
            for less in sorted(_precisions(equation.outvars) - {"float64"}):
                yield f"{less} inside float64: {_source(equation)}"


def widenings(jaxpr: Any) -> Iterator[str]:
    """Yields where an equation makes float64 of less, such as of a schedule that was computed in
    float32, or of constants that a model holds: "float32 inside float64: …"."""
    for equation in _equations(jaxpr):
        if "float64" in _precisions(equation.outvars):
            for less in sorted(_precisions(equation.invars) - {"float64"}):
                yield f"{less} inside float64: {_source(equation)}"


def _equations(jaxpr: Any) -> Iterator[Any]:
    """Yields the equations that have no jaxpr of their own, in every jaxpr within this one."""
    for equation in jaxpr.eqns:
        inner = [
            getattr(value, "jaxpr", value)
            for values in equation.params.values()
            for value in (values if isinstance(values, (tuple, list)) else (values,))
            if isinstance(value, (jax_core.ClosedJaxpr, jax_core.Jaxpr))
        ]
        for one in inner:
            yield from _equations(one)
        if not inner:
            yield equation


def _precisions(variables: Sequence[Any]) -> set[str]:
    dtypes = (getattr(variable.aval, "dtype", None) for variable in variables)
    return {dtype.name for dtype in dtypes if dtype and jnp.issubdtype(dtype, jnp.floating)}


def _source(equation: Any) -> str:
    """Returns the user's line that an equation comes from, not the line of a layer that it
    calls."""
    from jax._src import source_info_util

    frames = list(source_info_util.user_frames(equation.source_info.traceback))
    users = [frame for frame in frames if not frame.file_name.startswith(LIBRARIES)]
    for frame in (users or frames)[:1]:
        return f"{frame.file_name}:{frame.start_line} ({frame.function_name})"
    return "unknown"
