"""Refusal of a run whose processes differ in what must be the same: code, versions, settings, data.

check_same_program(team, config)        # before the data, which settings decide
task = load_together(…)
check_same_data(team, task)
"""

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.config import Config
from shared.config.options import differing, settings
from shared.errors import InvalidInput, printable
from shared.system.environment import versions
from shared.system.team import Team
from shared.tasks.task import Task

PACKAGES = ("rnn_jax", "rnn_torch", "shared")
"""Packages whose code decides what is computed."""
MOST = 3
"""Number of files that a message names."""


def check_same_program(
    team: Team, config: Config, options: Mapping[str, Any] | None = None
) -> None:
    """Refuses processes of other code, other versions or another configuration than rank 0's.

    All processes have to call it, and all raise the same.

    Args:
        config: resolved.
        options: other options of the command that have to be equal, by name: {"--seeds": 2}.

    Raises:
        InvalidInput: two processes differ. It names the first process that does, and in what.
    """
    if not team.several:
        return
    _check_code(team)
    _check_versions(team, config.backend)
    _check_settings(team, config, options or {})


def check_same_data(team: Team, task: Task) -> None:
    """Refuses processes with other data than rank 0's, by the fingerprints.

    All processes have to call it, and all raise the same.

    Raises:
        InvalidInput: two processes differ. It names the first process that does, both fingerprints
            and where the data come from.
    """
    if not team.several:
        return
    found = team.gather((task.fingerprint, task.source))
    other = _first_other([fingerprint for fingerprint, _ in found])
    if other is not None:
        first, own = (f"{data} ({source})" for data, source in (found[0], found[other]))
        way = "all hosts need the same files"
        raise _refusal(team, other, "has other data", first, own, way)


def code() -> dict[str, str]:
    """Returns a hash of each Python file of the packages, by its name: "shared/errors.py" → ….

    A package that is not installed has none.
    """
    found: dict[str, str] = {}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)  # without importing it
        for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
            for file in folder.rglob("*.py"):
                name = f"{package}/{file.relative_to(folder).as_posix()}"
                found[name] = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return found


def _check_code(team: Team) -> None:
    with team.agreed():
        own = code()
    whole = team.gather(hashlib.sha256(repr(sorted(own.items())).encode()).hexdigest()[:16])
    other = _first_other(whole)
    if other is None:
        return
    files = team.gather(own)  # only now: each has hundreds
    first, second = files[0], files[other]
    names = [n for n in sorted(first.keys() | second.keys()) if first.get(n) != second.get(n)]
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    got = f"{whole[other]}, which differs in {', '.join(names[:MOST])}{more}"
    way = "install the same version on all hosts"
    raise _refusal(team, other, "runs other code", whole[0], got, way)


def _check_versions(team: Team, backend: str) -> None:
    found = team.gather(versions(backend))
    other = _first_other(found)
    if other is None:
        return
    # Another backend has other packages; that is a matter of the configuration.
    names = [name for name in found[0] if found[other].get(name, found[0][name]) != found[0][name]]
    if names:
        first, own = (
            ", ".join(f"{name} {has[name]}" for name in names) for has in (found[0], found[other])
        )
        way = "install the same ones on all hosts"
        raise _refusal(team, other, "has other versions", first, own, way)


def _check_settings(team: Team, config: Config, options: Mapping[str, Any]) -> None:
    found = team.gather((config, dict(options)))
    other = _first_other(found)
    if other is None:
        return
    (before, more), (after, others) = found[0], found[other]
    names = differing(before, after)
    names += [name for name in {**more, **others} if more.get(name) != others.get(name)]
    expected, got = _named(before) | more, _named(after) | others
    first, own = (", ".join(f"{name} {has.get(name)}" for name in names) for has in (expected, got))
    way = "start all processes with the same command line"
    raise _refusal(team, other, "has another configuration", first, own, way)


def _named(config: Config) -> dict[str, Any]:
    """Returns the settings by the names of their options: {"--cell": "rnn", …}."""
    return {f"--{name}": value for name, value in settings(config).items()}


def _first_other(found: list[Any]) -> int | None:
    """Returns the lowest rank whose value is not that of rank 0; None if all have the same."""
    return next((rank for rank, value in enumerate(found) if value != found[0]), None)


def _refusal(team: Team, other: int, what: str, expected: str, got: str, way: str) -> InvalidInput:
    hosts = team.gather(team.node)
    first, second = (f"process {rank} of {team.count} (host {hosts[rank]})" for rank in (0, other))
    said = f"{second} {what}: expected {expected}, as {first}, got {got}; {way}"
    return InvalidInput(printable(said))
