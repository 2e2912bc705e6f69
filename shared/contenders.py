"""Runs → contenders, the sides of a comparison: a run, or the runs of several seeds.

    contenders([read_run(folder) for folder in run_folders([Path("runs/a"), Path("runs/b")])])

Runs of several seeds lie side by side in one folder, as seed-0, seed-1, …
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from shared.history import Run, read_run
from shared.seeds import NAME, seed_folder


class Contender(NamedTuple):
    name: str
    """Short: backend and implementation, all of them in order where it was resumed, and the folder
    where those repeat."""
    folder: Path
    runs: tuple[Run, ...]
    """One, or one for each seed, in the order of the seeds."""

    @property
    def first(self) -> Run:
        return self.runs[0]


def run_folders(folders: Sequence[Path]) -> list[Path]:
    """Each folder itself, or those of its seeds, in order."""
    found: list[Path] = []
    for folder in folders:
        names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
        seeds = sorted(int(match[1]) for match in map(NAME.fullmatch, names) if match)
        found += [seed_folder(folder, seed) for seed in seeds] or [folder]
    return found


def read_runs(folder: Path) -> list[Run]:
    """The run in a folder, or those of its seeds."""
    return [read_run(own) for own in run_folders([folder])]


def contenders(runs: Sequence[Run]) -> list[Contender]:
    """Runs in the order in which they come, those of one folder's seeds as one."""
    grouped: dict[Path, list[Run]] = {}
    for run in runs:
        folder = run.folder.parent if NAME.fullmatch(run.folder.name) else run.folder
        grouped.setdefault(folder, []).append(run)
    # A single seed is a run like any other.
    sides = {own[0].folder if len(own) == 1 else folder: own for folder, own in grouped.items()}
    names = [own[0].label for own in sides.values()]
    ways: list[Callable[[Path], str]] = [lambda folder: folder.name, str]
    for way in ways:
        names = [
            f"{own[0].label} ({way(folder)})" if names.count(name) > 1 else name
            for name, (folder, own) in zip(names, sides.items(), strict=True)
        ]
    return [
        Contender(name, folder, tuple(sorted(own, key=lambda run: run.config.seed)))
        for name, (folder, own) in zip(names, sides.items(), strict=True)
    ]
