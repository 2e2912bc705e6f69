"""Language model on any UTF-8 text, of characters or of words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared.config import Config
from shared.config.data import TextData
from shared.errors import InvalidInput
from shared.protocol.dataset import Signature, Split
from shared.tasks import baselines
from shared.tasks.task import Baseline, Task

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
UNKNOWN_TOKEN = 0
UNKNOWN_WORD, END_OF_LINE = "<unk>", "<eos>"
FILES = ("train.txt", "valid.txt", "test.txt")
NAMES = ("training", "validation", "test")


class Parts(NamedTuple):
    train: str
    valid: str
    test: str
    source: str


def load(config: Config) -> Task:
    """Reads a text in order: training, validation, test.

    The training text is cut into batch_size streams of equal length (at most batch_size - 1 last
    tokens are dropped). Row b of a batch continues row b of the one before. Each held-out text is
    one stream, so the state is carried through all of it.

    The vocabulary is that of the training text. Held-out characters outside it become one unknown
    token. So do words beyond the `vocabulary_size` most frequent, in the training text too. A line
    ends with a word of its own.

    Raises:
        InvalidInput: a file is missing, empty, not UTF-8, a part is shorter than one window, or an
            option does not fit the others.
    """
    data = config.data
    assert isinstance(data, TextData)
    if config.bptt is None:
        raise InvalidInput("task text: expected --bptt with a number of steps, got None")
    if data.unit == "char" and data.vocabulary_size != TextData.vocabulary_size:
        raise InvalidInput(
            f"--data.vocabulary-size {data.vocabulary_size} is an option of --data.unit word, "
            "got --data.unit char"
        )
    texts = _read(data)
    vocabulary, parts = _numbered(texts, data)
    _check_lengths(parts, texts.source, data.unit, config.bptt, config.batch_size)
    train, valid, test = parts
    size = len(vocabulary)
    # The first token of a part is given, and no word is predicted in its place.
    characters = {
        name: len(text) - (1 if data.unit == "char" else 0)
        for name, text in (("valid", texts.valid), ("test", texts.test))
    }

    def baseline() -> list[Baseline]:
        own = baselines.unigram(train, test[1:], size, characters["test"], data.unit)
        return [own, *baselines.compression(texts.train, texts.test)]

    return Task(
        name="text",
        signature=Signature(size, size, tokens=True, per_step=True, loss="cross_entropy"),
        train=_streams(train, config.batch_size),
        valid=_streams(valid, 1),
        test=_streams(test, 1),
        score="bits_per_character" if data.unit == "char" else "perplexity",
        baselines=baseline,
        streams=True,
        continues=True,
        vocabulary=vocabulary,
        unit=data.unit,
        characters=characters,
        source=texts.source,
    )


def _check_lengths(
    parts: Sequence[np.ndarray], source: str, unit: str, bptt: int, batch_size: int
) -> None:
    """Refuses parts that are shorter than a stream needs: its window and one token more, the target
    of the last step."""
    needed = ((bptt + 1) * batch_size, bptt + 1, bptt + 1)
    for name, part, least in zip(NAMES, parts, needed, strict=True):
        if len(part) < least:
            what = "characters" if unit == "char" else "words"
            raise InvalidInput(
                f"{source}: expected a {name} part of at least {least} {what} "
                f"(--bptt {bptt}, --batch-size {batch_size}), got {len(part)}"
            )


def _numbered(texts: Parts, data: TextData) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Returns the vocabulary of the training text, and the tokens of all three."""
    if data.unit == "word":
        words = [words_of(text) for text in texts[:3]]
        vocabulary = _frequent(words[0], data.vocabulary_size)
        return vocabulary, [word_tokens(part, vocabulary) for part in words]
    known = np.unique(_codes(texts.train))
    vocabulary = (UNKNOWN, *map(chr, known))
    return vocabulary, [_tokens(_codes(part), known) for part in texts[:3]]


