"""Texts → token numbers, and the vocabulary of the training part.

found, names = numbered([["a", "b"], ["b"]])               # tokens 0 1 and 1; names "a", "b"
vocabulary, number = frequent(found.take(train), names, size=100, special=("<unk>",))
tokens = found.renumbered(number)                                      # of the vocabulary
"""

import functools
import re
import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from shared.errors import InvalidInput
from shared.tasks.text import UNKNOWN_TOKEN


class Ragged(NamedTuple):
    """Token numbers of N texts, one text after the other.

    numbers: (M,) int32.
    ends:    (N,) int64, the place behind the last token of each text.
    """

    numbers: np.ndarray
    ends: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """(N,) number of tokens of each text."""
        return np.diff(self.ends, prepend=0)

    @property
    def text_of(self) -> np.ndarray:
        """(M,) number of the text of each token."""
        return np.repeat(np.arange(len(self.ends)), self.lengths)

    def text(self, row: int) -> np.ndarray:
        """Returns the token numbers of one text."""
        return self.numbers[self.ends[row - 1] if row else 0 : self.ends[row]]

    def take(self, rows: np.ndarray) -> "Ragged":
        """Returns the texts of these rows."""
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        moved = np.repeat((self.ends - self.lengths)[rows] - (ends - lengths), lengths)
        return Ragged(self.numbers[np.arange(len(moved)) + moved], ends)

    def renumbered(self, number: np.ndarray) -> "Ragged":
        """Returns the same texts, each token t having become number[t]."""
        return Ragged(number[self.numbers], self.ends)

    def same(self) -> np.ndarray:
        """Returns (N,) numbers that are equal for texts with the same tokens: 0 for the first text,
        and so on in the order in which they first occur."""
        number: dict[bytes, int] = {}
        texts = (self.text(row).tobytes() for row in range(len(self.ends)))
        return np.array([number.setdefault(text, len(number)) for text in texts], np.int64)

    def padded(self) -> np.ndarray:
        """Returns (N, T) int32, the texts padded with zeros to the longest."""
        lengths = self.lengths
        tokens = np.zeros((len(lengths), int(lengths.max(initial=0))), np.int32)
        tokens[np.arange(tokens.shape[1]) < lengths[:, None]] = self.numbers
        return tokens


def numbered(texts: Iterable[Sequence[str]]) -> tuple[Ragged, list[str]]:
    """Numbers the tokens of texts in the order in which they first occur.

    Returns:
        The texts, and the token of each number.
    """
    number: dict[str, int] = {}
    numbers, ends = array("i"), array("q")
    for tokens in texts:
        numbers.extend(number.setdefault(token, len(number)) for token in tokens)
        ends.append(len(numbers))
    return Ragged(np.array(numbers, np.int32), np.array(ends, np.int64)), [*number]


def frequent(
    train: Ragged, names: Sequence[str], size: int, special: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Chooses the most frequent tokens of the training part.

    Among equally frequent tokens, those that occur first are taken.

    Args:
        names: token of each number.
        size: of the vocabulary at most, with the special tokens.
        special: tokens that come first, that of the unknown ones before all others. No token of a
            text is one of them, even if it is spelled the same.

    Returns:
        The vocabulary, and (len(names),) int32, the number in it of each token: UNKNOWN_TOKEN for
        those that are not in it.

    Raises:
        InvalidInput: the size leaves no place beside the special tokens.
    """
    if size <= len(special):
        raise InvalidInput(
            f"--data.vocabulary-size: expected more than {len(special)}, the tokens "
            f"{', '.join(special)}, got {size}"
        )
    counts = np.bincount(train.numbers, minlength=len(names))
    counts[[i for i, name in enumerate(names) if name in special]] = 0
    order = np.argsort(-counts, kind="stable")[: size - len(special)]
    chosen = order[counts[order] > 0]
    number = np.full(len(names), UNKNOWN_TOKEN, np.int32)
    number[chosen] = np.arange(len(special), len(special) + len(chosen))
    known = [names[int(i)] for i in chosen]
    return (*special, *known), number


def words_and_marks(text: str) -> list[str]:
    """Splits a text into words and marks of punctuation.

    A word is letters, digits and "_" of any script, with the accents on them, and with an
    apostrophe between two letters: "don't". Any other character that is no blank is a token of its
    own. A language that writes no blanks between words has one word a clause: read it by
    characters.
    """
    return _pattern().findall(text)


@functools.cache
def _pattern() -> re.Pattern[str]:
    r"""Returns the pattern of a token; \w alone would split a word at a combining accent."""
    # Beyond 0xFFFF are old scripts only, and with them the pattern takes twenty times as long.
    every = map(chr, range(0x300, 0x10000))
    accents = "".join(c for c in every if unicodedata.category(c)[0] == "M")
    letter = f"[\\w{accents}]"
    return re.compile(rf"{letter}+(?:['’]{letter}+)*|\S")


def spaced(number: int | np.integer) -> str:
    """Returns a number with blanks between thousands: "8 645"."""
    return f"{number:,}".replace(",", " ")
