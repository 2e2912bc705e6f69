"""What a run leaves: its folder, history, checkpoints, summary and predictions."""

from shared.runs.run import read_run

__all__ = ["read_run"]
