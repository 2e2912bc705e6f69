"""Runs → groups, the sides of a comparison: a run, or the runs of several seeds.

    grouped([read_run(folder) for folder in run_folders([Path("runs/a"), Path("runs/b")])])

Runs of several seeds lie side by side in one folder, as seed-0, seed-1, …
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from shared.runs.run import Run
from shared.runs.seeds import NAME, are_in


class Group(NamedTuple):
    name: str
    """Short name: backend and implementation. Where the run was resumed, it has all of them in
    order; where names repeat, the folder too."""
    folder: Path
    runs: tuple[Run, ...]
    """One run, or one for each seed, in the order of the seeds."""

    @property
    def first(self) -> Run:
        return self.runs[0]


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Makes groups of runs, in their order. Runs that lie in one folder of seeds and differ in
    nothing else become one."""
    alike: dict[tuple[Path, str, str], list[Run]] = {}
    for run in runs:
        parent = run.folder.parent
        of_seeds = NAME.fullmatch(run.folder.name) and are_in(parent)
        settings = repr(replace(run.config, seed=0))
        key = (parent if of_seeds else run.folder, run.label, settings)
        alike.setdefault(key, []).append(run)
    # A single seed is a run like any other.
    sides = {own[0].folder if len(own) == 1 else key[0]: own for key, own in alike.items()}
    names = [own[0].label for own in sides.values()]
    ways: list[Callable[[Path], str]] = [lambda folder: folder.name, str]
    for way in ways:
        names = [
            f"{own[0].label} ({way(folder)})" if names.count(name) > 1 else name
            for name, (folder, own) in zip(names, sides.items(), strict=True)
        ]
    return [
        Group(name, folder, tuple(sorted(own, key=lambda run: run.config.seed)))
        for name, (folder, own) in zip(names, sides.items(), strict=True)
    ]
