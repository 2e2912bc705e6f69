"""Compares your own program in JAX with its original in PyTorch: forward, gradients, N steps.

    theirs = TorchProgram(module, torch_loss, lambda params: torch.optim.Adam(params, 1e-3))
    ours = JaxProgram(function, params, jax_loss, optax.adam(1e-3), names=names)
    pair = compare_programs(ours, theirs, batches)
    print(*pair.verdicts, sep="\\n")
    write_parity_report(pair, Path("reports/pair"), title="classifier", command="…")

Both begin with the second program's weights and buffers and take the same batches. After the last
step both are evaluated. docs/pair.md has examples.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.parity.both import REPLAY_FIRST, Both, Dropout, Taken, check_dropout
from shared.parity.causes import Case, explain, hint
from shared.parity.comparable import comparable
from shared.parity.comparison import PROVED, Comparison, check_tolerance
from shared.parity.coverage import Coverage
from shared.parity.diagnosis import SAME
from shared.parity.examples import read_examples, read_inputs
from shared.parity.findings import Findings
from shared.protocol.gaps import Gap, joined
from shared.protocol.program import Example, Program, Start
from shared.protocol.trace import Trace, phase_of

SAME_IN_FLOAT32 = 1e-4
"""Tolerance as `shared.parity.diagnosis.SAME`, for a single step in float32."""


def compare_programs(
    first: Program,
    second: Program,
    batches: Any,
    *,
    steps: int | None = None,
    held_out: Any = None,
    dropout: Dropout = None,
    tolerance: float = PROVED,
    suspects: Mapping[str, Program] | None = None,
) -> Findings:
    """Runs both programs from the second one's weights, and looks for the cause if they differ.
    Afterwards the second one has these weights again.

    Args:
        first: the port.
        second: the original.
        batches: (inputs, targets) of each step, from a list, a data loader or a generator. Both may
            be any nesting of tuples, lists, dicts, named tuples and dataclasses, with None where
            there is nothing. A tuple or list of inputs has the arguments of the model, a dict its
            keyword arguments; anything else is one argument.
        steps: how many; if there are fewer batches, they are used again. By default one for each
            batch.
        held_out: inputs for the evaluation after the last step; by default those of the last batch.
        dropout: how random draws are the same in both. "replay" gives what the second one draws to
            the first, in order; {path of the second's module: path of the first's} gives it by
            name; "replay-first" gives the first's draws to the second. None means that nothing is
            drawn.
        tolerance: largest deviation that counts as equal.
        suspects: what may be the cause, by name → the first program with that one thing changed.

    Returns:
        What `write_parity_report` takes; `.comparison.check()` raises unless they are equal.

    Raises:
        InvalidInput: no batches or steps, values that are not finite, one program twice, programs
            whose tensors have other names, shapes or dtypes, draws of another number or shape.
    """
    _check_programs({"first": first, **(suspects or {})}, second)
    check_tolerance(tolerance)
    check_dropout(dropout)
    examples = read_examples(batches, steps)
    evaluated = examples[-1].inputs if held_out is None else read_inputs("held_out", held_out)
    both = Both(first, second, dropout)
    start = second.now()
    taken = [examples[i % len(examples)] for i in range(steps or len(examples))]
    try:
        what = "in evaluation mode" if held_out is None else "held_out, inputs without targets"
        found = _Run(both, start, tolerance, what).take(taken, evaluated)
        hints = [*first.hints(taken[-1]), *second.hints(taken[-1])]
        diagnosis = None
        difference = found.comparison.difference
        if difference is not None:
            same = SAME if found.comparison.precisions <= {"float64"} else SAME_IN_FLOAT32
            until = taken[: difference.step]
            case = Case(both, start, found.before, until, evaluated, found.comparison, examples)
            diagnosis = explain(case, suspects or {}, same)
            hints += hint(diagnosis, hints)
        return Findings(
            found.comparison,
            found.losses,
            diagnosis,
            hints=hints,
            gaps=found.gaps,
            draws=found.draws,
            evaluated="" if not found.evaluation else "seen" if held_out is None else "held out",
        )
    finally:
        second.begin(start)


def _check_programs(others: Mapping[str, Program], second: Program) -> None:
    for name, program in {**others, "second": second}.items():
        if not callable(getattr(program, "step", None)):
            got = " ".join(repr(program).split())[:80]
            raise InvalidInput(f"{name}: expected a JaxProgram or a TorchProgram, got {got}")
        if program is second and name != "second":
            raise InvalidInput(f"{name}: expected another program than the second, got the same")


class _Run:
    """The steps of both programs, compared as they are taken."""

    def __init__(self, both: Both, start: Start, tolerance: float, evaluates: str) -> None:
        self.both, self._evaluates = both, evaluates
        self.comparison = Comparison(both.first.name, both.second.name, tolerance)
        self.before = start
        """The second's state before the first step that differs."""
        self.draws = 0
        self.evaluation = False
        self.gaps: list[Gap] = []
        self._losses: list[tuple[float, float]] = []
        self._taken: Taken | None = None
        self._repeating: set[str] = set()
        self._start = start
        weights = {name: w for name, w in start.weights.items() if name not in start.tied}
        self._coverage = Coverage(weights, tolerance)

    @property
    def losses(self) -> tuple[np.ndarray, np.ndarray]:
        a, b = (np.array(side) for side in zip(*self._losses, strict=True))
        return a, b

    def take(self, examples: list[Example], evaluated: Any) -> "_Run":
        self.both.begin(self._start)
        trained: set[str] = set()
        for step, example in enumerate(examples, 1):
            earlier = self.both.second.now()
            taken = self.both.step(example)
            mine, theirs = taken.mine, taken.theirs
            self.draws += taken.draws
            self._note_same_draws(taken)
            self._coverage.add(theirs)
            trained |= {n.partition("/")[2] for n in theirs if phase_of(n) == "gradients"}
            self._losses.append((float(mine["loss/loss"]), float(theirs["loss/loss"])))
            if step == len(examples):
                outputs = self._evaluated(evaluated)
                self.evaluation = bool(outputs[0])
                mine, theirs = mine | outputs[0], theirs | outputs[1]
            found = self.comparison.difference is not None
            self._compare(step, mine, theirs)
            if self.comparison.difference is not None and not found:
                self.before = earlier
        self.comparison.left_out -= self.comparison.deviations.keys()  # it came later
        frozen = self._start.weights.keys() - trained
        of_weights = self._coverage.gaps(frozen, self.both.second.rows())
        of_draws = [Gap("same-draws", name) for name in sorted(self._repeating)]
        self.gaps = joined(self.both.second.gaps(), of_weights, of_draws)
        return self

    def _note_same_draws(self, taken: Taken) -> None:
        """Notes who draws at this step what it drew at the last: replayed draws do not show it."""
        before, self._taken = self._taken, taken
        first, second = self.both.first.name, self.both.second.name
        if before is not None and taken.keys & before.keys:
            self._repeating.add(first)
        if before is not None and taken.numbers and taken.numbers == before.numbers:
            self._repeating.add(first if self.both.dropout == REPLAY_FIRST else second)

    def _evaluated(self, inputs: Any) -> tuple[Trace, Trace]:
        try:
            return self.both.evaluate(inputs)
        except InvalidInput as error:
            raise InvalidInput(f"{self._evaluates}: {error}") from error

    def _compare(self, step: int, mine: Trace, theirs: Trace) -> None:
        for program, trace in ((self.both.first, mine), (self.both.second, theirs)):
            if not any(a.size for n, a in trace.items() if phase_of(n) == "logits"):
                raise InvalidInput(
                    f"{program.name}: outputs: expected elements to compare, got none"
                )
        updated = [any(phase_of(n) == "weights" for n in trace) for trace in (mine, theirs)]
        if updated[0] != updated[1]:
            lacking = self.both.first.name if updated[1] else self.both.second.name
            raise InvalidInput(
                f"{lacking}: expected an optimizer, as the other program has, or none in both"
            )
        shown = comparable(mine, theirs, self._start)
        self.comparison.left_out |= {
            name for name in mine.keys() ^ theirs.keys() if self._is_left_out(name, mine, theirs)
        }
        self.comparison.add(step, *({n: a[None] for n, a in trace.items()} for trace in shown))

    def _is_left_out(self, name: str, mine: Trace, theirs: Trace) -> bool:
        """Tells whether something was not compared that somebody may miss."""
        phase, _, tensor = name.partition("/")
        if phase == "gradients":
            return name in mine
        if phase == "buffers" and name in theirs:  # a constant is none that the port must have
            start = self._start.buffers.get(tensor)
            return start is None or not np.array_equal(theirs[name], start, equal_nan=True)
        return phase in ("moments", "buffers")
