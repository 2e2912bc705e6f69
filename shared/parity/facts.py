"""What is known of a step that differs, and what is found in its tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.protocol.trace import phase_of

LETTERS = {4: "ifgo", 3: "rzn"}
"""Gates of torch's LSTM and GRU, in the order of their row blocks."""
TENSORS = ("before", "gradients", "clipped", "moments", "weights", "buffers")
"""Phases whose arrays are shaped as parameters."""


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
    batches: int | None = None
    """In an epoch."""
    differing: Sequence[int] = ()
    """Steps at which the tensor differs, from 1."""
    compared: int | None = None
    """Steps that were compared."""
    smaller: bool = False
    """True if the last batch of an epoch has fewer examples."""
    rates: Sequence[float] = ()
    """Learning rates."""
    dropout: Sequence[float] = ()
    accumulate: int = 1


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
    steps and features."""
    if phase_of(name) in TENSORS:
        rows, others = ["rows"][: len(shape)], len(shape) - 1
        return rows + (["columns"] if others == 1 else ["axis"] * others)
    axes = ["axis"] * len(shape)
    for what, size in (("examples", facts.batch), ("steps", facts.steps)):
        found = [i for i, n in enumerate(shape) if n == size and axes[i] == "axis"]
        if found and found[0] < 2:
            axes[found[0]] = what
    if len(shape) > 1 and axes[-1] == "axis":
        axes[-1] = "features"
    return axes
