"""Options by their names in Python → settings: the names of the command line, with _ for -.

config = with_options(config, {"cell": "gru", "hidden_size": 32, "epochs": 20})
data = with_data(ForecastData(), {"target": "sales", "horizon": 7})
"""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

import numpy as np

from shared.config import Config
from shared.config.data import Data
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.errors import InvalidInput

Settings = TypeVar("Settings", bound=Any)

GROUPS = {"network": NetworkConfig, "optimization": OptimizationConfig}
"""Settings of a configuration that are groups, whose options stand beside the others."""


def with_options(config: Config, options: Mapping[str, Any], where: str = "fit") -> Config:
    """Changes settings of a configuration, but for its task and its data.

    Args:
        where: the function that takes them, for messages.

    Raises:
        InvalidInput: there is no option of a name; the message has the nearest one.
    """
    own = _names(Config) - {*GROUPS, "task", "data"}
    inner = {group: _names(kind) for group, kind in GROUPS.items()}
    known = own.union(*inner.values())
    for name in options:
        if name not in known and name in _names(type(config.data)):
            raise InvalidInput(
                f"{where}: {name} says what the data is: expected it where the task is made"
            )
    check_names(options, known, where)
    for group, names in inner.items():
        part = _changed(getattr(config, group), _chosen(options, names))
        config = replace(config, **{group: part})
    return _changed(config, _chosen(options, own))


def with_data(data: Data, options: Mapping[str, Any], where: str) -> Data:
    """Changes options of a task's data.

    Args:
        where: the function that takes them, for messages.

    Raises:
        InvalidInput: there is no option of a name; the message has the nearest one.
    """
    check_names(options, _names(type(data)), where)
    return _changed(data, options)


def check_names(given: Collection[str], known: Collection[str], where: str) -> None:
    """Refuses names that are not known.

    Raises:
        InvalidInput: one is not known; the message has the nearest one that is, or all.
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"expected {', '.join(sorted(known))}"
            raise InvalidInput(f"{where}: got an unknown option {name}; {hint}")


def _changed(settings: Settings, options: Mapping[str, Any]) -> Settings:
    hints: dict[str, Any] = get_type_hints(type(settings))
    return replace(settings, **{name: _value(hints[name], v) for name, v in options.items()})


def _value(kind: Any, value: Any) -> Any:
    """Returns a value as a setting of a type holds it: a tuple of one text or of any list's
    elements, Python's numbers instead of NumPy's, the text of a path. What fits no setting is left
    to the checks of `resolve`."""
    if get_origin(kind) is tuple:
        several = isinstance(value, list | tuple | np.ndarray)
        return tuple(_value(None, one) for one in (value if several else (value,)))
    if isinstance(value, np.generic):
        return value.item()
    return str(Path(value)) if isinstance(value, PathLike) else value


def _chosen(options: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in names}


def _names(settings: type[Any]) -> set[str]:
    return {field.name for field in fields(settings)}
