"""What is known of a step that differs, and what is found in its tensors."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from shared.protocol.trace import phase_of

LETTERS = {4: "ifgo", 3: "rzn"}
"""Gates of torch's LSTM and GRU, in the order of their row blocks."""
TENSORS = ("before", "gradients", "clipped", "moments", "weights", "buffers")
"""Phases whose arrays are shaped as parameters."""
REDUCED = ("loss", "gradients", "norm", "clipped", "moments")
"""Phases that the reduction of the loss changes."""
TWO = "two"


@dataclass(frozen=True)
class Facts:
    """What is known of the step that differs. Each is left out where it is not known."""

    first: str = "jax"
    second: str = "torch"
    blocks: Mapping[str, int] = field(default_factory=dict)
    """Torch's name of a recurrent tensor → how many blocks its rows have: 4 of an LSTM, 3 of a
    GRU."""
    hidden: int | None = None
    batch: int | None = None
    steps: int | None = None
    """T, of time."""
    lengths: Sequence[int] | None = None
    """Of the sequences, (B,)."""
    layers: int | None = None
    classes: int | None = None
    features: int | None = None
    rates: Sequence[float] = ()
    """Learning rates."""
    dropout: Sequence[float] = ()
    accumulate: int = 1
    outputs: Sequence[tuple[int, ...]] = ()
    """Sizes of the axes of each array that the model returns."""


class Pattern(NamedTuple):
    """Something that is true of all elements that differ."""

    kind: str
    about: str
    fields: Mapping[str, Any]


def tensor_of(name: str) -> str:
    """Returns torch's name of the tensor: of "moments/exp_avg.rnn.bias_ih_l0" the bias."""
    phase, _, tensor = name.partition("/")
    return tensor.partition(".")[2] if phase == "moments" else tensor


def axes_of(name: str, shape: Sequence[int], facts: Facts) -> list[str]:
    """Returns what each axis of an array is: rows and columns of a parameter, or examples, time
    steps and features; "axis" where that is not known."""
    if phase_of(name) in TENSORS:
        rows, others = ["rows"][: len(shape)], len(shape) - 1
        return rows + (["columns"] if others == 1 else ["axis"] * others)
    axes = ["axis"] * len(shape)
    sizes = {"examples": facts.batch, "steps": facts.steps}
    for what, size in sizes.items():
        found = [i for i, n in enumerate(shape[:2]) if n == size]
        # Axes are told by their sizes: of two with one size, neither is.
        if len(found) == 1 and facts.batch != facts.steps:
            axes[found[0]] = what
    # Of two axes of which nothing is known, the last may be the examples.
    if axes[-1:] == ["axis"] and (len(shape) > 2 or axes[0] != "axis"):
        axes[-1] = "features"
    return axes


def quantities(name: str, facts: Facts) -> Iterator[tuple[str, float]]:
    """Yields numbers by which a tensor may be wrong, and what they are; the likeliest first. For
    the loss these are only numbers that a reduction brings about."""
    known = list(_of_a_reduction(facts))
    if phase_of(name) in REDUCED:
        known += _of_outputs(facts, [value for _, value in known])
    if phase_of(name) != "loss":
        known += _of_a_model(facts)
    known.append((TWO, 2.0))
    yield from ((what, value) for what, value in known if not math.isclose(value, 1))


def roots(name: str, shape: Sequence[int], facts: Facts) -> Iterator[tuple[str, float]]:
    """Yields square roots of sizes, as initializers and attention have them. No loss has them."""
    if phase_of(name) == "loss":
        return
    named = {"the hidden size": facts.hidden, "the number of features": facts.features}
    known = [(f"the square root of {w}", math.sqrt(v)) for w, v in named.items() if v]
    known += [(f"the square root of {n}, the size of an axis", math.sqrt(n)) for n in shape]
    yield from ((what, value) for what, value in known if not math.isclose(value, 1))


def _of_a_reduction(facts: Facts) -> Iterator[tuple[str, float]]:
    named = {
        "the batch size": facts.batch,
        "the number of time steps": facts.steps,
        "the number of classes": facts.classes,
    }
    sizes = [(what, float(size)) for what, size in named.items() if size and size > 1]
    yield from sizes
    yield "the number of accumulated batches", float(facts.accumulate)
    if facts.lengths is not None:
        tokens, count = float(np.sum(facts.lengths)), len(facts.lengths)
        yield "the sum of the lengths", tokens
        yield "the mean length", tokens / count
        if facts.steps:
            yield "the share of positions without padding", tokens / count / facts.steps
    for many in (2, 3):
        for some in itertools.combinations(sizes, many):
            labels, values = zip(*some, strict=True)
            yield " times ".join(labels), math.prod(values)


def _of_outputs(facts: Facts, named: Sequence[float]) -> Iterator[tuple[str, float]]:
    """Yields products of axes of outputs, over which a loss may sum where it should average. Those
    that have a name are not told again."""
    told = {round(value, 9) for value in named}
    for shape in facts.outputs:
        of = "the outputs" if len(facts.outputs) == 1 else f"the outputs of shape {list(shape)}"
        ways = [("the number of elements of", tuple(range(len(shape))))]
        for many in range(1, len(shape)):
            for axes in itertools.combinations(range(len(shape)), many):
                several = f"the product of axes {' and '.join(map(str, axes))} of"
                ways.append((f"the size of axis {axes[0]} of" if many == 1 else several, axes))
        for what, axes in ways:
            size = float(math.prod(shape[axis] for axis in axes))
            if size not in told:
                told.add(size)
                yield f"{what} {of}", size


def _of_a_model(facts: Facts) -> Iterator[tuple[str, float]]:
    named = {
        "the number of layers": facts.layers,
        "the number of features": facts.features,
        "the hidden size": facts.hidden,
    }
    yield from ((what, float(size)) for what, size in named.items() if size)
    yield from ((f"1 - p of a dropout of {p:g}", 1 - p) for p in facts.dropout if 0 < p < 1)
    for r, s in itertools.combinations(dict.fromkeys(facts.rates), 2):
        if r and s:
            yield f"the ratio of the learning rates {r:g} and {s:g}", r / s
