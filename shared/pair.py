"""Compares your own program in JAX with its original in PyTorch: forward, gradients, N steps.

    theirs = TorchProgram(module, torch_loss, lambda params: torch.optim.Adam(params, 1e-3))
    ours = JaxProgram(function, params, jax_loss, optax.adam(1e-3), names=names)
    pair = compare_programs(ours, theirs, batches)
    print(*pair.verdicts, sep="\\n")
    write_parity_report(pair, Path("reports/pair"), title="classifier", command="…")

Both begin with the second program's weights and take the same batches. docs/pair.md has an example.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from shared.errors import InvalidInput
from shared.lockstep import SAME, VANISHED, Diagnosis, Finding
from shared.parity import PROVED, Comparison
from shared.parity_report import Findings
from shared.trace import Trace, phase_of
from shared.weights import Weights

Inputs = Sequence[np.ndarray]
"""What the model is called with, one array or several."""
FORWARD = ("embedded", "layers", "logits", "loss")


class Example(NamedTuple):
    """One batch."""

    inputs: Inputs
    targets: np.ndarray


class Program(Protocol):
    """A model with its loss and optimizer, in either framework."""

    name: str

    def begin(self, weights: Weights) -> None:
        """Takes over weights by their names in PyTorch; the optimizer forgets what it knew."""
        ...

    def weights(self) -> Weights: ...

    def step(self, example: Example) -> Trace:
        """Takes an optimizer step and shows it; without an optimizer, up to the gradients."""
        ...

    def hints(self, example: Example) -> list[str]:
        """What a look at the program itself tells, such as arithmetic in float32."""
        ...


def compare_programs(
    first: Program,
    second: Program,
    batches: Sequence[tuple[Any, np.ndarray]],
    *,
    steps: int | None = None,
    tolerance: float = PROVED,
    suspects: Mapping[str, Program] | None = None,
) -> Findings:
    """Runs both programs from the second one's weights, and looks for the cause if they differ.

    Args:
        first: the port.
        second: the original.
        batches: (inputs, targets) of each step; inputs are an array, or a tuple of arrays where the
            model takes several.
        steps: how many; more than there are batches go through them again. By default one for each
            batch.
        tolerance: largest deviation that counts as equal.
        suspects: what may be the cause, by name → the first program with that one thing changed.

    Returns:
        What `write_parity_report` takes; `.comparison.check()` raises unless they are equal.

    Raises:
        InvalidInput: no batches, or programs whose tensors have other names, shapes or dtypes.
    """
    examples = [_example(inputs, targets) for inputs, targets in batches]
    if not examples:
        raise InvalidInput("batches: expected (inputs, targets) at least once, got none")
    start = second.weights()
    first.begin(start)
    second.begin(start)
    comparison = Comparison(first.name, second.name, tolerance)
    losses: list[tuple[float, float]] = []
    before = start
    for step in range(1, (steps or len(examples)) + 1):
        example = examples[(step - 1) % len(examples)]
        earlier = second.weights()
        mine, theirs = _same_moments(first.step(example), second.step(example))
        found = comparison.difference is not None
        comparison.add(step, *({n: a[None] for n, a in t.items()} for t in (mine, theirs)))
        if comparison.difference is not None and not found:
            before = earlier
        losses.append((float(mine["loss/loss"]), float(theirs["loss/loss"])))
    a, b = (np.array(side) for side in zip(*losses, strict=True))
    diagnosis, hints = None, []
    if comparison.difference is not None:
        at = (comparison.difference.step - 1) % len(examples)
        diagnosis = _diagnose(first, second, before, examples[at], suspects or {})
        hints = first.hints(examples[at])
    return Findings(comparison, (a, b), diagnosis, hints=hints)


def _diagnose(
    first: Program, second: Program, before: Weights, example: Example, suspects: Mapping
) -> Diagnosis:
    """Takes the step that differed again, from the second program's weights before it and a fresh
    optimizer: once as it was, once for each suspect, once for each way to misread the weights."""
    second.begin(before)
    expected = second.step(example)

    def left(program: Program, weights: Weights, phases: Sequence[str] | None) -> float:
        program.begin(weights)
        trace, wanted = _same_moments(program.step(example), expected)
        names = [n for n in trace if phases is None or phase_of(n) in phases]
        comparison = Comparison(program.name, second.name, np.inf)
        comparison.add(1, *({n: t[n][None] for n in names} for t in (trace, wanted)))
        return comparison.largest[0]

    def finding(name: str, about: str, deviation: float, whole: float) -> Finding:
        return Finding(name, about, deviation, deviation < min(VANISHED * whole, SAME))

    whole = left(first, before, None)
    findings = []
    for name, program in suspects.items():
        findings.append(finding(name, name, left(program, before, None), whole))
    forward = left(first, before, FORWARD)
    if forward > SAME:
        for name, about, misread in _misreadings(before):
            deviation = left(first, misread(before), FORWARD)
            findings.append(finding(name, about, deviation, forward))
    return Diagnosis(whole, findings)


Misreading = tuple[str, str, Callable[[Weights], Weights]]


def _misreadings(weights: Weights) -> Iterator[Misreading]:
    """Name, description, and the weights with which a program that misreads them would be right."""
    recurrent = {
        name: _gates(weights, name)
        for name in weights
        if "_hh_l" in name or "_ih_l" in name  # torch's names of recurrent tensors
    }
    for gates, letters in ((4, "ifgo"), (3, "rzn")):
        names = [name for name, count in recurrent.items() if count == gates]
        for order in itertools.permutations(letters) if names else ():
            read = "".join(order)
            if read != letters:
                about = f"gates are read in the order {' '.join(read)}, not {' '.join(letters)}"
                yield f"gates:{read}", about, _reordered(names, letters, read)
        if gates == 4 and names:
            about = "1 is added to the forget gate's bias, as in TensorFlow 1, Haiku and Keras"
            yield "forget-bias", about, _shifted(names, letters.index("f"))
    for name, array in weights.items():
        blocks = recurrent.get(name, 1)
        if array.ndim == 2 and array.shape[0] == blocks * array.shape[1] and array.shape[1] > 1:
            yield f"transposed:{name}", f"{name} is read transposed", _transposed(name, blocks)


def _gates(weights: Weights, name: str) -> int:
    """Row blocks of a recurrent tensor: its rows by the hidden size, the columns of W_hh."""
    ending = name[name.index("_l", name.index("h_l")) :]
    prefix = name[: name.rindex(("weight" if "weight_" in name else "bias") + "_")]
    hidden = weights.get(f"{prefix}weight_hh{ending}")
    return 1 if hidden is None else max(1, len(weights[name]) // hidden.shape[1])


def _reordered(names: Sequence[str], letters: str, read: str) -> Callable[[Weights], Weights]:
    """Rows laid out so that a program which reads them in the order `read` sees `letters`."""

    def change(weights: Weights) -> Weights:
        changed = dict(weights)
        for name in names:
            blocks = dict(zip(letters, np.split(weights[name], len(letters)), strict=True))
            changed[name] = np.concatenate([blocks[gate] for gate in read])
        return changed

    return change


def _shifted(names: Sequence[str], gate: int) -> Callable[[Weights], Weights]:
    """One of the two biases lowered by 1 in the rows of a gate."""

    def change(weights: Weights) -> Weights:
        changed = dict(weights)
        for name in names:
            if "bias_ih" in name:
                rows = len(weights[name]) // 4
                changed[name] = weights[name].copy()
                changed[name][gate * rows : (gate + 1) * rows] -= 1
        return changed

    return change


def _transposed(name: str, blocks: int) -> Callable[[Weights], Weights]:
    def change(weights: Weights) -> Weights:
        parts = [part.T for part in np.split(weights[name], blocks)]
        return {**weights, name: np.ascontiguousarray(np.concatenate(parts))}

    return change


def _same_moments(first: Trace, second: Trace) -> tuple[Trace, Trace]:
    """Without the moments that one side does not have: optimizers remember different things."""

    def without(trace: Trace, other: Trace) -> Trace:
        return {n: a for n, a in trace.items() if phase_of(n) != "moments" or n in other}

    return without(first, second), without(second, first)


def _example(inputs: Any, targets: np.ndarray) -> Example:
    several = isinstance(inputs, (tuple, list))
    arrays = tuple(map(np.asarray, inputs)) if several else (np.asarray(inputs),)
    return Example(arrays, np.asarray(targets))
