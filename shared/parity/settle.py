"""Finds out by running both models which place holds which tensor.

All places that a tensor may be in get the same values at first, so that torch's model and its port
agree whatever belongs together. Then one tensor after the other gets values of its own: the place
that makes both agree again is its twin. This takes about one run for each tensor, not one for each
combination.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from shared.errors import InvalidInput
from shared.parity.slots import Slot
from shared.parity.starting_values import common_start, drawn, scattered
from shared.protocol.layer import Shape
from shared.protocol.places import Part
from shared.protocol.state_dict import listed
from shared.protocol.weights import Weights

Outputs = Mapping[str, np.ndarray]
Evaluate = Callable[[Weights], Outputs]
"""Weights → outputs by name."""
TOLERANCE = 1e-9
"""Largest deviation of outputs that rounding in float64 explains."""
LOOSE = 1e-3
"""Largest deviation where the outputs are never nearer: a port that computes in float32 in part,
whatever its parameters are, or that has another epsilon. What is in a wrong place differs by far
more."""
_LEAST = 1e-10
"""Least tolerance of a search, where rounding adds up."""
_SMALL = 1e-8
"""Outputs that are smaller are compared as if they had this size: they may be rounding alone."""
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
    """The port's arrays, by path, state with its own values."""

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
    at_first = deviation(models.ours(arrays), before)
    tolerance = tolerance_of(at_first)
    if at_first > tolerance:
        raise InvalidInput(
            "theirs, ours: expected the same outputs, since all tensors that might be mistaken for "
            f"each other had the same values; got a relative deviation of {at_first:.1e}: the port "
            "computes something else, or holds a tensor in a way that is not tried, which known= "
            "can say, or is not as known= says"
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
            if at_first > TOLERANCE:
                raise InvalidInput(
                    "theirs, ours: expected the same outputs, got a relative deviation of "
                    f"{at_first:.1e} where they should agree: the port computes something a little "
                    "different (another epsilon, another form of an activation), so that it does "
                    f"not show where {slot.name} is"
                )
            raise InvalidInput(
                f"{slot.name}: expected a place with which the outputs agree, got a deviation of "
                f"{least:.1e} or more at each of {tried}: the port computes something else, or say "
                "with known= where it is"
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


def tolerance_of(off: float) -> float:
    """Returns the tolerance for models that deviate so much where they should agree."""
    return min(max(30 * off, _LEAST), LOOSE)


def deviation(found: Outputs, expected: Outputs) -> float:
    """Returns the largest deviation of any element, relative to itself, or to the smallest tenth of
    its output where it is smaller: a large constant, such as a mask, hides nothing.

    Raises:
        InvalidInput: other outputs or shapes; no real numbers among them.
    """
    pairs = _pairs(found, expected)
    shapes = [[array.shape for array in side] for side in zip(*pairs, strict=True)]
    if shapes and shapes[0] != shapes[1]:
        raise InvalidInput(
            f"outputs: expected the same shapes, got {_shapes(shapes[1])} of theirs and "
            f"{_shapes(shapes[0])} of ours"
        )
    if not any(array.size and array.dtype.kind in "fc" for _, array in pairs):
        raise InvalidInput(
            "outputs: expected real numbers among them, got none: integers do not show which place "
            "is right; return the scores that they come from"
        )
    return max(_deviation(a, b) for a, b in pairs if b.size)


def _pairs(found: Outputs, expected: Outputs) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns outputs that belong together: by name where both have the same names, else in order.
    Names of their own on both sides, as a dict's keys are, must be the same."""
    if found.keys() == expected.keys():
        return [(found[name], expected[name]) for name in expected]
    named = [any(re.search(r"[A-Za-z]", n.partition(".")[2]) for n in o) for o in (found, expected)]
    if len(found) != len(expected) or all(named):
        raise InvalidInput(
            f"outputs: expected the same of both, got {listed(list(expected), 6)} of theirs and "
            f"{listed(list(found), 6)} of ours"
        )
    return list(zip(found.values(), expected.values(), strict=True))


def _deviation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (x.astype(complex if x.dtype.kind == "c" else float) for x in (a, b))
    sizes = np.abs(b)
    usual = sizes[np.isfinite(sizes) & (sizes > 0)]
    least = max(np.quantile(usual, 0.1) if usual.size else 0.0, _SMALL)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.where(a == b, 0.0, np.abs(a - b) / np.maximum(sizes, least))
    return float(np.inf if np.isnan(off).any() else off.max())


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
    before: Outputs,
    rng: np.random.Generator,
    tolerance: float,
) -> tuple[Weights, Outputs] | None:
    """Returns weights with other values in a slot, and torch's outputs; None if that makes no
    difference that can be seen."""
    for draw in range(DRAWS):
        changed = drawn(weights, slot, rng, width=2.0**draw)
        outputs = models.theirs(changed)
        if deviation(outputs, before) > SEEN * tolerance:
            _check_finite(outputs)
            return changed, outputs
    return None


def _check_finite(outputs: Outputs) -> None:
    """Infinite ones may be masked; what is no number cannot be compared."""
    if any(np.isnan(array).any() for array in outputs.values() if array.dtype.kind in "fc"):
        raise InvalidInput("theirs: expected numbers with random weights, got NaN")


def _shapes(shapes: Sequence[Shape]) -> str:
    return listed([str(shape) for shape in shapes], most=6)
