"""Compares your own program in JAX with its original in PyTorch: forward, gradients, N steps.

    theirs = TorchProgram(module, torch_loss, lambda params: torch.optim.Adam(params, 1e-3))
    ours = JaxProgram(function, params, jax_loss, optax.adam(1e-3), names=names)
    pair = compare_programs(ours, theirs, batches)
    print(*pair.verdicts, sep="\\n")
    write_parity_report(pair, Path("reports/pair"), title="classifier", command="…")

Both begin with the second program's weights and take the same batches. docs/pair.md has an example.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.parity.comparison import PROVED, Comparison, check_tolerance, deviation, in_both
from shared.parity.diagnosis import SAME, VANISHED, Diagnosis, Finding, ranked
from shared.parity.findings import Findings
from shared.parity.misreadings import misreadings
from shared.protocol.program import Example, Program
from shared.protocol.trace import Trace, phase_of
from shared.protocol.weights import Weights

SAME_IN_FLOAT32 = 1e-4
"""Tolerance as `shared.parity.diagnosis.SAME`, for a single step in float32."""
FORWARD = ("embedded", "layers", "logits", "loss")


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
    Afterwards the second one has these weights again.

    Args:
        first: the port.
        second: the original.
        batches: (inputs, targets) of each step; inputs are an array, or a tuple of arrays where the
            model takes several.
        steps: how many; if there are fewer batches, they are used again. By default one for each
            batch.
        tolerance: largest deviation that counts as equal.
        suspects: what may be the cause, by name → the first program with that one thing changed.

    Returns:
        What `write_parity_report` takes; `.comparison.check()` raises unless they are equal.

    Raises:
        InvalidInput: no batches or steps, values that are not finite, one program twice, programs
            whose tensors have other names, shapes or dtypes.
    """
    _check_programs({"first": first, **(suspects or {})}, second)
    examples = [_example(i, batch) for i, batch in enumerate(batches or ())]
    if not examples:
        raise InvalidInput("batches: expected (inputs, targets) at least once, got none")
    if steps is not None and (not isinstance(steps, (int, np.integer)) or steps < 1):
        raise InvalidInput(f"steps: expected a positive number, got {steps}")
    check_tolerance(tolerance)
    start = second.weights()
    try:
        return _compare(first, second, start, examples, steps, tolerance, suspects or {})
    finally:
        second.begin(start)


def _check_programs(others: Mapping[str, Program], second: Program) -> None:
    for name, program in {**others, "second": second}.items():
        if not callable(getattr(program, "step", None)):
            raise InvalidInput(f"{name}: expected a JaxProgram or a TorchProgram, got {program!r}")
        if program is second and name != "second":
            raise InvalidInput(f"{name}: expected another program than the second, got the same")


def _compare(
    first: Program,
    second: Program,
    start: Weights,
    examples: Sequence[Example],
    steps: int | None,
    tolerance: float,
    suspects: Mapping[str, Program],
) -> Findings:
    first.begin(start)
    second.begin(start)
    comparison = Comparison(first.name, second.name, tolerance)
    losses: list[tuple[float, float]] = []
    before, alive = start, set()
    for step in range(1, (steps or len(examples)) + 1):
        example = examples[(step - 1) % len(examples)]
        earlier = second.weights()
        traces = first.step(example), second.step(example)
        for program, trace in zip((first, second), traces, strict=True):
            if not any(a.size for n, a in trace.items() if phase_of(n) == "logits"):
                raise InvalidInput(
                    f"{program.name}: outputs: expected elements to compare, got none"
                )
        # Optimizers remember different things.
        mine, theirs = in_both(*traces, ("moments",))
        # In the second one's order, which knows in which its layers ran.
        mine = {n: mine[n] for n in theirs if n in mine} | mine
        comparison.left_out |= {
            n for n in traces[0].keys() ^ traces[1].keys() if n.startswith("moments/")
        }
        found = comparison.difference is not None
        comparison.add(step, *({n: a[None] for n, a in t.items()} for t in (mine, theirs)))
        if comparison.difference is not None and not found:
            before = earlier
        alive |= _alive(theirs, start, tolerance)
        losses.append((float(mine["loss/loss"]), float(theirs["loss/loss"])))
    a, b = (np.array(side) for side in zip(*losses, strict=True))
    hints = [*first.hints(examples[-1]), *second.hints(examples[-1])]
    difference, diagnosis = comparison.difference, None
    if difference is None:
        idle = {
            "gradients": "every gradient is zero",
            "weights": "no weight moves by more than the tolerance",
        }
        hints += [f"{second.name}: {idle[phase]}" for phase in idle if phase not in alive]
    else:
        taken = [examples[i % len(examples)] for i in range(difference.step)]
        same = SAME if comparison.precisions <= {"float64"} else SAME_IN_FLOAT32
        diagnosis = _diagnose(first, second, start, before, taken, suspects, same)
        if difference.phase in ("moments", "weights") and not diagnosis.causes:
            hints.append(
                "outputs and gradients agree, so look at the optimizer: its settings, clipping, "
                "schedule; what you suspect can be tried with suspects="
            )
    return Findings(comparison, (a, b), diagnosis, hints=hints)


