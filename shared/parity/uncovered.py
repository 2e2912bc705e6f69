"""Parts of a parameter that never had a gradient: gates, rows, columns, slices."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from shared.protocol.gaps import Gap, Rows, ranges
from shared.protocol.weights import Weights

LETTERS = {4: "ifgo", 3: "rzn"}
"""Gates in the order in which torch has their rows, by their number: LSTM, GRU."""
_RECURRENT = re.compile(
    r"(?P<cell>(?:.*\.)?)(?:weight|bias)_(?:ih|hh)(?P<layer>(?:_l\d+(?:_reverse)?)?)"
)
"""Names of tensors in torch's recurrent layers and cells."""


class Gradients(NamedTuple):
    """Where a parameter had gradients at any step, both of its shape."""

    alive: np.ndarray
    """Whether an element had one that is more than rounding."""
    nonzero: np.ndarray
    """Whether an element had one at all."""


def gates(weights: Weights, name: str) -> str:
    """Returns the letters of the gates whose rows a tensor has one below the other; empty for one
    without gates."""
    match = _RECURRENT.fullmatch(name)
    if match is None:
        return ""
    # A projection's columns are the hidden size, those of W_hh then are not.
    for kind in ("hr", "hh"):
        hidden = weights.get(f"{match['cell']}weight_{kind}{match['layer']}")
        if hidden is not None and hidden.ndim == 2 and hidden.shape[1]:
            count, left = divmod(len(weights[name]), hidden.shape[1])
            return "" if left else LETTERS.get(count, "")
    return ""


def parts(
    name: str,
    gradients: Gradients,
    letters: str = "",
    embedding: Rows | None = None,
) -> list[Gap]:
    """Returns the gates, rows, columns and slices along other axes that never had a gradient as a
    whole. Single elements are not told of: many a dense layer has some.

    Args:
        letters: its gates, as `gates` returns them.
        embedding: of an embedding's weight: rows that nobody read have a reason, and so has
            padding.
    """
    alive, found = gradients.alive, []
    for axis in range(alive.ndim):
        dead = np.asarray(~alive.any(tuple(i for i in range(alive.ndim) if i != axis)))
        if axis == 0 and embedding is not None:
            dead &= embedding.read
            if embedding.padding is not None:
                dead[embedding.padding] = False
        if axis == 0 and letters:
            blocks = np.asarray(dead.reshape(len(letters), -1).all(1))
            rows = np.repeat(blocks, len(dead) // len(letters))
            named = [
                letter for letter, block in zip(letters, blocks.tolist(), strict=True) if block
            ]
            if named:
                where = f"{'gate' if len(named) == 1 else 'gates'} {', '.join(named)}"
                rounding = bool(gradients.nonzero[rows].any())
                found.append(
                    Gap("part-without-gradient", name, len(named), len(letters), where, rounding)
                )
            dead &= ~rows
        if dead.any():
            found.append(_slices(name, gradients, axis, dead))
    return found


def told_of_weight(name: str, alive: Mapping[str, np.ndarray]) -> bool:
    """Tells whether a bias lacks gradients only where whole rows of its weight do, where it is
    said.

    Args:
        alive: by parameter, which elements had a gradient.
    """
    before, dot, last = name.rpartition(".")
    weight = alive.get(f"{before}{dot}{last.replace('bias', 'weight', 1)}")
    bias = alive[name]
    if not last.startswith("bias") or bias.ndim != 1 or weight is None:
        return False
    if weight.ndim < 2 or len(weight) != len(bias):
        return False
    return not (~bias & weight.reshape(len(weight), -1).any(1)).any()


def _slices(name: str, gradients: Gradients, axis: int, dead: np.ndarray) -> Gap:
    single = gradients.alive.ndim == 1
    noun = "element" if single else ("row", "column", f"axis-{axis} slice")[min(axis, 2)]
    count = int(dead.sum())
    where = f"{noun if count == 1 else noun + 's'} {ranges(np.flatnonzero(dead).tolist())}"
    rounding = bool(np.compress(dead, gradients.nonzero, axis).any())
    return Gap("part-without-gradient", name, count, len(dead), where, rounding)
