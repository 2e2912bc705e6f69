"""Files of a run that come from a node. They are written so that the folder is a valid run at each
moment."""

from collections.abc import Mapping
from pathlib import Path

from shared.errors import InvalidInput
from shared.runs import run_folder
from shared.runs.history import METRICS
from shared.runs.run_folder import CONFIG, CURVES, RESULTS, SUMMARY
from shared.system import lock
from shared.system.files import TEMPORARY, write_atomically
from shared.system.folders import occupants, remove
from shared.system.lock import Lock


def write_arrived(own: Lock, files: Mapping[str, bytes], names: set[str], first: bool) -> None:
    """Writes what has arrived, and removes what the run has removed.

    The history is there before a checkpoint that names its checksum; a checkpoint that another one
    may need goes after that; summary and curves come last, as where the run trains.

    Args:
        own: lock of the folder.
        files: new or changed files.
        names: all files of the run.
        first: nothing of this run has arrived before, and the folder may hold one to replace.

    Raises:
        OSError: a file cannot be written, or another process may have the folder.
        InvalidInput: a name is no plain one.
    """
    if not files or CONFIG not in names:
        return
    folder = own.folder
    strange = [name for name in names if Path(name).name != name or name in (lock.FILE, "..")]
    if strange:
        raise InvalidInput(f"{folder}: expected names of files from the node, got {strange[0]!r}")
    own.check()
    if first:
        run_folder.clear(folder, but=(CONFIG,))
    gone = {n for n in occupants(folder) - names - {lock.FILE} if not TEMPORARY.fullmatch(n)}
    remove(folder, gone & {*RESULTS})  # a finished run that goes on is unfinished again
    late = {CONFIG: -2, METRICS: -1, SUMMARY: 1, CURVES: 2}
    for name in sorted(files, key=lambda name: (late.get(name, 0), name)):
        write_atomically(folder / name, files[name])
    remove(folder, gone)


def read_kept(folder: Path) -> dict[str, bytes]:
    """Reads all files of a run that is to go on elsewhere."""
    names = occupants(folder) - {lock.FILE}
    return {
        name: (folder / name).read_bytes()
        for name in names
        if not TEMPORARY.fullmatch(name) and (folder / name).is_file()
    }
