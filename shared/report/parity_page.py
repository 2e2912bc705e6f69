"""A comparison → one report: a self-contained HTML page, Markdown, and the pictures.

write_parity_report(Findings(comparison), Path("reports/parity-1"), title="hello: lstm", command=…)
"""

from pathlib import Path
from typing import Any

import numpy as np

from shared.config.options import options, settings
from shared.parity import Findings
from shared.parity.comparison import Comparison
from shared.parity.findings import growth, in_digits
from shared.parity.traps import TRAPS
from shared.protocol.trace import PHASES, phase_of
from shared.report.parity_plots import (
    OTHER,
    phases,
    save_deviations,
    save_envelope,
    save_losses,
    save_phase,
)
from shared.report.render import write_pages
from shared.system import environment
from shared.system.folders import remove
from shared.tasks.registry import row

HTML, MARKDOWN = "parity.html", "parity.md"
MOST_TRIED = 20
"""Rows of what was tried."""
PICTURES = {
    "deviations": "deviations.png",
    "losses": "losses.png",
    "envelope": "envelope.png",
}
GALLERY_HTML, GALLERY_MARKDOWN = "traps.html", "traps.md"
BY_TENSOR = {phase: f"tensors-{phase}.png" for phase in (*PHASES, OTHER)}
FILES = (HTML, MARKDOWN, *PICTURES.values(), *BY_TENSOR.values())
GALLERY = (GALLERY_HTML, GALLERY_MARKDOWN, *(f"trap-{name}.png" for name in TRAPS))


def write_parity_report(
    findings: Findings, folder: Path | str, *, title: str, command: str
) -> None:
    """Writes parity.html, parity.md and the pictures, in place of an older report.

    Args:
        folder: where the files go; it is made if it is missing.
        title: names the two sides that were compared.
        command: the command line, shown for reproduction.
    """
    folder = Path(folder)
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
    found = diagnosis.findings if diagnosis else []
    tried = sorted(found, key=lambda finding: (not finding.vanishes, finding.deviation))
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
        "alone": in_digits(diagnosis.deviation) if diagnosis else "",
        "pair": not findings.sides,
        "findings": [
            finding._asdict() | {"deviation": in_digits(finding.deviation)}
            for finding in tried[:MOST_TRIED]
        ],
        "more": len(tried[MOST_TRIED:]),
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
    at = int(np.nanargmax(values))
    phase = phase_of(name)
    return {
        "phase": phase,
        "tensor": name.removeprefix(f"{phase}/"),
        "culprit": comparison.difference is not None and comparison.difference.name == name,
        "largest": in_digits(values[at]),
        "at": comparison.steps[at] if values[at] else "–",
        "last": in_digits([value for value in values if not np.isnan(value)][-1]),
    }
