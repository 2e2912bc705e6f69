"""A trace: everything that a training step computes, as arrays by name, phase after phase.

    inputs/…      inputs, targets, weights, and where there are any lengths and masks; learning_rate
    before/…      parameters by their canonical names, and the carried state: carry.h, carry.c
    embedded/…    embedded: what the first recurrent layer reads, (B, T, I)
    layers/…      0.outputs (B, T, D·H), 0.state.h (D, B, H), of an LSTM 0.state.c; then 1.outputs …
    logits/…      logits: (B, T, O), or (B, O) of the last step
    loss/…        loss, metric
    gradients/…   of the loss, by parameter
    norm/…        norm: the global norm of the gradients
    clipped/…     the gradients after clipping, by parameter; without clipping as they are
    moments/…     exp_avg.rnn.weight_ih_l0 …: what the optimizer remembers after the step
    weights/…     parameters after the step
    buffers/…     what else the step changed, by torch's names: norm.running_mean
    evaluation/…  after the last step: outputs in evaluation mode, for inputs not trained on

A run of this project has no buffers and shows no evaluation; a pair of programs does
(`shared/parity/pair.py`).

B examples, T steps, I features, H units, D directions, O outputs. Both backends give the same names
and shapes; with S steps in one call every array has a leading axis S.

How traces stand in files: `shared/parity/trace_files.py`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Trace = dict[str, np.ndarray]
"""Arrays by name, in the order in which a step computes them."""

PHASES = (
    "inputs", "before", "embedded", "layers", "logits", "loss", "gradients", "norm", "clipped",
    "moments", "weights", "buffers", "evaluation",
)  # fmt: skip
PHASES_OF_A_RUN = PHASES[:-2]
"""Those that a backend shows of a run of this project."""


def row_axis(name: str) -> int | None:
    """Returns the axis of a tensor that has a place for each row of the batch; None if it has none,
    such as a weight."""
    phase, _, rest = name.partition("/")
    if name == "inputs/learning_rate" or phase not in ("inputs", "embedded", "layers", "logits"):
        return 1 if name.startswith("before/carry.") else None
    return 1 if name == "inputs/masks" or ".state." in rest else 0


def below(phase: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tensors with names below this phase."""
    return {f"{phase}/{name}": tensor for name, tensor in tensors.items()}


def given(batch: Any, rate: Any, weights: Mapping[str, Any], carry: Sequence[Any]) -> dict:
    """Returns the start of a step: a `Batch`, its learning rate, and the state before it."""
    named = batch._asdict() | {"learning_rate": rate}
    del named["reset"]
    inputs = {name: array for name, array in named.items() if array is not None}
    return below("inputs", inputs) | below("before", {**weights, **_state("carry", carry)})


def forward(embedded: Any, layers: Sequence[Any], final: Sequence[Any], logits: Any) -> dict:
    """Returns the tensors that a network computes in its forward pass.

    Args:
        layers: outputs of each recurrent layer, or only of the last one where a framework keeps
            the others to itself.
        final: (h,) or (h, c), each (L·D, B, H).
    """
    width = layers[-1].shape[-1] // final[0].shape[-1] or 1
    depth = final[0].shape[0] // width
    seen = {"embedded/embedded": embedded}
    for layer in range(depth):
        known = layer - depth + len(layers)
        if known >= 0:
            seen[f"layers/{layer}.outputs"] = layers[known]
        rows = [part[layer * width : (layer + 1) * width] for part in final]
        seen |= below("layers", _state(f"{layer}.state", rows))
    return seen | {"logits/logits": logits}


def ordered(names: Iterable[str]) -> list[str]:
    """Returns names in the order in which their tensors are compared."""
    return sorted(names, key=_key)


def phase_of(name: str) -> str:
    return name.partition("/")[0]


def split_steps(trace: Mapping[str, np.ndarray]) -> list[Trace]:
    """Returns the steps that a call of a backend traced, one by one."""
    count = len(next(iter(trace.values())))
    return [{name: array[i] for name, array in trace.items()} for i in range(count)]


def _state(prefix: str, parts: Sequence[Any]) -> dict[str, Any]:
    return {f"{prefix}.{name}": part for name, part in zip("hc", parts, strict=False)}


def _key(name: str) -> tuple:
    phase = phase_of(name)
    rank = PHASES.index(phase) if phase in PHASES else len(PHASES)
    pieces = re.split(r"(\d+)", name)
    return rank, [(int(piece), "") if i % 2 else (0, piece) for i, piece in enumerate(pieces)]