def _alive(trace: Trace, start: Weights, tolerance: float) -> set[str]:
    """Returns which of gradients and weights are alive. Gradients are if they are not all zero.
    Weights are if they have moved or there is nothing to move them. Without this check, a step in
    the wrong direction would pass if it were small enough."""
    found = set()
    if any(a.any() for n, a in trace.items() if phase_of(n) == "gradients"):
        found.add("gradients")
    after = {n.removeprefix("weights/"): a for n, a in trace.items() if phase_of(n) == "weights"}
    moved = any(
        np.abs(array - start[name]).max(initial=0.0) > tolerance * np.abs(array).max(initial=0.0)
        for name, array in after.items()
    )
    return found | ({"weights"} if moved or not after else set())


def _diagnose(
    first: Program,
    second: Program,
    start: Weights,
    before: Weights,
    examples: Sequence[Example],
    suspects: Mapping[str, Program],
    same: float,
) -> Diagnosis:
    """Takes the steps up to the one that differed, the last of `examples`, again: as they were, and
    once for each suspect. Then it takes the last one alone, once for each way to misread the
    weights."""

    def finding(name: str, about: str, deviation: float, whole: float) -> Finding:
        return Finding(name, about, deviation, deviation < min(VANISHED * whole, same))

    whole, name, step = _step_by_step(first, second, start, examples)
    findings = []
    for suspect, program in suspects.items():
        try:
            left, _, _ = _step_by_step(program, second, start, examples)
        except InvalidInput as error:
            raise InvalidInput(f"suspects: {suspect}: {error}") from error
        findings.append(finding(suspect, "the program given for it", left, whole))
    second.begin(before)
    expected = _forward(second.step(examples[-1]))

    def forward(weights: Weights) -> float:
        first.begin(weights)
        return deviation(_forward(first.step(examples[-1])), expected)[0]

    whole_forward = forward(before)
    if whole_forward > same:
        for misreading, about, misread in misreadings(before):
            findings.append(finding(misreading, about, forward(misread(before)), whole_forward))
    return Diagnosis(step, name, whole, ranked(findings))


def _step_by_step(
    first: Program, second: Program, start: Weights, examples: Sequence[Example]
) -> tuple[float, str, int]:
    """Returns the largest deviation of any step, with its tensor and step, if the first program
    takes each step from the second's weights. It has nothing of what earlier steps have added up,
    but all that the optimizers remember."""
    first.begin(start)
    second.begin(start)
    found = []
    for step, example in enumerate(examples, 1):
        first.load(second.weights())
        traces = in_both(first.step(example), second.step(example), ("moments",))
        found.append((*deviation(*traces), step))
    return max(found, key=lambda one: one[0])


def _forward(trace: Trace) -> Trace:
    return {name: array for name, array in trace.items() if phase_of(name) in FORWARD}


def _example(i: int, batch: Any) -> Example:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise InvalidInput(f"batches[{i}]: expected (inputs, targets), got {type(batch).__name__}")
    inputs = batch[0] if isinstance(batch[0], (tuple, list)) else (batch[0],)
    arrays = [_numbers(f"batches[{i}]", array) for array in (*inputs, batch[1])]
    return Example(tuple(arrays[:-1]), arrays[-1])


def _numbers(what: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InvalidInput(f"{what}: expected arrays, got: {error}") from error
    if array.dtype.kind not in "fiub":
        raise InvalidInput(f"{what}: expected real numbers, got {array.dtype}")
    if array.dtype.itemsize > 8:
        raise InvalidInput(f"{what}: expected numbers of 64 bits at most, got {array.dtype}")
    if not array.size:
        raise InvalidInput(f"{what}: expected elements, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidInput(f"{what}: expected finite numbers, got {array[~np.isfinite(array)][0]}")
    return array
