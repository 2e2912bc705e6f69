"""The ways in which a run ends early, each with a message of one line."""


class InvalidInput(ValueError):
    """Something the user gave cannot be used. Scripts print it and exit with 2."""


class DamagedFile(InvalidInput):
    """A file that a run wrote is missing, damaged or of another version."""


class TrainingDiverged(RuntimeError):
    """The loss is no longer a finite number. Scripts print it and exit with 1."""


def printable(text: str) -> str:
    """One line of a text that a user or a file gave, whatever line breaks or control characters it
    holds."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
