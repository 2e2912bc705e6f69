"""Finds out by running both models which place holds which tensor.

All places that a tensor may be in get the same values at first, so that torch's model and its port
agree whatever belongs together. Then one tensor after the other gets values of its own: the place
that makes both agree again is its twin. This takes about one run for each tensor, not one for each
combination.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from shared.errors import InvalidInput
from shared.parity.slots import Slot
from shared.parity.starting_values import common_start, drawn, scattered
from shared.protocol.layer import Shape
from shared.protocol.places import Part
from shared.protocol.state_dict import listed
from shared.protocol.weights import Weights

Evaluate = Callable[[Weights], list[np.ndarray]]
"""Weights → outputs."""
TOLERANCE = 1e-9
"""Largest deviation of outputs that counts as equal, relative to the largest of them."""
LOOSE = 1e-4
"""The same where the outputs are never nearer: a port that computes in float32 in part, whatever
its parameters are, or that has another epsilon. What is in a wrong place differs by far more."""
SEEN = 30
"""An effect counts as seen if it is this many times the tolerance."""
DRAWS = 3
"""How often a tensor whose effect is not seen gets other values."""


class Models(NamedTuple):
    """Both models as functions of their weights."""

    theirs: Evaluate
    ours: Evaluate
    weights: Weights
    """Torch's state dict: what no slot replaces stays as it is."""
    arrays: Weights
    """The port's arrays, by path."""

    @property
    def shapes(self) -> dict[str, Shape]:
        return {path: array.shape for path, array in self.arrays.items()}


class Settled(NamedTuple):
    """What was found."""

    choice: list[int]
    """For each slot the number of its place."""
    idle: list[int]
    """Slots whose values have no effect on the outputs, so that their places are not settled."""


def settle(models: Models, slots: Sequence[Slot], rng: np.random.Generator) -> Settled:
    """Finds the place of every slot.

    Raises:
        InvalidInput: models that differ wherever the tensors are; a slot that agrees nowhere.
    """
    weights, arrays = common_start(models.weights, models.arrays, slots, rng)
    before = models.theirs(weights)
    _check_finite(before)
    off = deviation(models.ours(arrays), before)
    tolerance = tolerance_of(off)
    at_first = f" (at first they agreed within {off:.1e})" if tolerance == LOOSE else ""
    if off > tolerance:
        raise InvalidInput(
            "theirs, ours: expected the same outputs, since all tensors that might be mistaken for "
            f"each other had the same values; got a deviation of {off:.1e}, relative to the "
            f"largest output: the port computes something else, or holds a tensor in "
            "a way that is not tried, which known= can say, or is not as known= says"
        )
    taken = {path: np.zeros(array.shape, bool) for path, array in arrays.items()}
    choice, idle = [], []
    for number, slot in enumerate(slots):
        changed = _with_effect(models, weights, slot, before, rng, tolerance)
        if changed is None:
            idle.append(number)
            choice.append(0)
            continue
        weights, after = changed
        value = weights[slot.name][slot.where]
        least = np.inf
        for i, places in enumerate(slot.places):
            blocks = scattered(places, value, models.shapes)
            if any(taken[part.path][part.cut].any() for part, _ in blocks):
                continue
            trial = put(arrays, blocks)
            off = deviation(models.ours(trial), after)
            least = min(least, off)
            if off <= tolerance:
                arrays, before = trial, after
                choice.append(i)
                for part, _ in blocks:
                    taken[part.path][part.cut] = True
                break
        else:
            tried = listed([" + ".join(places) for places in slot.places], most=6)
            raise InvalidInput(
                f"{slot.name}: expected a place with which the outputs agree, got a deviation of "
                f"{least:.1e} or more at each of {tried}{at_first}: the port computes something "
                "else, or say with known= where it is"
            )
    return Settled(choice, idle)


def check(
    models: Models,
    slots: Sequence[Slot],
    arrays: Callable[[Weights], Weights],
    rng: np.random.Generator,
    *,
    effects: bool = True,
) -> tuple[float, list[int]]:
    """Runs both models with random weights.

    Args:
        arrays: torch's weights → the port's arrays.
        effects: look for slots without effect, too.

    Returns:
        The deviation of the outputs, and the slots without effect on them.
    """
    weights = dict(models.weights)
    for slot in slots:
        weights = drawn(weights, slot, rng)
    outputs = models.theirs(weights)
    _check_finite(outputs)
    off = deviation(models.ours(models.arrays | arrays(weights)), outputs)
    idle = [
        number
        for number, slot in enumerate(slots)
        if effects
        and off <= LOOSE
        and _with_effect(models, weights, slot, outputs, rng, tolerance_of(off)) is None
    ]
    return off, idle


def tolerance_of(deviation: float) -> float:
    """Returns the tolerance for models that deviate so much when they should agree."""
    return TOLERANCE if deviation <= TOLERANCE else LOOSE


def deviation(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Returns the largest deviation of any output, relative to the largest value in it.

    Raises:
        InvalidInput: another number of outputs, or other shapes.
    """
    shapes = [array.shape for array in found], [array.shape for array in expected]
    if shapes[0] != shapes[1]:
        raise InvalidInput(
            f"outputs: expected the same shapes, got {_shapes(shapes[1])} of theirs and "
            f"{_shapes(shapes[0])} of ours"
        )
    largest = 0.0
    for a, b in zip(found, expected, strict=True):
        if not b.size:
            continue
        off = np.abs(np.asarray(a, float) - np.asarray(b, float)).max()
        if not np.isfinite(off):
            return np.inf
        largest = max(largest, float(off / max(np.abs(b).max(), 1e-30)))
    return largest


def put(arrays: Weights, blocks: Sequence[tuple[Part, np.ndarray]]) -> Weights:
    """Returns the arrays with these values in their parts; the arrays themselves stay."""
    changed = dict(arrays)
    for part, values in blocks:
        changed[part.path] = changed[part.path].copy()
        changed[part.path][part.cut] = values
    return changed


def _with_effect(
    models: Models,
    weights: Weights,
    slot: Slot,
    before: Sequence[np.ndarray],
    rng: np.random.Generator,
    tolerance: float,
) -> tuple[Weights, list[np.ndarray]] | None:
    """Returns weights with other values in a slot, and torch's outputs; None if that makes no
    difference that can be seen."""
    for draw in range(DRAWS):
        changed = drawn(weights, slot, rng, width=2.0**draw)
        outputs = models.theirs(changed)
        if deviation(outputs, before) > SEEN * tolerance:
            _check_finite(outputs)
            return changed, outputs
    return None


def _check_finite(outputs: Sequence[np.ndarray]) -> None:
    if not all(np.isfinite(array).all() for array in outputs):
        raise InvalidInput("theirs: expected finite outputs with random weights, got others")


def _shapes(shapes: Sequence[Shape]) -> str:
    return listed([str(shape) for shape in shapes], most=6)
