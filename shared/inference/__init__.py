"""A trained network in use: scores, predictions, generated text."""

from shared.inference.trained import load_trained

__all__ = ["load_trained"]
