"""The ways in which a run ends early, and what a user is warned of: each a message of one line."""


class InvalidInput(ValueError):
    """Something the user gave cannot be used. Scripts print it and exit with 2."""


class DamagedFile(InvalidInput):
    """A file that a run wrote is missing, damaged or of another version."""


class NotCarriedOver(UserWarning):
    """Something of a module is not in what was made of it, such as a frozen parameter. The message
    names it."""


class OutputsDiffer(UserWarning):
    """The outputs of a port are near those of its original, but not as near as rounding explains:
    another epsilon, for instance. The message says how near."""


class TrainingDiverged(RuntimeError):
    """The loss is no longer a finite number. Scripts print it and exit with 1."""


class LostProcess(RuntimeError):
    """Another process of the same run is gone, or no longer answers. Scripts print it and exit with
    1."""


def printable(text: str) -> str:
    """One line of a text that a user or a file gave, whatever line breaks or control characters it
    holds."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
