"""Copy of a run folder with another summary."""

import shutil
from pathlib import Path

from shared.runs import read_run
from shared.runs.run import Run
from tests.support import checksummed


def changed_run(compared: Path, folder: Path, **summary) -> Run:
    """A copy of the run in JAX with another summary."""
    shutil.copytree(compared / "runs" / "jax-handcrafted", folder)
    file = folder / "summary.json"
    checksummed.write(file, checksummed.read(file) | summary)
    return read_run(folder)
