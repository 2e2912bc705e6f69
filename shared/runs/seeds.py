"""The folder of several seeds: a run for each, side by side.

seeds.json     the seeds, and the configuration that they share
seed-0, …      their runs, as shared/runs/run_folder.py describes them
curves.png     the mean of their losses, in a band of their range
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shared.config import Config
from shared.config.options import from_json
from shared.runs.run import Run, read_run
from shared.runs.run_folder import SEEDS
from shared.system.json_files import parse, read_signed, write_signed

FILE = SEEDS
NAME = re.compile(r"seed-(0|[1-9]\d*)")
"""Name of the folder of one seed's run."""


@dataclass(frozen=True)
class Seeds:
    seeds: list[int]
    config: dict[str, Any]
    """Configuration as in a run's config.json; its own seed does not count."""


def are_in(folder: Path) -> bool:
    """Tells whether a folder holds runs of several seeds."""
    return (folder / FILE).is_file()


def read_seeds(folder: Path) -> list[int]:
    """Reads the seeds that a folder is for, trained or not.

    Raises:
        InvalidInput: the file is missing or damaged.
    """
    return _read(folder).seeds


def read_shared_config(folder: Path) -> Config:
    """Reads the configuration that all seeds of a folder share.

    Raises:
        InvalidInput: the file is missing, damaged, or not of this version.
    """
    return from_json(_read(folder).config)


def _read(folder: Path) -> Seeds:
    return read_signed(folder / FILE, partial(parse, Seeds))


def save_seeds(folder: Path, seeds: Sequence[int], config: Config) -> None:
    write_signed(folder / FILE, Seeds([*seeds], asdict(config)))


def seed_folder(folder: Path, seed: int) -> Path:
    return folder / f"seed-{seed}"


def run_folders(folders: Sequence[Path]) -> list[Path]:
    """Returns each folder itself, or those of its seeds, in order.

    Raises:
        InvalidInput: a seeds.json is damaged.
    """
    found: list[Path] = []
    for folder in folders:
        seeds = sorted(read_seeds(folder)) if are_in(folder) else []
        found += [seed_folder(folder, seed) for seed in seeds] or [folder]
    return found


def read_runs(folder: Path) -> list[Run]:
    """Reads the run in a folder, or those of its seeds."""
    return [read_run(own) for own in run_folders([folder])]
