"""Files that are whole or not there, and JSON that is checked as it is read."""

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import dacite

from shared.errors import InvalidInput

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file as a whole: a reader sees the old content or the new, never a part.

    Raises:
        OSError: it cannot be written; the message names the file, and nothing is left behind.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_json(path: Path, record: "DataclassInstance") -> None:
    content = json.dumps(asdict(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, content.encode())


def read_json(path: Path, understand: Callable[[Any], Record]) -> Record:
    """What a JSON file says.

    Args:
        understand: values → record; raises InvalidInput.

    Raises:
        InvalidInput: it is missing, is not JSON, or is not understood; the message names the file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path}: expected JSON, got: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: expected JSON, got: {error}") from error
    try:
        return understand(values)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error


def parse(kind: type[Record], values: Any) -> Record:
    """A dataclass from JSON's values, the inverse of `dataclasses.asdict`.

    Raises:
        InvalidInput: a key is unknown, or missing without a default, or a value has the wrong type.
    """
    pairs = {tuple[float, float]: _floats, tuple[float, float, float]: _floats}
    pairs[tuple[str, ...]] = _tuple
    config = dacite.Config(strict=True, type_hooks={int: _int, float: _float, **pairs})
    try:
        return dacite.from_dict(kind, values, config)
    except (dacite.DaciteError, TypeError, AttributeError) as error:
        raise InvalidInput(f"no {kind.__name__.lower()} of this version: {error}") from error


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
