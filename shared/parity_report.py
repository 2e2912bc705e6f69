"""A comparison → one report: a self-contained HTML page, Markdown, and the pictures.

write_parity_report(Findings(comparison), Path("reports/parity-1"), title="hello: lstm", command=…)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared import environment
from shared.config import Config, options, settings
from shared.envelope import Envelope
from shared.files import remove
from shared.lockstep import Diagnosis, Side
from shared.pages import write_pages
from shared.parity import Comparison
from shared.parity_plots import (
    OTHER,
    phases,
    save_deviations,
    save_envelope,
    save_losses,
    save_phase,
)
from shared.tasks import row
from shared.trace import PHASES, phase_of
from shared.traps import TRAPS, about

HTML, MARKDOWN = "parity.html", "parity.md"
PICTURES = {
    "deviations": "deviations.png",
    "losses": "losses.png",
    "envelope": "envelope.png",
}
GALLERY_HTML, GALLERY_MARKDOWN = "traps.html", "traps.md"
BY_TENSOR = {phase: f"tensors-{phase}.png" for phase in (*PHASES, OTHER)}
FILES = (HTML, MARKDOWN, *PICTURES.values(), *BY_TENSOR.values())
GALLERY = (GALLERY_HTML, GALLERY_MARKDOWN, *(f"trap-{name}.png" for name in TRAPS))


@dataclass(frozen=True)
class Findings:
    """What a report shows; the comparison is all that it needs."""

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
    """What a look at the programs tells."""

    @property
    def verdicts(self) -> list[str]:
        """The lines that come first, in the report and on the terminal."""
        comparison = self.comparison
        lines = [f"planted in {comparison.first}: {_trap(self.planted)}"] if self.planted else []
        if comparison.equal:
            proof = "proved in" if comparison.precisions == {"float64"} else "in"
            precisions = " and ".join(sorted(comparison.precisions)) or "integers"
            lines.append(f"{proof} {precisions}: {comparison.sentence}")
        else:
            lines.append(f"NOT equal: {comparison.sentence}")
            lines += cause(comparison, self.diagnosis, noted=bool(self._sides))
        lines += [f"{'note' if comparison.equal else 'hint'}: {hint}" for hint in self.hints]
        lines += [f"note: {note}" for note in self.notes]
        return lines + ([f"float32: {self.envelope.sentence}"] if self.envelope else [])

    @property
    def notes(self) -> list[str]:
        """What a reader must know, such as weights that the layers of a side cannot hold."""
        return self._sides + self.comparison.notes

    @property
    def _sides(self) -> list[str]:
        return [f"{side.name}: {note}" for side in self.sides for note in side.backend.notes]


def cause(comparison: Comparison, diagnosis: Diagnosis | None, noted: bool = False) -> list[str]:
    """What explains a difference, a line for each trap that does; empty without a diagnosis.

    Args:
        noted: whether a note of the sides stands beside it, which may explain the difference.
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
    tried = len({finding.name.partition(":")[0] for finding in diagnosis.findings})
    if tried and not lines and not noted:
        lines = [f"cause: not found among those that could play a part ({tried} tried)"]
    return (earlier if diagnosis.step < difference.step else []) + lines


def growth(comparison: Comparison) -> list[tuple[int, str, str]]:
    """How a difference grew, as it is shown: step, largest deviation and its tensor, if any. Empty
    where it was there at once."""
    rows = comparison.growth
    if comparison.equal or len(rows) < 2:
        return []
    return [(step, _size(size), name if size else "") for step, size, name in rows]


def write_parity_report(findings: Findings, folder: Path, *, title: str, command: str) -> None:
    """Writes parity.html, parity.md and the pictures, in place of an older report.

    Args:
        folder: where the files go; it is made if it is missing.
        title: what was compared.
        command: the command line, shown for reproduction.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove(folder, (*FILES, *GALLERY))  # the older one may have had pictures that this one lacks
    comparison = findings.comparison
    names = (comparison.first, comparison.second)
    pictures = {"deviations": PICTURES["deviations"]}
    save_deviations(comparison, folder / PICTURES["deviations"])
    for phase in phases(comparison):
        pictures[f"tensors-{phase}"] = BY_TENSOR[phase]
        save_phase(comparison, phase, folder / BY_TENSOR[phase])
    if findings.losses is not None:
        pictures["losses"] = PICTURES["losses"]
        save_losses(findings.losses, names, folder / PICTURES["losses"])
    if findings.envelope is not None:
        pictures["envelope"] = PICTURES["envelope"]
        save_envelope(findings.envelope, names, folder / PICTURES["envelope"])
    context = _context(findings) | {"title": title, "command": command}
    write_pages(folder, (HTML, MARKDOWN), pictures, context)


def _context(findings: Findings) -> dict[str, Any]:
    comparison, diagnosis, config = findings.comparison, findings.diagnosis, findings.config
    difference = comparison.difference
    shown = settings(config) if config else {}
    for name in ("backend", "implementation", "precision", "device"):
        shown.pop(name, None)
    return {
        "first": comparison.first,
        "second": comparison.second,
        "verdicts": findings.verdicts,
        "difference": difference,
        "not_finite": difference and difference.not_finite(comparison.first, comparison.second),
        "growth": growth(comparison),
        "diagnosis": diagnosis,
        "alone": _size(diagnosis.deviation) if diagnosis else "",
        "pair": not findings.sides,
        "findings": [
            finding._asdict() | {"deviation": _size(finding.deviation)}
            for finding in sorted(
                diagnosis.findings if diagnosis else (), key=lambda f: f.deviation
            )
        ],
        "phases": phases(comparison),
        "tolerance": comparison.tolerance,
        "float32": findings.envelope.sentence if findings.envelope else None,
        "rows": [_row(comparison, name) for name in comparison.deviations],
        "settings": options(shown, settings(row(config.task).defaults)) if config else [],
        "machine": environment.machine(),
        "versions": environment.versions("jax") | environment.versions("torch"),
        "sides": [(side.name, side.backend.path, side.backend.device) for side in findings.sides],
    }


def _row(comparison: Comparison, name: str) -> dict[str, Any]:
    values = comparison.deviations[name]
    at = int(np.argmax(values))
    phase = phase_of(name)
    return {
        "phase": phase,
        "tensor": name.removeprefix(f"{phase}/"),
        "culprit": comparison.difference is not None and comparison.difference.name == name,
        "largest": _size(values[at]),
        "at": comparison.steps[at] if values[at] else "–",
        "last": _size(values[-1]),
    }


def _size(deviation: float) -> str:
    return f"{deviation:.2e}" if 0 < deviation < np.inf else "0" if not deviation else "not finite"


def _trap(name: str) -> str:
    return f"{name}: {about(name)}"
