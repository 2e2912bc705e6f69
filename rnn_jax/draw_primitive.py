"""A random draw as a primitive of JAX, and what is noted of it (see `rnn_jax/draws.py`)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
from jax.core import ShapedArray
from jax.experimental import io_callback
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from shared.errors import InvalidInput
from shared.protocol.draw_kinds import SETTINGS
from shared.protocol.draws import Draw, Replay, scalar, user_line

LIBRARIES = tuple(
    str(Path(str(file)).parent)
    for file in (jax.__file__, flax.__file__, optax.__file__, jaxtyping.__file__, __file__)
)
"""Places of code that is not the user's."""
inside = jax.make_user_context(False)
"""Keeps what JAX traced outside of a context from being used inside, and the other way around."""


class Call(NamedTuple):
    """A draw, before it is made."""

    kind: str
    shape: tuple[int, ...]
    dtype: Any
    draw: Callable[..., Any]
    """(key, *operands) → values, of JAX itself."""
    settings: Callable[..., Any]
    """operands → dict of settings."""
    module: str
    line: str
    axes: tuple[tuple[int | None, ...], ...] = ()
    """Axes of key and operands that `jax.vmap` maps over, for each level, the innermost first."""
    sizes: tuple[int, ...] = ()
    """Of these levels, the outermost first."""
    number: int = 0
    """Of the draws that are traced to be compiled, in order; 0 of another."""


class Notes:
    """What a context does with draws: `Notes` of `rnn_jax/draw_kinds.py`."""

    def __init__(self, replay: Replay | None, where: Callable[[], str]):
        self.found: list[Draw] = []
        self.within: str | None = None
        self._replay, self._where = replay, where
        self.keys: set[bytes] = set() if replay is None else replay.keys
        """Kind, shape and key of each draw."""
        self._again: dict[tuple, np.ndarray] = {}
        self.again_at = ""
        """A line that drew with a key which had been used for such a draw."""
        self.compiling = False
        self._traced = 0
        self.error: Exception | None = None
        """Of a draw in what is compiled, which cannot raise it there."""

    @contextmanager
    def by(self, name: str) -> Iterator[None]:
        if self.compiling and name:
            raise NotImplementedError(f"{name} is drawn in the plain path alone")
        before, self.within = self.within, name and (self.within or name)
        try:
            # What JAX traced where draws are left alone must not be used where they are noted.
            with inside((inside.value, name)) if self.compiling else nullcontext():
                yield
        finally:
            self.within = before

    def draw(
        self,
        kind: str,
        key: Any,
        shape: Any,
        dtype: Any,
        draw: Callable[..., Any],
        *operands: Any,
        settings: Callable[..., dict[str, Any]] | None = None,
    ) -> Any:
        if settings is None:
            settings = partial(_by_name, SETTINGS.get(kind, ()))
        call = self.call(kind, shape, dtype, draw, settings)
        # Its numbers have no derivative, whatever the settings are computed from.
        return draw_p.bind(key, *map(jax.lax.stop_gradient, operands), call=call)

    def call(self, kind: str, shape: Any, dtype: Any, draw: Any, settings: Any) -> "Call":
        line, dtype = user_line(LIBRARIES), np.dtype(dtype)
        call = Call(kind, tuple(shape), dtype, draw, settings, self._where(), line)
        self._traced += self.compiling
        return call._replace(number=self._traced if self.compiling else 0)

    def take(self, call: "Call", values: np.ndarray, settings: dict, again: tuple) -> np.ndarray:
        """Returns what is handed out for values that JAX drew; the same for what is drawn again."""
        if again in self._again:
            self.again_at = self.again_at or call.line
        else:
            draw = Draw(call.kind, values.shape, settings, values, call.module, call.line)
            if self._replay is None:
                self.found.append(draw)
            else:
                values = self._replay.take(draw.kind, draw.shape, settings, draw.module, draw.line)
            self._again[again] = values
        return self._again[again]


def _by_name(names: tuple[str, ...], *operands: Any) -> dict[str, Any]:
    return dict(zip(names, operands, strict=True))


open_notes: Notes | None = None
"""Those of the context that is open."""


# What is executed or compiled --------------------------------------------------------------------


