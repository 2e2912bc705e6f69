"""The data of a run in several processes: one of each host reads it, and the others map what it
made, so that the memory of a host holds it once.

    task = load_together(lambda: load_task(config), team)
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import CellType, FunctionType
from typing import Any, NamedTuple, cast

from shared.errors import InvalidInput
from shared.system.files import naming
from shared.system.mapped_values import Packed, mapped, pack
from shared.system.team import Team
from shared.tasks.task import Baseline, Task

Baselines = Callable[[], Sequence[Baseline]]
MEMORY = Path("/dev/shm")
"""Folder whose files Linux keeps in memory."""


class Place(NamedTuple):
    """Where a process of the same host finds the data."""

    path: Path
    start: int


def load_together(load: Callable[[], Task], team: Team) -> Task:
    """Loads the data of a run once on each host; to be called by all processes.

    The arrays are read-only, and those of --data.folder stay mapped from there, so that a process
    reads only the rows that it takes. The fingerprint is computed where the data is loaded. Only
    rank 0, which scores the test part, has the baselines; elsewhere there are none.

    Args:
        load: function that loads the data. The process with the lowest rank of a host calls it.

    Raises:
        InvalidInput: as `load`, or a host has no room for the file that its processes map; in all
            processes.
        OSError: as `load`, or the data cannot be written or mapped; in all processes.
    """
    if not team.several:
        return load()
    hosts = team.gather(team.node)
    loader = hosts.index(team.node)
    task, place, remade = None, None, _none
    with ExitStack() as stack:
        with team.agreed():
            if loader == team.rank:
                task = load()
                if hosts.count(team.node) > 1:
                    place, remade = _shared(task, team.first, stack)
        place = team.gather(place)[loader]
        with team.agreed():
            if place is not None:  # in place of the first copy, which nothing refers to any more
                task = _mapped(place, team.first, remade)
    assert task is not None
    return task if team.first else _with(task, tuple)


def _none(_: Any) -> Baselines:
    return tuple


def _shared(task: Task, first: bool, stack: ExitStack) -> tuple[Place, Callable[[Any], Baselines]]:
    """Writes the task for the processes of the host, with what the baselines need behind it if this
    is rank 0, and returns a function that makes the baselines of that."""
    bare, function = _with(task, tuple), task.baselines
    if not first:
        return _written(pack(bare), stack), _none
    if not isinstance(function, FunctionType) or function.__closure__ is None:
        return _written(pack(bare, None), stack), lambda _: function
    # Functions within functions cannot be pickled, but what they refer to can: most of the data.
    values = tuple(cell.cell_contents for cell in function.__closure__)
    remade = partial(_remade, function.__code__, function.__globals__, function.__defaults__)
    return _written(pack(bare, values), stack), remade


def _remade(code: Any, names: dict[str, Any], defaults: Any, values: tuple[Any, ...]) -> Baselines:
    """Returns a function that refers to other values, those that it has in the file."""
    cells = tuple(map(CellType, values))
    return cast(Baselines, FunctionType(code, names, code.co_name, defaults, cells))


def _written(packed: Packed, stack: ExitStack) -> Place:
    """Writes the file, in a folder that no other user can read; the stack removes it.

    Raises:
        InvalidInput: there is no room for it.
        OSError: it cannot be written.
    """
    room = {folder: _room(folder) for folder in (MEMORY, Path(tempfile.gettempdir()))}
    folder = next((folder for folder in room if packed.size <= room[folder]), None)
    if folder is None:
        left = " and ".join(f"{place} {free / 1e9:.1f} GB" for place, free in room.items())
        raise InvalidInput(
            f"the processes of a host share {packed.size / 1e9:.1f} GB of data: expected as much "
            f"room, got in {left}; TMPDIR names another folder"
        )
    private = tempfile.TemporaryDirectory(prefix="rnn-parity-", dir=folder)
    path = Path(stack.enter_context(private)) / "data"
    with naming(path), open(path, "xb") as file:
        start = packed.write(file)
    return Place(path, start)


def _room(folder: Path) -> int:
    """Returns the bytes that a folder has left; 0 if it cannot be written to."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return 0
    return shutil.disk_usage(folder).free


def _mapped(place: Place, first: bool, remade: Callable[[Any], Baselines]) -> Task:
    task, *values = mapped(*place, 2 if first else 1)
    return _with(task, remade(*values)) if values else task


def _with(task: Task, baselines: Baselines) -> Task:
    """Returns the task with other baselines, and the fingerprint that is known already."""
    other = replace(task, baselines=baselines)
    vars(other)["fingerprint"] = task.fingerprint
    return other
