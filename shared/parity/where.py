"""Where a step differs: the first submodule whose outputs do, and the pattern of the elements."""

from collections.abc import Sequence

import numpy as np

from shared.errors import InvalidInput
from shared.parity.both import Both
from shared.parity.comparison import Comparison
from shared.parity.deviation import errors, floors
from shared.parity.facts import LETTERS, Facts
from shared.parity.misreadings import _blocks
from shared.parity.patterns import patterns
from shared.parity.submodules import first_divergence, pairs, paths
from shared.protocol.nests import leaves
from shared.protocol.program import Example, Start
from shared.protocol.trace import Trace


def divergence(both: Both, start: Start, example: Example, tolerance: float) -> list[str]:
    """Tells the first submodule, of those that have a twin, whose outputs differ; nothing if none
    does or the programs do not show theirs.

    Args:
        start: what both begin with.
    """
    both.begin(start)
    try:
        mine, theirs = both.calls(example)
    except InvalidInput:  # a look from the side must not stop the report
        return []
    kinds = both.second.kinds()
    found = pairs(both.first.places(), paths(mine), paths(theirs, kinds), start.tied)
    first = first_divergence(mine, theirs, found, tolerance, kinds)
    return [] if first is None else [first.about]


def pattern(name: str, mine: Trace, theirs: Trace, facts: Facts, tolerance: float) -> list[str]:
    """Tells what the elements of a tensor that differ have in common.

    Args:
        mine, theirs: a step of both; the tensor's first difference is in it.
    """
    a, b = mine[name], theirs[name]
    least = floors({n: (mine[n][None], theirs[n][None]) for n in mine if n in theirs})
    differs = errors(name, a[None], b[None], least[name])[0] > tolerance
    return [found.about for found in patterns(name, a, b, differs, facts)]


def facts_of(
    both: Both, start: Start, examples: Sequence[Example], comparison: Comparison
) -> Facts:
    """Returns what is known of the last of these examples, and of how the difference came and
    went."""
    example = examples[-1]
    arrays = [array for array in leaves(example.inputs) if array.ndim]
    batch = len(arrays[0]) if arrays else None
    steps = next((a.shape[1] for a in arrays if a.ndim > 1 and len(a) == batch), None)
    counts = {name: _blocks(start.weights, name) for name in start.weights}
    blocks = {name: count for name, count in counts.items() if count in LETTERS}
    hidden = {len(start.weights[name]) // count for name, count in blocks.items()}
    sizes = [len(leaves(one.inputs)[0]) for one in examples if leaves(one.inputs)[0].ndim]
    update = both.second.update()
    difference = comparison.difference
    return Facts(
        first=both.first.name,
        second=both.second.name,
        blocks=blocks,
        hidden=hidden.pop() if len(hidden) == 1 else None,
        batch=batch,
        steps=steps,
        lengths=_lengths(example, batch, steps),
        layers=len({name for name in start.weights if "weight_hh" in name}) or None,
        differing=_differing(comparison),
        compared=len(comparison.steps),
        smaller=bool(difference and sizes and sizes[-1] < max(sizes)),
        rates=sorted({rate for step in update.rates for rate in step.values()}),
        accumulate=update.accumulate,
    )


def _lengths(example: Example, batch: int | None, steps: int | None) -> Sequence[int] | None:
    """Returns the integers, one for each sequence, that are none longer than the longest."""
    for array in (*leaves(example.inputs), *leaves(example.targets)):
        one_each = array.ndim == 1 and len(array) == batch and array.dtype.kind in "iu"
        if one_each and steps and array.min() > 0 and array.max() <= steps:
            return [int(length) for length in array]
    return None


def _differing(comparison: Comparison) -> list[int]:
    assert comparison.difference is not None
    found = np.array(comparison.deviations[comparison.difference.name])
    return [comparison.steps[i] for i in np.flatnonzero(found > comparison.tolerance)]
