"""Where a computation in float64 becomes one in float32, by the line of the user's code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax
import numpy as np
import optax
from jax.extend import core as jax_core

HERE = Path(__file__).parent
LIBRARIES = (
    str(Path(flax.__file__).parent), str(Path(optax.__file__).parent), str(HERE / "pair.py"),
)  # fmt: skip
"""Where the code lies that is not the user's."""


def narrowings(jaxpr: Any) -> Iterator[str]:
    """Where float64 is converted to float32, in every jaxpr within this one."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "convert_element_type":
            before, after = equation.invars[0].aval.dtype, equation.params["new_dtype"]
            if before == np.float64 and after == np.float32:
                yield _source(equation)
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                if isinstance(inner, jax_core.ClosedJaxpr):
                    yield from narrowings(inner.jaxpr)
                elif isinstance(inner, jax_core.Jaxpr):
                    yield from narrowings(inner)


def _source(equation: Any) -> str:
    """The line of the user's that an equation comes from, not that of a layer it calls."""
    from jax._src import source_info_util

    frames = list(source_info_util.user_frames(equation.source_info.traceback))
    users = [frame for frame in frames if not frame.file_name.startswith(LIBRARIES)]
    for frame in (users or frames)[:1]:
        return f"{frame.file_name}:{frame.start_line} ({frame.function_name})"
    return "unknown"
