"""Folders to write to, files that are whole or not there, JSON that is checked as it is read."""

import hashlib
import json
import os
import re
import secrets
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import BadZipFile

import dacite

from shared.errors import InvalidInput

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")

CHECKSUM = "sha256"
"""Last key of a signed JSON file."""

TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
"""Names of files that a killed process was writing."""

DAMAGED = (OSError, ValueError, EOFError, KeyError, RuntimeError, BadZipFile, zlib.error)
"""What NumPy raises where an NPY or NPZ file is no such file, or damaged."""


def occupants(folder: Path, option: str = "--out") -> set[str]:
    """Names of what lies in the folder that an option named; none if it has still to be made.

    Raises:
        InvalidInput: it is no folder, or cannot be read.
    """
    try:
        return {file.name for file in folder.iterdir()}
    except FileNotFoundError as error:
        if folder.is_symlink():
            raise InvalidInput(
                f"{option} {folder}: expected a folder, got a broken link"
            ) from error
        return set()
    except NotADirectoryError as error:
        raise InvalidInput(f"{option} {folder}: expected a folder, got a file") from error
    except OSError as error:
        raise InvalidInput(
            f"{option} {folder}: expected a folder, got: {error.strerror}"
        ) from error


def remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def free_folder(parent: Path, name: str) -> Path:
    """The first of name-1, name-2, … that does not exist in a folder."""
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"


def report_folder(out: str | None, name: str, files: Collection[str], overwrite: bool) -> Path:
    """Where a report of these files goes: the folder --out, or the next free one in reports/.

    Raises:
        InvalidInput: it holds another report and overwrite is False, or anything that is no report.
    """
    if out is None:
        return free_folder(Path("reports"), name)
    folder = Path(out)
    names = occupants(folder)
    if not names <= set(files):
        raise InvalidInput(
            f"--out {folder}: expected a new or empty folder, got one with other files"
        )
    if names and not overwrite:
        raise InvalidInput(f"--out {folder}: holds another report; --overwrite replaces it")
    return folder


@contextmanager
def reserved(folder: Path, option: str) -> Iterator[None]:
    """Makes a folder for what its body writes at the end, and removes it and those above it that
    it made if nothing was written.

    Raises:
        InvalidInput: it cannot be made or written to; better known before hours of work than after.
    """
    made: list[Path] = []
    try:
        try:
            made += [one for one in (folder, *folder.parents) if not one.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InvalidInput(
                f"{option} {folder}: expected a folder that can be written to, "
                f"got: {error.strerror}"
            ) from error
        yield
    finally:
        with suppress(OSError):  # the first that is not empty, or was not made after all
            for one in made:
                one.rmdir()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError inside names this file, as those of writing do not by themselves."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def brief(error: Exception) -> str:
    """What an error says, without the file's content that some repeat."""
    said = str(error)
    return said if len(said) <= 200 else f"{said[:200]}…"


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file as a whole: a reader sees the old content or the new, never a part.

    Raises:
        OSError: it cannot be written; the message names the file, and nothing is left behind.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with naming(path):
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _keep_name(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _keep_name(folder: Path) -> None:
    """A file's new name outlives a power failure only when its folder has been written, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # of file systems that do not know it
            os.fsync(handle)
    finally:
        os.close(handle)


def remove_temporary(folder: Path) -> None:
    """Removes what processes that were killed had begun to write."""
    remove(folder, (name for name in occupants(folder) if TEMPORARY.fullmatch(name)))


def write_signed(path: Path, record: "DataclassInstance") -> None:
    """Writes JSON whose last key is the SHA-256 of what the others say."""
    values = asdict(record)
    signed = values | {CHECKSUM: digest(values)}
    content = json.dumps(signed, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, content.encode())


def digest(values: Any) -> str:
    """The SHA-256 of JSON's values, however they are laid out in a file."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read_signed(
    path: Path, understand: Callable[[Any], Record], *, edited: bool = False, advice: str = ""
) -> Record:
    """What `write_signed` wrote.

    Args:
        understand: values → record; raises InvalidInput.
        edited: the file may have been changed by hand since.
        advice: what to do with a file that was, for the refusal.

    Raises:
        InvalidInput: it is missing, is not JSON, is not understood, or is damaged; the message
            names the file.
    """
    said = found = None

    def unsigned(values: Any) -> Record:
        nonlocal said, found
        if isinstance(values, dict):
            said, found = values.pop(CHECKSUM, None), digest(values)
        return understand(values)

    record = read_json(path, unsigned)
    if not edited and said != found:  # last: what cannot be understood is named more exactly
        raise InvalidInput(
            f"{path}: expected contents that match its {CHECKSUM}, got others: it is damaged, or "
            f"was edited{advice}"
        )
    return record


def read_json(path: Path, understand: Callable[[Any], Record]) -> Record:
    """What a JSON file says.

    Args:
        understand: values → record; raises InvalidInput.

    Raises:
        InvalidInput: it is missing, is not JSON, or is not understood; the message names the file.
    """
    values = read_values(path)
    try:
        return understand(values)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error


def read_values(path: Path) -> Any:
    """The values in a JSON file.

    Raises:
        InvalidInput: it is missing, or is not JSON.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(values, ensure_ascii=False).encode()  # no half of a character: \ud800
        return values
    except OSError as error:
        raise InvalidInput(f"{path}: expected JSON, got: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: expected JSON, got: {error}") from error


def parse(kind: type[Record], values: Any, what: str | None = None) -> Record:
    """A dataclass from JSON's values, the inverse of `dataclasses.asdict`.

    Args:
        what: what the values should be, for the refusal; by default the dataclass's name.

    Raises:
        InvalidInput: a key is unknown, or missing without a default, or a value has the wrong type.
    """
    pairs = {tuple[float, float]: _floats, tuple[float, float, float]: _floats}
    pairs[tuple[str, ...]] = _tuple
    named = what or kind.__name__.lower()
    config = dacite.Config(strict=True, type_hooks={int: _int, float: _float, **pairs})
    try:
        return dacite.from_dict(kind, values, config)
    except dacite.WrongTypeError as error:
        # "<class 'int'>", but "list[str]" as it is.
        wanted = re.sub(r"<class '(\w+)'>|typing\.", r"\1", str(error.field_type))
        got = repr(error.value)
        if "<generator" in got:  # dacite has tried to make a list of it
            got = "a text"
        raise InvalidInput(
            f"no {named} of this version: expected {wanted} as {error.field_path}, got {got}"
        ) from error
    except (dacite.DaciteError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidInput(f"no {named} of this version: {error}") from error


# JSON's numbers as dacite should see them: 3 will do for a float, and True is no number although
# Python counts it among the integers. What does not fit is left to dacite, which names the field.


def _int(value: Any) -> Any:
    return repr(value) if isinstance(value, bool) else value


def _float(value: Any) -> Any:
    return float(value) if isinstance(_int(value), int) else _int(value)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _floats(value: Any) -> Any:
    return tuple(map(_float, value)) if isinstance(value, list) else (value,)
