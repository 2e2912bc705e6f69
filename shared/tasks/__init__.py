"""Data sets with their loss, baselines and default configuration."""

from shared.tasks.registry import TASKS, load_task

__all__ = ["TASKS", "load_task"]
