"""A run to train, with the folder where it goes, and what has become of it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from shared.config import Config
from shared.config.options import RESUMABLE
from shared.errors import InvalidInput
from shared.runs import read_run, run_folder
from shared.runs.run_folder import read_config

State = Literal["done", "stopped", "new"]


@dataclass(frozen=True)
class Job:
    """One run to train.

    Args:
        config: resolved.
        overwrite: replace the run that lies in the folder.
        prolongs: the run in the folder may have other settings of those that a resumed run may
            change, such as fewer epochs.
    """

    config: Config
    folder: Path
    overwrite: bool = False
    prolongs: bool = False

    @property
    def state(self) -> State:
        """State of the run's training; "stopped" if it has begun but is not finished.

        Raises:
            InvalidInput: its folder holds a run with other settings, or a damaged one.
        """
        status = run_folder.status(self.folder)
        if self.overwrite or not status.begun:
            return "new"
        found = read_config(self.folder / run_folder.CONFIG)
        expected = self.config
        if self.prolongs:
            expected = replace(expected, **{name: getattr(found, name) for name in RESUMABLE})
        if found != expected:
            raise InvalidInput(
                f"{self.folder}: expected a run with the settings of this version, got another; "
                "move it away"
            )
        if status.finished and found.epochs == self.config.epochs:
            read_run(self.folder)  # what is damaged is known before others are trained
            return "done"
        return "stopped"


class Outcome(NamedTuple):
    """What has become of a job."""

    job: Job
    failure: str | None = None
    """Last line that the failed run wrote on stderr; None if the run is done."""
