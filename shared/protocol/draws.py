"""Random draws of one program of a pair, recorded and handed to the other.

No two frameworks draw the same numbers. So one side draws, and the other gets what was drawn, in
the order of its own draws or by the name of the module.
"""

import contextlib
import functools
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from shared.errors import InvalidInput
from shared.protocol.draw_kinds import (
    SETTINGS,
    Settings,
    Shape,
    axes_by_letter,
    change_of,
    long_axes,
)
from shared.protocol.places import Part, read_place, to_part

_HERE = Path(__file__)
_OWN = (str(_HERE), contextlib.__file__, functools.__file__)
_OTHER_SHAPE = "another shape"
_UNCOUNTED = (
    " (draws of Python's random and of NumPy are not counted, which are seeded alike on both "
    "sides; only those of the framework are)"
)


class Draw(NamedTuple):
    """Numbers that one call drew."""

    kind: str
    """One of `SETTINGS`; of what is not handed over the framework's own name."""
    shape: Shape
    settings: Settings
    values: np.ndarray
    module: str = ""
    """Path of the innermost submodule that was running; "" outside of all."""
    line: str = ""
    """file:line of the user's code."""

    def __str__(self) -> str:
        return _shown(self.kind, self.shape, self.settings, self.module, self.line)


class Replay:
    """A cursor over recorded draws, which hands each of them out once.

    Args:
        draws: in the order in which they were drawn.
        names: a module that drew → the module that gets its draws, each with what is inside of it;
            with the order of its axes, as in "enc.drop BCL->BLC" (`shared/protocol/places.py`).
            Draws of modules that are not named are handed out in order, among themselves.
        drew, asks: names of the two sides, for messages.

    Raises:
        InvalidInput: axes that cannot be read.
    """

    replayed: int
    """How many draws were handed out."""
    keys: set[bytes]
    """What the asking side drew with: kind, shape and key of each draw, where it draws with keys as
    JAX does. The same in two steps: by itself it would draw the same numbers in both."""

    def __init__(
        self,
        draws: Sequence[Draw],
        names: Mapping[str, str] | None = None,
        *,
        drew: str = "torch",
        asks: str = "jax",
    ):
        self.replayed = 0
        self.keys = set()
        self._drew, self._asks = drew, asks
        self._twins = {theirs: _twin(place) for theirs, place in (names or {}).items()}
        self._queues: dict[str | None, deque[tuple[Draw, Part | None]]] = {None: deque()}
        for draw in draws:
            theirs = _within(draw.module, self._twins)
            part = None if theirs is None else self._twins[theirs]
            queue = self._queues.setdefault(part and part.path, deque())
            queue.append((draw, part))

    def take(
        self, kind: str, shape: Shape, settings: Settings, module: str = "", line: str = ""
    ) -> np.ndarray:
        """Returns the next draw as the asking side would have drawn it: in its shape, where shapes
        agree without axes of length 1, and in its range, its mean and its scale.

        Args: as the fields of `Draw`, of the asking side.

        Raises:
            InvalidInput: nothing more was drawn, or something of another kind, shape, probability
                or range, or what is not handed over at all.
        """
        wanted = _shown(kind, shape, settings, module, line)
        path = _within(module, [part.path for part in self._twins.values()])
        queue = self._queues.get(path, deque())
        if not queue:
            more = "more" if path is None else f"more in {self._twins_of(path)}"
            self._refuse(f"{wanted}, {self._drew} drew nothing {more}{_UNCOUNTED}")
        draw, part = queue.popleft()
        values = _fitted(draw, part, kind, shape, settings)
        if isinstance(values, str):
            others = [
                later.module
                for later, axes in queue
                if not isinstance(_fitted(later, axes, kind, shape, settings), str)
            ]
            hint = "" if self._twins or not others else _hint(others[0], module)
            self._refuse(
                f"{wanted}, {self._drew} drew {draw}: {values}{hint}",
                _remedy(draw, shape, module) if values == _OTHER_SHAPE else "",
            )
        self.replayed += 1
        return values

    def finish(self, remark: str = "") -> None:
        """Checks that all was handed out.

        Args:
            remark: what the asking side knows of the reason, for the message.

        Raises:
            InvalidInput: some was not; its first three draws are named.
        """
        left = [str(draw) for queue in self._queues.values() for draw, _ in queue]
        if left:
            shown = "; ".join(left[:3]) + ("; …" if len(left) > 3 else "")
            raise InvalidInput(
                f"{self._drew} drew {len(left)} more than {self._asks}: {shown}: "
                f"{self._count()}{remark}"
            )

    def _twins_of(self, path: str) -> str:
        return ", ".join(theirs for theirs, part in self._twins.items() if part.path == path)

    def _refuse(self, message: str, remedy: str = "") -> NoReturn:
        raise InvalidInput(f"{self._asks} draws {message}: {self._count()}{remedy}")

    def _count(self) -> str:
        return f"{self.replayed} draw{'s' * (self.replayed != 1)} replayed"


