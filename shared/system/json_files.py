"""JSON that is checked as it is read: dataclasses <-> files, with a checksum of the content."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

import dacite

from shared.errors import InvalidInput
from shared.system.files import write_atomically

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")

Json = dict[str, Any] | list[Any] | str | float | None
"""Values that a JSON file can hold."""

CHECKSUM = "sha256"
"""Last key of a signed JSON file."""


def write_signed(path: Path, record: "DataclassInstance") -> None:
    """Writes JSON whose last key is the SHA-256 of the other keys and values."""
    values = asdict(record)
    signed = values | {CHECKSUM: digest(values)}
    content = json.dumps(signed, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, content.encode())


def digest(values: Any) -> str:
    """Returns the SHA-256 of JSON's values; the layout of the file does not matter."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read_signed(
    path: Path, understand: Callable[[Any], Record], *, edited: bool = False, advice: str = ""
) -> Record:
    """Reads a file that `write_signed` wrote.

    Args:
        understand: values → record; raises InvalidInput.
        edited: the file may have been changed by hand since.
        advice: what to do with a file that was changed, for the refusal.

    Raises:
        InvalidInput: it is missing, is not JSON, is not understood, or is damaged; the message
            names the file.
    """
    said = found = None

    def unsigned(values: Json) -> Record:
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
    """Reads a record from a JSON file.

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
    """Reads the values in a JSON file.

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
    """Makes a dataclass from JSON's values; the inverse of `dataclasses.asdict`.

    Args:
        what: what the values should be, for the refusal; by default the dataclass's name.

    Raises:
        InvalidInput: a key is unknown, or missing without a default, or a value has the wrong type.
    """
    pairs: dict[type[Any], Callable[[Any], Any]] = {
        tuple[float, float]: _floats,
        tuple[float, float, float]: _floats,
    }
    for hint in get_type_hints(kind).values():  # of as many texts as there are
        if get_origin(hint) is tuple and get_args(hint)[-1] is Ellipsis:
            pairs[hint] = _tuple
    named = what or kind.__name__.lower()
    config = dacite.Config(strict=True, type_hooks={int: _int, float: _float, **pairs})
    try:
        return dacite.from_dict(kind, values, config)
    except dacite.WrongTypeError as error:
        wanted = f"{error.field_type}"  # pyright: ignore[reportUnknownMemberType]
        # "<class 'int'>", but "list[str]" as it is.
        wanted = re.sub(r"<class '(\w+)'>|typing\.", r"\1", wanted)
        got = repr(error.value)
        if "<generator" in got:  # dacite has tried to make a list of it
            got = "a text"
        raise InvalidInput(
            f"no {named} of this version: expected {wanted} as {error.field_path}, got {got}"
        ) from error
    except (dacite.DaciteError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidInput(f"no {named} of this version: {error}") from error


def _int(value: Any) -> Any:
    return repr(value) if isinstance(value, bool) else value


def _float(value: Any) -> Any:
    return float(value) if isinstance(_int(value), int) else _int(value)


def _tuple(value: Json) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _floats(value: Json) -> Any:
    return tuple(map(_float, value)) if isinstance(value, list) else (value,)
