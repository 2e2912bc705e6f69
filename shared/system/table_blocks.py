"""Blocks of a text file that hold whole rows, and what is checked before a row is read."""

from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared.errors import InvalidInput

SIZE = 1 << 22
"""Bytes that are read at once."""
NEWLINE, QUOTE = b"\n"[0], b'"'[0]
_SHOWN = 40
"""Bytes of a cell that a message shows."""


class StrayQuote(Exception):
    """A quote that stands neither around a cell nor doubled within one; the message begins with
    the line."""


class Block(NamedTuple):
    text: bytes
    """Whole rows in UTF-8, each with a newline at its end."""
    line: int
    """Number of its first line in the file."""


def blocks(path: Path, quotes: bool) -> Generator[Block]:
    """Reads a file block by block, without a mark of the byte order and with \\n as line ends.

    Args:
        quotes: a line end within quotes does not end a row.

    Raises:
        InvalidInput: the text is not UTF-8.
        OSError: it cannot be read.
    """
    kept, line, returns = b"", 1, False
    with open(path, "rb") as file:
        while True:
            read = file.read(max(SIZE, len(kept)))
            if file.tell() == len(read):  # the first block
                _check_order(path, read)
                read = read.removeprefix(b"\xef\xbb\xbf")
                returns = b"\r" in read and b"\n" not in read
            if returns:
                read = read.replace(b"\r", b"\n")
            text, kept = kept + read, b""
            if read:
                end = _end_of_rows(text, quotes)
                text, kept = text[:end], text[end:]
            elif text := text.rstrip(b"\r\n"):
                text += b"\n"
            if text:
                while b"\r\n" in text:
                    text = text.replace(b"\r\n", b"\n")
                _check_encoding(path, text)
                yield Block(text, line)
                line += text.count(b"\n")
            if not read:
                return


def _end_of_rows(text: bytes, quotes: bool) -> int:
    """Returns the length of the whole rows with which a text begins, without blank lines after
    the last one: they may be the end of the file, and are no rows then."""
    end = text.rfind(b"\n") + 1
    if quotes and QUOTE in text:
        content = np.frombuffer(text, np.uint8)
        ends, marks = (np.flatnonzero(content == byte) for byte in (NEWLINE, QUOTE))
        ends = ends[np.searchsorted(marks, ends) % 2 == 0]
        end = int(ends[-1]) + 1 if len(ends) else 0
    last = len(text[:end].rstrip(b"\r\n"))
    return text.index(b"\n", last) + 1 if last else 0


def check_quotes(block: Block, separator: bytes) -> np.ndarray:
    """Returns the places of all quotes.

    Raises:
        StrayQuote: one is neither at the beginning nor at the end of a cell, nor doubled.
    """
    content = np.frombuffer(block.text, np.uint8)
    marks = np.flatnonzero(content == QUOTE)
    between = (separator[0], NEWLINE, QUOTE)  # next to another quote, it is a doubled one
    opens, closes = marks[::2], marks[1::2]
    opened = (opens == 0) | np.isin(content[opens - 1], between)
    closed = np.isin(content[closes + 1], between)  # the last byte is a newline
    bad_open, bad_close = np.flatnonzero(~opened), np.flatnonzero(~closed)
    first_open = bad_open[0] if len(bad_open) else len(opens)
    first_close = bad_close[0] if len(bad_close) else len(opens)
    if first_open <= first_close and len(bad_open):
        raise _stray(block, int(opens[first_open]), "got one within a cell:")
    if len(bad_close):
        raise _stray(block, int(opens[first_close]), "got:")
    if len(marks) % 2:
        raise _stray(block, int(marks[-1]), "got one that is not closed:")
    return marks


def _stray(block: Block, place: int, got: str) -> StrayQuote:
    line = block.line + block.text.count(b"\n", 0, place)
    shown = block.text[place : place + _SHOWN].decode(errors="ignore").split("\n")[0]
    return StrayQuote(
        f"line {line}: expected quotes around a whole cell, and doubled ones within it, "
        f"{got} {shown!r}"
    )


def _check_order(path: Path, start: bytes) -> None:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InvalidInput(
            f"{path}: expected UTF-8 text, got UTF-16; save it as UTF-8 in the program that wrote "
            "it"
        )
    if start[:2] == b"\x1f\x8b" or start[:4] in (b"PK\x03\x04", b"PAR1"):
        raise InvalidInput(
            f"{path}: expected a table in text, got a compressed or binary file of another kind"
        )


def _check_encoding(path: Path, text: bytes) -> None:
    """Refuses what is not UTF-8, and finds its place in the file, for which it is read again."""
    if text.isascii():
        return
    try:
        text.decode("utf-8")
        return
    except UnicodeDecodeError:
        pass
    before = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise InvalidInput(
                    f"{path}, line {number}: expected UTF-8 text, got byte "
                    f"0x{line[error.start]:02x} at position {before + error.start}; "
                    "save the file as UTF-8"
                ) from error
            before += len(line)
    raise InvalidInput(f"{path}: expected UTF-8 text, got a file that changed while it was read")
