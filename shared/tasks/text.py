"""Character-level language model on any UTF-8 text."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from shared.config import Config, TextData
from shared.errors import InvalidInput
from shared.tasks.task import Baseline, Signature, Split, Task

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def load(config: Config) -> Task:
    """A text in reading order: training, validation, test.

    The training text is cut into batch_size streams of equal length (at most batch_size - 1 last
    characters are dropped); row b of a batch continues row b of the one before. Each held-out text
    is one stream, so the state is carried through all of it. The vocabulary is that of the training
    text; held-out characters outside it become one unknown token.

    Raises:
        InvalidInput: the file is missing, empty, not UTF-8, or a part is shorter than one window.
    """
    data = config.data
    assert isinstance(data, TextData)
    if config.bptt is None:
        raise InvalidInput("task text: expected --bptt with a number of steps, got None")
    text, source = _read(data.path)
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    ends = np.cumsum([round(share * len(codes)) for share in data.split[:2]])
    parts = np.split(codes, ends)
    # A stream needs its window and one character more, the target of the last step.
    needed = ((config.bptt + 1) * config.batch_size, config.bptt + 1, config.bptt + 1)
    names = ("training", "validation", "test")
    for name, part, least in zip(names, parts, needed, strict=True):
        if len(part) < least:
            raise InvalidInput(
                f"{source}: expected a {name} part of at least {least} characters "
                f"(--bptt {config.bptt}, --batch-size {config.batch_size}), got {len(part)}"
            )
    known = np.unique(parts[0])
    vocabulary = (UNKNOWN, *map(chr, known))
    train, valid, test = (_tokens(part, known) for part in parts)
    size = len(vocabulary)
    return Task(
        name="text",
        signature=Signature(size, size, tokens=True, per_step=True, loss="cross_entropy"),
        train=_streams(train, config.batch_size),
        valid=_streams(valid, 1),
        test=_streams(test, 1),
        baseline=_unigram(train, test[1:], size),
        streams=True,
        vocabulary=vocabulary,
        source=source,
    )


def _read(path: str | None) -> tuple[str, str]:
    if path is None:
        if find_spec("pydoc_data.topics") is None:
            raise InvalidInput(
                "this Python comes without its help topics: expected --data.path FILE"
            )
        from pydoc_data.topics import topics

        return "\n".join(topics[name] for name in sorted(topics)), "CPython's help topics"
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"--data.path {path}: expected a readable file, got: {error.strerror}"
        ) from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"--data.path {path}: expected UTF-8 text, got byte 0x{content[error.start]:02x} "
            f"at position {error.start}"
        ) from error
    if not text:
        raise InvalidInput(f"--data.path {path}: expected a text, got an empty file")
    return text, path


def _tokens(codes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Token numbers: 0 for characters outside the vocabulary, 1 … for known ones."""
    position = np.searchsorted(known, codes).clip(max=len(known) - 1)
    return np.where(known[position] == codes, position + 1, 0).astype(np.int32)


def _streams(tokens: np.ndarray, rows: int) -> Split:
    length = (len(tokens) - 1) // rows
    inputs = tokens[: rows * length].reshape(rows, length)
    targets = tokens[1 : rows * length + 1].reshape(rows, length)
    return Split(inputs, targets)


def _unigram(train: np.ndarray, test: np.ndarray, size: int) -> Baseline:
    """Predicts every character by its share of the training text (one count added to each)."""
    counts = np.bincount(train, minlength=size) + 1
    shares = counts / counts.sum()
    return Baseline(
        "unigram", float(-np.log(shares[test]).mean()), float(np.mean(test == shares.argmax()))
    )
