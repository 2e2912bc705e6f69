"""A configuration <-> the names of its options on a command line <-> JSON."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, cast, get_args

from shared.config.data import Data
from shared.config.settings import Config
from shared.errors import InvalidInput
from shared.system.json_files import Json, parse


def from_json(values: dict[str, Any]) -> Config:
    """Rebuilds the configuration that `dataclasses.asdict` took apart.

    Raises:
        InvalidInput: a key is missing or unknown, or a value has the wrong type.
    """
    try:
        data = parse(_data_of(values["data"]), values["data"], "config")
        others = {name: value for name, value in values.items() if name != "data"}
        config = replace(parse(Config, others), data=data)
    except KeyError as error:
        raise InvalidInput(
            f"no config of this version: expected {error.args[0]}, got none"
        ) from error
    except (TypeError, AttributeError) as error:
        raise InvalidInput(f"no config of this version: {error!r}") from error
    # A missing key gets its default, which need not be what the run was trained with.
    missing = sorted(_names(asdict(config)) - _names(values))
    if missing:
        raise InvalidInput(
            f"no config of this version: expected {', '.join(missing)}, got no such key"
        )
    return config


def settings(config: Config) -> dict[str, Any]:
    """Returns values by the names of their options, without "--": {"cell": "rnn", "data.path":
    None, …}."""
    flat: dict[str, Any] = {}
    values: dict[str, Json] = asdict(config)
    for name, value in values.items():
        prefix = "data." if name == "data" else ""
        inner = value if isinstance(value, dict) else {name: value}
        flat |= {flag(prefix + key).removeprefix("--"): inner[key] for key in inner}
    return flat


def options(
    values: Mapping[str, tuple[Any, ...] | str | float | None], usual: Mapping[str, Any]
) -> list[str]:
    """Returns settings as the command line takes them: ["--cell rnn", "--no-bidirectional", …].

    Args:
        values: all or some of `settings`. A value of None is left out if it is the usual one.
        usual: `settings` of the defaults that the options change.
    """
    words: list[str] = []
    for name, value in values.items():
        if isinstance(value, bool) and usual.get(name) is not None:
            words.append(f"--{name}" if value else f"--no-{name}")
        elif value is not None or usual.get(name) is not None:
            several = value if isinstance(value, tuple) else (value,)
            words.append(shlex.join([f"--{name}", *map(str, several)]))
    return words


def differing(first: Config, second: Config) -> list[str]:
    """Returns the options in which two configurations differ: ["--cell", …]."""
    a, b = settings(first), settings(second)
    return [f"--{name}" for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]


def _data_of(values: object) -> type[Any]:
    """Returns the kind of data with these options: no two kinds have the same."""
    if not isinstance(values, dict):
        raise InvalidInput(f"no config of this version: expected an object as data, got {values!r}")
    names = cast(dict[str, Any], values)
    for kind in get_args(Data):
        if {option.name for option in fields(kind)} == names.keys():
            return kind
    raise InvalidInput(f"no config of this version: data: unknown options {', '.join(names)}")


def _names(values: Mapping[str, Json]) -> set[str]:
    return {
        name
        for key, value in values.items()
        for name in ([f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key])
    }


def flag(name: str) -> str:
    """Returns the option of a field: "hidden_size" → "--hidden-size"."""
    return "--" + name.replace("_", "-")


RESUMABLE = (
    "epochs", "backend", "implementation", "device", "log_every", "checkpoint_every",
    "keep_checkpoints", "logger", "detect_anomaly",
)  # fmt: skip
"""Settings that a resumed run may change."""
