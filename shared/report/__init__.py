"""What a reader sees: plots, verdicts, pages."""

from shared.report.comparison_page import write_report
from shared.report.parity_page import write_parity_report

__all__ = ["write_parity_report", "write_report"]
