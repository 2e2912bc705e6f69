"""The two ways in which a run ends early, each with a message of one line."""


class InvalidInput(ValueError):
    """Something the user gave cannot be used. Scripts print it and exit with 2."""


class TrainingDiverged(RuntimeError):
    """The loss is no longer a finite number. Scripts print it and exit with 1."""