def words_of(text: str) -> list[str]:
    """Splits a text into the words between blanks; each line gets an end."""
    return [word for line in text.splitlines() for word in (*line.split(), END_OF_LINE)]


def word_tokens(words: list[str], vocabulary: tuple[str, ...]) -> np.ndarray:
    """Returns the number of each word; words outside the vocabulary get that of the unknown
    word."""
    number = {word: i for i, word in enumerate(vocabulary)}
    return np.array([number.get(word, UNKNOWN_TOKEN) for word in words], np.int32)


def _frequent(words: list[str], size: int) -> tuple[str, ...]:
    """Returns the unknown word, the end of a line and the most frequent other words.

    Among equally frequent words, those that come first in the text are taken.
    """
    special = (UNKNOWN_WORD, END_OF_LINE)
    if size <= len(special):
        raise InvalidInput(
            f"--data.vocabulary-size: expected more than {len(special)}, the unknown word and the "
            f"end of a line, got {size}"
        )
    counts = Counter(word for word in words if word not in special)
    return (*special, *(word for word, _ in counts.most_common(size - len(special))))


def _read(data: TextData) -> Parts:
    if data.path is None:
        if find_spec("pydoc_data.topics") is None:
            raise InvalidInput(
                "this Python comes without its help topics: expected --data.path FILE"
            )
        from pydoc_data.topics import topics

        text, source = "\n".join(topics[name] for name in sorted(topics)), "CPython's help topics"
    elif Path(data.path).is_dir():
        if data.split != TextData.split:
            raise InvalidInput(
                "--data.split is an option of a single text, "
                f"got a folder with parts of its own: --data.path {data.path}"
            )
        train, valid, test = (read_text(Path(data.path, n), "--data.path ") for n in FILES)
        return Parts(train, valid, test, data.path)
    else:
        text, source = read_text(Path(data.path), "--data.path "), data.path
    first, second = np.cumsum([round(share * len(text)) for share in data.split[:2]])
    return Parts(text[:first], text[first:second], text[second:], source)


def read_text(path: Path, option: str = "") -> str:
    """Reads the text of a UTF-8 file.

    Raises:
        InvalidInput: it is missing, empty or not UTF-8.
    """
    if path.is_char_device() or path.is_block_device():  # /dev/zero has no end
        raise InvalidInput(f"{option}{path}: expected a readable file, got a device")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"{option}{path}: expected a readable file, got: {error.strerror}"
        ) from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{option}{path}: expected UTF-8 text, got byte 0x{content[error.start]:02x} "
            f"at position {error.start}"
        ) from error
    text = text.removeprefix("\ufeff")  # the mark of the byte order, as some editors begin a file
    if not text:
        raise InvalidInput(f"{option}{path}: expected a text, got an empty file")
    return text


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _tokens(codes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns token numbers: UNKNOWN_TOKEN for characters outside the vocabulary, 1 … for known
    ones."""
    position = np.searchsorted(known, codes).clip(max=len(known) - 1)
    return np.where(known[position] == codes, position + 1, UNKNOWN_TOKEN).astype(np.int32)


def _streams(tokens: np.ndarray, rows: int) -> Split:
    length = (len(tokens) - 1) // rows
    inputs = tokens[: rows * length].reshape(rows, length)
    targets = tokens[1 : rows * length + 1].reshape(rows, length)
    return Split(inputs, targets)


def joined(tokens: Sequence[str], unit: str) -> str:
    """Joins tokens to a text: characters as they are, words between blanks, each line by itself."""
    return Writer(unit).text(tokens)


@dataclass
class Writer:
    """Maker of text from tokens that come piece by piece."""

    unit: str
    open: bool = False
    """True if a word stands before the next token, on the same line."""

    def text(self, tokens: Sequence[str]) -> str:
        if self.unit == "char":
            return "".join(tokens)
        pieces: list[str] = []
        for token in tokens:
            end = token == END_OF_LINE
            pieces.append("\n" if end else " " * self.open + token)
            self.open = not end
        return "".join(pieces)
