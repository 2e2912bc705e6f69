"""The command line of `rnn-parity run` that trains a job in a process of its own."""

import shlex
import sys
from pathlib import Path

from shared.config import Config
from shared.config.options import RESUMABLE, flag, options, settings
from shared.jobs.job import State

CHILD = (sys.executable, "-P", "-m", "shared.commands")
"""Starts the program from another one, where no folder of the user's can hide its packages."""


def run_options(
    config: Config, state: State, folder: str, file: Path, overwrite: bool = False
) -> list[str]:
    """Returns the options of `run` for a job.

    Args:
        state: of the run in the folder.
        file: a file with the configuration.
    """
    if state == "stopped":
        values = settings(config)
        names = [flag(name).removeprefix("--") for name in RESUMABLE]
        changed = options({name: values[name] for name in names}, values)
        return ["--resume", folder, *(word for line in changed for word in shlex.split(line))]
    words = ["--config", str(file), "--out", folder, "--backend", config.backend]
    data_folder = getattr(config.data, "folder", None)
    words += [] if data_folder is None else ["--data.folder", data_folder]
    return words + ["--overwrite"] * overwrite


def run_command(options: list[str], tune_allocator: bool) -> list[str]:
    """Returns the words of a program that is `run` with these options."""
    return [*CHILD, "run", *options, *["--no-tune-allocator"] * (not tune_allocator)]
