"""Where a step differs: the first submodule whose outputs do, and the pattern of the elements."""

from collections.abc import Sequence
from dataclasses import replace

from shared.errors import InvalidInput
from shared.parity.both import Both
from shared.parity.comparison import Comparison
from shared.parity.deviation import errors, floors
from shared.parity.facts import LETTERS, Facts
from shared.parity.misreadings import _blocks
from shared.parity.patterns import growth_pattern, patterns
from shared.parity.submodules import first_divergence, pairs, paths
from shared.protocol.nests import has_packed, leaves
from shared.protocol.program import Example, Start
from shared.protocol.trace import Trace, phase_of


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
        facts: as `facts_of` returns them; the outputs are looked up in the step.
    """
    a, b = mine[name], theirs[name]
    least = floors({n: (mine[n][None], theirs[n][None]) for n in mine if n in theirs})
    differs = errors(name, a[None], b[None], least[name])[0] > tolerance
    outputs = [array.shape for n, array in theirs.items() if phase_of(n) == "logits"]
    facts = replace(facts, outputs=outputs)
    return [found.about for found in patterns(name, a, b, differs, facts)]


def rhythm(comparison: Comparison, batches: Sequence[Example]) -> list[str]:
    """Tells at which of all steps the tensor that differs first does so, if there is a rule.

    Args:
        batches: of an epoch.
    """
    assert comparison.difference is not None
    found = [batch_of(batch) for batch in batches]
    known = [size for size in found if size is not None]
    count = len(comparison.steps)
    sizes = [known[i % len(known)] for i in range(count)] if len(known) == len(found) else None
    deviations = comparison.deviations[comparison.difference.name]
    pattern = growth_pattern(deviations, comparison.tolerance, sizes, len(batches))
    return [] if pattern is None else [pattern.about]


def facts_of(both: Both, start: Start, example: Example) -> Facts:
    """Returns what is known of a step with this example."""
    batch = batch_of(example)
    steps = _steps(example, batch)
    counts = {name: _blocks(start.weights, name) for name in start.weights}
    blocks = {name: count for name, count in counts.items() if count in LETTERS}
    hidden = {len(start.weights[name]) // count for name, count in blocks.items()}
    update = both.second.update()
    return Facts(
        first=both.first.name,
        second=both.second.name,
        blocks=blocks,
        hidden=hidden.pop() if len(hidden) == 1 else None,
        batch=batch,
        steps=steps,
        lengths=_lengths(example, batch, steps),
        layers=len({name for name in start.weights if "weight_hh" in name}) or None,
        rates=sorted({rate for step in update.rates for rate in step.values()}),
        accumulate=update.accumulate,
    )


def batch_of(example: Example) -> int | None:
    """Returns how many sequences or other examples there are, where the arrays tell: by one of one
    axis (lengths, classes), or as what inputs and targets of several axes share. A single array
    does not tell, for it may have the time first: (T, B). Nor do the parts of a packed sequence."""
    if has_packed(example.inputs) or has_packed(example.targets):
        return None
    inputs = leaves(example.inputs)
    arrays = [*inputs, *leaves(example.targets)]
    several = [array for array in inputs if array.ndim > 1]
    axes = {size for array in several or inputs for size in array.shape[:2]}
    one_each = {len(array) for array in arrays if array.ndim == 1} & axes
    firsts = {array.shape[0] for array in arrays if array.ndim > 1}
    seconds = {array.shape[1] for array in arrays if array.ndim > 1}
    if len(firsts) == 1 and len(seconds) > 1:
        # Where the two disagree, the array of one axis may be of time steps: nothing is known.
        return firsts.pop() if not one_each or firsts <= one_each else None
    return one_each.pop() if len(one_each) == 1 else None


def _steps(example: Example, batch: int | None) -> int | None:
    """Returns T: beside the batch, the other of the first two axes of (B, T, I), (T, B, I), or of
    integers (B, T), (T, B)."""
    for array in (*leaves(example.inputs), *leaves(example.targets)):
        sequences = array.ndim > 2 or (array.ndim == 2 and array.dtype.kind in "iu")
        if sequences and batch in array.shape[:2]:
            return array.shape[1] if array.shape[0] == batch else array.shape[0]
    return None


def _lengths(example: Example, batch: int | None, steps: int | None) -> Sequence[int] | None:
    """Returns the integers, one for each sequence, that are none longer than the longest."""
    for array in (*leaves(example.inputs), *leaves(example.targets)):
        one_each = array.ndim == 1 and len(array) == batch and array.dtype.kind in "iu"
        if one_each and steps and array.min() > 0 and array.max() <= steps:
            return [int(length) for length in array]
    return None