def _executed(key: Any, *operands: Any, call: Call) -> Any:
    if open_notes is None:
        raise InvalidInput(
            f"{call.line}: expected gradients inside of the context in which {call.kind} was "
            "drawn, got them afterwards"
        )
    if open_notes.compiling:
        raise NotImplementedError("a draw at compile time is made in the plain path alone")
    with open_notes.by(""), jax.disable_jit(False):
        values, found = _drawn(call, key, *operands)
    if 0 in values.shape:
        return values
    return jnp.asarray(_noted(call, values, found, jax.random.key_data(key), *operands), call.dtype)


def _drawn(call: Call, key: Any, *operands: Any) -> tuple[Any, dict[str, Any]]:
    """Returns what JAX draws, and the settings."""
    found = _mapped(partial(_settings, call), call)(key, *operands)
    return _mapped(call.draw, call)(key, *operands), found


def _noted(call: Call, values: Any, found: dict[str, Any], *inputs: Any) -> np.ndarray:
    """Notes a draw, and returns what is handed out for it."""
    assert open_notes is not None
    values = np.array(values)  # a copy: a callback's arguments are there for its time alone
    settings = {n: np.array(v) if n == "probabilities" else scalar(v) for n, v in found.items()}
    again = (call.kind, values.shape, call.dtype, *(np.asarray(x).tobytes() for x in inputs))
    taken = open_notes.take(call, values, settings, again)
    open_notes.keys.add(f"{call.kind} {values.shape} ".encode() + np.asarray(inputs[0]).tobytes())
    return taken


def _mapped(function: Callable[..., Any], call: Call) -> Callable[..., Any]:
    for axes in call.axes:
        function = jax.vmap(function, axes)
    return function


def _settings(call: Call, _: Any, *operands: Any) -> dict[str, Any]:
    """Returns settings with an element for each value where `jax.vmap` would set apart their
    axes."""
    found = call.settings(*operands)
    if not call.axes:
        return found
    shapes = {n: v.shape if n == "probabilities" else call.shape for n, v in found.items()}
    return {name: jnp.broadcast_to(value, shapes[name]) for name, value in found.items()}


def _batched(inputs: Any, axes: Any, *, call: Call) -> tuple[Any, int]:
    size = next(x.shape[i] for x, i in zip(inputs, axes, strict=True) if i is not None)
    axes = tuple(axes)
    call = call._replace(axes=(*call.axes, axes), sizes=(size, *call.sizes))
    return draw_p.bind(*inputs, call=call), 0


def _differentiated(inputs: Any, _: Any, *, call: Call) -> tuple[Any, ad.Zero]:
    values = draw_p.bind(*inputs, call=call)
    return values, ad.Zero(jax.typeof(values).to_tangent_aval())


def _abstract(*_: Any, call: Call) -> tuple[ShapedArray, set]:
    shape = (*call.sizes, *call.shape)
    return ShapedArray(shape, call.dtype), _order() if call.number and 0 not in shape else set()


@cache
def _order() -> set:
    """Returns the effect by which JAX keeps callbacks in order."""
    call = partial(io_callback, lambda: None, None, ordered=True)
    return jax.make_jaxpr(call)().effects


def _compiled(key: Any, *operands: Any, call: Call) -> Any:
    if open_notes is None or not open_notes.compiling:
        raise InvalidInput(
            f"{call.line}: expected draws in what Python executes, got {call.kind} of {call.shape} "
            "in a function that JAX compiles all the same, such as a while loop under vmap, whose "
            "draws have no order"
        )
    with open_notes.by(""):
        values, found = _drawn(call, key, *operands)
    if 0 in values.shape:
        return values
    inputs = jax.random.key_data(key), *operands
    like = jax.ShapeDtypeStruct(values.shape, call.dtype)
    return io_callback(partial(_handed, call), like, values, found, *inputs, ordered=True)


def _handed(call: Call, values: Any, found: dict[str, Any], *inputs: Any) -> np.ndarray:
    assert open_notes is not None
    if open_notes.error is None:
        try:
            return np.asarray(_noted(call, values, found, *inputs), call.dtype)
        except Exception as error:
            open_notes.error = error
    return np.zeros(values.shape, call.dtype)


draw_p = Primitive("recorded_draw")
draw_p.def_impl(_executed)
draw_p.def_effectful_abstract_eval(_abstract)
batching.primitive_batchers[draw_p] = _batched
ad.primitive_jvps[draw_p] = _differentiated
mlir.register_lowering(draw_p, mlir.lower_fun(_compiled, multiple_results=False), cacheable=False)
