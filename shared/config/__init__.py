"""What to train, on what, and how: settings, their choices and checks."""

from shared.config.settings import Config
from shared.config.validation import resolve

__all__ = ["Config", "resolve"]
