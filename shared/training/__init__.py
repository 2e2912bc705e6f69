"""Steps, and what happens between them: evaluation, checkpoints, resuming, several seeds."""

from shared.training.seeds import train_seeds
from shared.training.train import train

__all__ = ["train", "train_seeds"]
