"""Records what a program of JAX draws at random, and hands it other numbers in place of its own
(see `shared/protocol/draws.py`).

A draw is a primitive of its own here. So it counts when it is executed, not when it is traced, and
under `jax.vmap` it is the draw of the whole batch. It is a function of its key, as ever in JAX:
what is drawn again with the same key, in the second forward pass of `jax.checkpoint` or in each
step of a scan, is the same draw.

In the plain path Python executes every operation. `rnn_jax/compiled_draws.py` has another, where a
draw calls back from what JAX has compiled.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.extend.core import primitives as jax_primitives

from rnn_jax import draw_primitive, private
from rnn_jax.draw_kinds import FUNCTIONS, OTHERS
from rnn_jax.draw_primitive import Notes, inside
from shared.errors import InvalidInput
from shared.protocol.draws import Draw, Replay


@contextmanager
def recorded(where: Callable[[], str] = lambda: "") -> Iterator[list[Draw]]:
    """Notes every draw inside, in order. A draw of a kind that is not handed over has JAX's name of
    it as its kind, or "bits".

    Functions are not compiled inside: Python executes every step of a scan. To split and to fold
    keys is no draw.

    Args:
        where: tells the path of the innermost submodule that is running.

    Raises:
        InvalidInput: a draw in what JAX compiles all the same, such as a while loop under vmap;
            another such context is open; this release of JAX lacks a function that is replaced.
    """
    with _noticed(Notes(None, where)) as notes:
        yield notes.found


@contextmanager
def replayed(replay: Replay, where: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Puts the draws of a replay in place of JAX's own inside. At the end all must have been handed
    out.

    Args:
        where: as for `recorded`.

    Raises:
        InvalidInput: as for `recorded`; a draw that `Replay.take` refuses; draws left over.
    """
    with _noticed(Notes(replay, where)) as notes:
        yield
    again = f" (with a key that it had used, jax drew the same again: {notes.again_at})"
    replay.finish(again if notes.again_at else "")


@contextmanager
def _noticed(notes: Notes) -> Iterator[Notes]:
    if draw_primitive.open_notes is not None:
        raise InvalidInput("dropout: expected one context at a time that notes draws, got two")
    needed = {name: partial(_kept, name, function) for name, function in FUNCTIONS.items()}
    others = {f"_{name}": partial(_named, name) for name in OTHERS}
    with ExitStack() as stack:
        stack.enter_context(private.replaced(needed, others))
        stack.enter_context(private.loops_of_linen_traced(partial(notes.by, "")))
        for primitive, function in _IMPLEMENTATIONS.items():
            stack.callback(setattr, primitive, "impl", primitive.impl)
            primitive.impl = partial(function, primitive, primitive.impl)
        stack.enter_context(jax.disable_jit())
        stack.enter_context(inside(True))
        draw_primitive.open_notes = notes
        try:
            yield notes
        finally:
            draw_primitive.open_notes = None


def _kept(name: str, function: Any, original: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls the function in place of JAX's own, or that where JAX calls it itself inside of another
    draw."""
    assert draw_primitive.open_notes is not None
    within = draw_primitive.open_notes.within is not None and name != "_random_bits"
    if within or draw_primitive.open_notes.within == "":
        return original(*args, **kwargs)
    return function(draw_primitive.open_notes, original, *args, **kwargs)


def _named(name: str, original: Any, *args: Any, **kwargs: Any) -> Any:
    assert draw_primitive.open_notes is not None
    with draw_primitive.open_notes.by(name):
        return original(*args, **kwargs)


@contextmanager
def compiling() -> Iterator[None]:
    """Lets JAX trace and compile what is inside, in a context of this file: its draws are noted
    whenever it runs in such a context (see `running`).

    Nothing else may use what is traced meanwhile, nor the other way around: where a draw is, tells
    the trace.
    """
    assert draw_primitive.open_notes is not None
    with jax.disable_jit(False), inside(object()):
        draw_primitive.open_notes.compiling = True
        try:
            yield
        finally:
            draw_primitive.open_notes.compiling = False


@contextmanager
def running() -> Iterator[None]:
    """Lets what was compiled run inside.

    Raises:
        InvalidInput: a draw that `Replay.take` refuses.
    """
    assert draw_primitive.open_notes is not None
    with jax.disable_jit(False):
        yield
        jax.effects_barrier()
    if draw_primitive.open_notes.error is not None:
        raise draw_primitive.open_notes.error


def _noticed_bits(primitive: Any, original: Any, *args: Any, **how: Any) -> Any:
    """Random bits that no function in `_FUNCTIONS` draws."""
    if draw_primitive.open_notes is None or draw_primitive.open_notes.within == "":
        return original(*args, **how)
    with draw_primitive.open_notes.by(""):
        found = original(*args, **how)
    values = np.asarray(jax.tree.leaves(found)[-1])  # before them stands the next key
    call = draw_primitive.open_notes.call(
        draw_primitive.open_notes.within or primitive.name,
        values.shape,
        values.dtype,
        original,
        dict,
    )
    draw_primitive.open_notes.take(call, values, {}, (object(),))
    return found


def _of_keys(_: Any, original: Any, *args: Any, **how: Any) -> Any:
    if draw_primitive.open_notes is None:
        return original(*args, **how)
    with draw_primitive.open_notes.by(""):
        return original(*args, **how)


_IMPLEMENTATIONS = {
    jax_primitives.random_bits_p: _noticed_bits,
    jax_primitives.rng_bit_generator_p: _noticed_bits,
    jax_primitives.rng_uniform_p: _noticed_bits,
    jax_primitives.random_seed_p: _of_keys,
    jax_primitives.random_split_p: _of_keys,
    jax_primitives.random_fold_in_p: _of_keys,
    jax_primitives.scan_p: private.run_scan,
    jax_primitives.while_p: private.run_while,
}