def scalar(value: Any) -> float | np.ndarray:
    """Returns a setting as one number, if all of its elements are equal."""
    array = np.asarray(value, np.float64)
    if array.size and (array == array.flat[0]).all():
        return float(array.flat[0])
    return array


@contextmanager
def seeded(step: int) -> Iterator[None]:
    """Seeds the generators of Python and NumPy inside, and puts them back afterwards. Two programs
    that decide by them, such as whether to force the teacher, then decide the same."""
    before, before_numpy = random.getstate(), np.random.get_state()
    random.seed(step)
    np.random.seed(step % 2**32)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(before_numpy)


def user_line(libraries: Sequence[str]) -> str:
    """Returns file:line of the innermost caller that is not in a library; "" without one.

    Args:
        libraries: folders and files.
    """
    frame = sys._getframe(1)  # which the traceback module would fill with lines of source, slowly
    places = (*_OWN, *libraries)
    while frame is not None:
        file = frame.f_code.co_filename
        inside = file in places or any(file.startswith(f"{place}/") for place in places)
        if not inside and not file.startswith("<frozen"):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


# What fits -----------------------------------------------------------------------------------


def _fitted(
    draw: Draw, part: Part | None, kind: str, shape: Shape, settings: Settings
) -> np.ndarray | str:
    """Returns the values of a draw as the asking side needs them, or why there are none."""
    change = change_of(draw.kind, kind)
    if isinstance(change, str):
        return change
    arrange = _arranged(draw, part, shape)
    if isinstance(arrange, str):
        return arrange
    mine: dict[str, Any] = dict(draw.settings)
    if kind != "categorical":  # whose probabilities have an axis more
        mine = {name: _broadcast(value, draw.shape, arrange) for name, value in mine.items()}
    return change(arrange(draw.values), mine, settings)


def _broadcast(value: Any, shape: Shape, arrange: Callable[[np.ndarray], np.ndarray]) -> Any:
    return value if np.ndim(value) == 0 else arrange(np.broadcast_to(value, shape))


def _arranged(
    draw: Draw, part: Part | None, shape: Shape
) -> Callable[[np.ndarray], np.ndarray] | str:
    """Returns what brings an array of the draw's shape into the other one, or why nothing does."""
    if part is not None and part.axes is not None:
        try:
            to_part(part, np.zeros(draw.shape), shape)
        except InvalidInput as error:
            return f"{_OTHER_SHAPE}: {error}"
        return lambda array: to_part(part, array, shape)
    if long_axes(draw.shape) != long_axes(shape):
        return _OTHER_SHAPE
    return lambda array: np.reshape(array, shape)


# Names ---------------------------------------------------------------------------------------


def _twin(place: str) -> Part:
    path = place.split(maxsplit=1)[0] if place.strip() else ""
    return read_place(place.strip(), {path: ()})


def _within(module: str, names: Sequence[str] | Mapping[str, Any]) -> str | None:
    """Returns the longest of the names that this module has or is inside of."""
    found = [name for name in names if module == name or (name and module.startswith(f"{name}."))]
    return max(found, key=len, default=None)


def _hint(theirs: str, ours: str) -> str:
    return f" (one that fits comes later: name modules, as in dropout={{{theirs!r}: {ours!r}}})"


def _remedy(draw: Draw, shape: Shape, ours: str) -> str:
    """Returns how to name two modules whose draws differ in the order of axes; "" if it is not
    that."""
    axes = axes_by_letter(draw.shape, shape)
    if not axes:
        return ""
    told = "; if only the order of the axes differs"
    if not ours:  # outside of all submodules, axes cannot be named
        return f"{told} ({axes}), draw inside of a submodule, and name it"
    return f'{told}, name the modules: dropout={{"{draw.module}": "{ours} {axes}"}}'


def _shown(kind: str, shape: Shape, settings: Settings, module: str, line: str) -> str:
    values = [_number(settings[name]) for name in SETTINGS.get(kind, ()) if name in settings]
    text = f"{kind}({', '.join(values)})" if values else kind
    text += f" of {tuple(shape)}"
    return text + (f" in {module}" if module else "") + (f" ({line})" if line else "")


def _number(value: Any) -> str:
    return f"{value:g}" if np.ndim(value) == 0 else f"array of {np.shape(value)}"
