"""The findings of a comparison of two programs: verdict, cause, and how the difference grew."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shared.config import Config
from shared.parity.comparison import Comparison
from shared.parity.diagnosis import Diagnosis
from shared.parity.envelope import Envelope
from shared.parity.lockstep import Side
from shared.parity.traps import about
from shared.protocol.gaps import Gap, counted, summary


@dataclass(frozen=True)
class Findings:
    """The content of a report. It needs only the comparison."""

    comparison: Comparison
    losses: tuple[np.ndarray, np.ndarray] | None = None
    """Training losses of both sides, step by step."""
    diagnosis: Diagnosis | None = None
    planted: str | None = None
    """The trap that was planted in the first side."""
    envelope: Envelope | None = None
    sides: Sequence[Side] = ()
    config: Config | None = None
    hints: Sequence[str] = ()
    """Hints that a look at the programs gives."""
    gaps: Sequence[Gap] = ()
    """What the steps did not exercise."""
    draws: int = 0
    """How many random draws of one side were replayed in the other."""
    evaluated: Literal["", "seen", "held out"] = ""
    """Inputs on which both were compared in evaluation mode: those of the last batch, others, or
    none."""

    def __repr__(self) -> str:
        """Returns the verdicts: all arrays of all steps would fill pages of a notebook."""
        return f"Findings({'; '.join(self.verdicts)})"

    @property
    def verdicts(self) -> list[str]:
        """Lines that come first, in the report and on the terminal."""
        comparison = self.comparison
        lines = [f"planted in {comparison.first}: {_trap(self.planted)}"] if self.planted else []
        if comparison.equal:
            proof = "proved in" if comparison.precisions == {"float64"} else "in"
            precisions = " and ".join(sorted(comparison.precisions)) or "integers"
            extent = [
                "evaluated on held-out inputs" if self.evaluated == "held out" else "",
                "evaluated on the last batch" if self.evaluated == "seen" else "",
                f"{counted(self.draws, 'random draw')} replayed" if self.draws else "",
                summary(self.gaps),
            ]
            lines.append(
                "; ".join([f"{proof} {precisions}: {comparison.sentence}", *filter(None, extent)])
            )
            lines += [f"not exercised: {gap.described}" for gap in self.gaps]
        else:
            lines.append(f"NOT equal: {comparison.sentence}")
            lines += cause(comparison, self.diagnosis, noted=bool(self._sides))
        lines += [f"{'note' if comparison.equal else 'hint'}: {hint}" for hint in self.hints]
        lines += [f"note: {note}" for note in self.notes]
        return lines + ([f"float32: {self.envelope.sentence}"] if self.envelope else [])

    @property
    def notes(self) -> list[str]:
        """Facts that a reader must know, such as weights that the layers of a side cannot hold."""
        return self._sides + self.comparison.notes

    @property
    def _sides(self) -> list[str]:
        return [f"{side.name}: {note}" for side in self.sides for note in side.backend.notes]


def cause(comparison: Comparison, diagnosis: Diagnosis | None, noted: bool = False) -> list[str]:
    """Explains a difference, in a line for each trap that explains it; empty without a diagnosis.

    Args:
        noted: whether the sides have a note, which may explain the difference.
    """
    difference = comparison.difference
    if diagnosis is None or difference is None:
        return []
    if diagnosis.rounding:
        steps = f"no step up to {difference.step}" if difference.step > 1 else "no step"
        return [
            f"{steps}, taken alone from one state, deviates by more than "
            f"{diagnosis.deviation:.0e}: what differs is rounding that the steps have added up"
        ]
    earlier = [
        f"of all steps, taken alone from one state, step {diagnosis.step} deviates most: by "
        f"{diagnosis.deviation:.0e} in {diagnosis.name}"
    ]
    lines = [
        f"cause: {finding.name}: {finding.about} (with it switched, {finding.deviation:.0e} is "
        "left of the difference)"
        for finding in diagnosis.findings
        if finding.vanishes
    ]
    lines = [*diagnosis.where, *lines]
    found = any(finding.vanishes for finding in diagnosis.findings)
    tried = len(diagnosis.findings)
    if tried and not found and not noted:
        lines.append(f"cause: not found among those that could play a part ({tried} tried)")
    return (earlier if diagnosis.step < difference.step else []) + lines


def growth(comparison: Comparison) -> list[tuple[int, str, str]]:
    """Returns how a difference grew, as it is shown: step, largest deviation and its tensor, if
    any. Empty where the difference was there at once."""
    rows = comparison.growth
    if comparison.equal or len(rows) < 2:
        return []
    return [(step, in_digits(size), name if size else "") for step, size, name in rows]


def in_digits(deviation: float) -> str:
    """Returns a deviation as it is shown: "1.23e-10", "0", "not finite"."""
    return f"{deviation:.2e}" if 0 < deviation < np.inf else "0" if not deviation else "not finite"


def _trap(name: str) -> str:
    return f"{name}: {about(name)}"
