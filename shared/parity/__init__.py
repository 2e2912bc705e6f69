"""Two programs, step by step: how far they lie apart, and why."""

from shared.parity.findings import Findings
from shared.parity.pair import compare_programs

__all__ = ["Findings", "compare_programs"]
