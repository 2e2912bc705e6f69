"""The folder of several seeds: a run for each, side by side.

seeds.json     the seeds, and the configuration that they share
seed-0, …      their runs, as shared/history.py has them
curves.png     the mean of their losses, in a band of their range
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shared.config import Config, from_json
from shared.errors import InvalidInput
from shared.files import parse, read_signed, write_signed

FILE = "seeds.json"
NAME = re.compile(r"seed-(0|[1-9]\d*)")
"""The folder of one seed's run."""
MOST = 1000
"""Seeds of a range: more are a mistake in writing."""


@dataclass(frozen=True)
class Seeds:
    seeds: list[int]
    config: dict[str, Any]
    """As in a run's config.json; its own seed does not count."""


def parse_seeds(words: Sequence[str]) -> list[int]:
    """["0..2", "7"] → [0, 1, 2, 7].

    Raises:
        InvalidInput: anything else, a seed named twice, or none.
    """
    found: list[int] = []
    for word in words:
        match = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9}))?", word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last < first + MOST:
            expected = "numbers such as 0 1 2 or 0..2, of a range the smaller one first"
            raise InvalidInput(f"--seeds: expected {expected}, got {word}")
        found += range(first, last + 1)
    if not found or len(set(found)) < len(found):
        got = " ".join(words) or "none"
        raise InvalidInput(f"--seeds: expected one or more, each once, got {got}")
    return found


def are_in(folder: Path) -> bool:
    """Whether a folder holds runs of several seeds."""
    return (folder / FILE).is_file()


def read_seeds(folder: Path) -> list[int]:
    """The seeds that a folder is for, whether or not they are trained yet.

    Raises:
        InvalidInput: the file is missing or damaged.
    """
    return _read(folder).seeds


def read_shared_config(folder: Path) -> Config:
    """The configuration that all seeds of a folder share.

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
