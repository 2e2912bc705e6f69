"""TensorBoard's events beside metrics.jsonl, with `--logger tensorboard`.

    tensorboard --logdir runs

They repeat the history, with learning rate and gradient norm; nothing here reads them.
"""

import importlib.util
import json
import textwrap
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from shared.config import Config
from shared.errors import InvalidInput
from shared.system.files import naming
from shared.system.folders import remove

PATTERN = "events.out.tfevents.*"


def check_available(config: Config) -> None:
    """Raises InvalidInput if the package that a logger needs is missing."""
    if config.logger == "tensorboard" and importlib.util.find_spec("tensorboardX") is None:
        raise InvalidInput(
            "--logger tensorboard needs the package tensorboardX: "
            "pip install 'rnn-parity[tensorboard]'"
        )


def clear(folder: Path) -> None:
    """Removes the events of a run."""
    remove(folder, [file.name for file in folder.glob(PATTERN)])


class Events:
    """Writer that appends to a run's events; does nothing if the configuration asks for none.

    Args:
        keep: in a resumed run, steps up to this one count; those after it are taken again.
    """

    def __init__(self, folder: Path, config: Config, keep: int):
        self._folder = folder
        self._writer: Any = None
        if config.logger == "tensorboard":
            # Not its SummaryWriter: whose thread a full disk ends, and which then waits for ever.
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import (
                Event,  # pyright: ignore
                SessionLog,  # pyright: ignore
            )
            from tensorboardX.summary import scalar, text

            self._event, self._scalar = Event, scalar
            with naming(folder):
                # Their second alone does not tell two files apart.
                self._writer = EventsWriter(str(folder / "events"), f".{keep}")
            if keep:  # TensorBoard drops what an earlier file has from this step on
                first = Event(step=keep + 1, session_log=SessionLog(status=SessionLog.START))
            else:
                settings = json.dumps(asdict(config), indent=1, ensure_ascii=False)
                shown = textwrap.indent(settings, "    ")
                first = Event(step=0, summary=text("config", shown))
            try:
                self._write(first)
            except OSError:
                self.__exit__(OSError)
                raise

    @property
    def written(self) -> bool:
        """True if there are events to write to."""
        return self._writer is not None

    def add(self, split: str, step: int, values: Mapping[str, float]) -> None:
        """Adds one scalar for each name, as split/name: "train/loss"."""
        if self._writer is not None:
            for name, value in values.items():
                summary = self._scalar(f"{split}/{name}", float(value))
                self._write(self._event(step=step, summary=summary))

    def flush(self) -> None:
        """Writes the added events.

        Raises:
            OSError: they cannot be written; the message names the folder.
        """
        if self._writer is not None:
            with naming(self._folder):
                self._writer.flush()

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        with naming(self._folder):
            self._writer.write_event(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is not None:
            # What stopped the run counts, not that its last events could not be written.
            with naming(self._folder) if kind is None else suppress(OSError):
                self._writer.close()
