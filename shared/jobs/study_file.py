"""A study in a small file, TOML or JSON, as the words of its command line.

    random = 20
    seeds = "0..2"

    [run]
    backend = "torch"
    task = "volume"

    [vary]
    learning-rate = "log:1e-4..1e-1"
    hidden-size = [16, 32, 64]

The options of the study itself stand at the top, those of every run below `run`.
"""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from shared.errors import InvalidInput
from shared.jobs.search_space import word
from shared.system.json_files import read_values

RUN, VARY = "run", "vary"
"""Keys of the options of all runs, and of those that are varied."""


def words_of(file: Path, options: Collection[str]) -> list[str]:
    """Reads a study as words that can stand on its command line.

    Args:
        options: names of the options of the study itself, such as "random".

    Raises:
        InvalidInput: it is missing, neither TOML nor JSON, or holds other keys.
    """
    values = _values(file)
    known = [RUN, VARY, *options]
    for key in values:
        if key not in known:
            raise InvalidInput(f"{file}: expected keys among {', '.join(known)}, got {key}")
    words: list[str] = []
    for key in options:
        if key in values:
            words += [f"--{key}", *_listed(file, key, values[key])]
    for name, value in _table(file, values, RUN).items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", *_listed(file, f"{RUN}.{name}", value)]
    for name, value in _table(file, values, VARY).items():
        words += ["--vary", name, *_listed(file, f"{VARY}.{name}", value)]
    return words


def _values(file: Path) -> dict[str, Any]:
    if file.suffix == ".json":
        values = read_values(file)
        if not isinstance(values, dict):
            raise InvalidInput(f"{file}: expected an object, got {values!r:.80}")
        return cast(dict[str, Any], values)
    if file.suffix != ".toml":
        raise InvalidInput(f"--file {file}: expected a name that ends in .toml or .json")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{file}: expected TOML, got: {error.strerror}") from error
    except ValueError as error:  # also of a text that is not UTF-8
        raise InvalidInput(f"{file}: expected TOML, got: {error}") from error


def _table(file: Path, values: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = values.get(key, {})
    if not isinstance(table, dict):
        raise InvalidInput(f"{file}: expected options with their values in {key}, got {table!r}")
    return cast(dict[str, Any], table)


def _listed(file: Path, key: str, value: Any) -> list[str]:
    """Returns a value, or each of a list, as a word; a list in a list is one value."""
    many = cast(list[Any], value) if isinstance(value, list) else [value]
    words: list[str] = []
    for one in many:
        parts = cast(list[Any], one) if isinstance(one, list) else [one]
        if not all(isinstance(part, bool | int | float | str) for part in parts):
            raise InvalidInput(f"{file}: expected texts and numbers in {key}, got {one!r}")
        words.append(word(tuple(parts)) if isinstance(one, list) else word(one))
    return words
