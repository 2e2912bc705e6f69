"""TensorBoard's events beside metrics.jsonl, with `--logger tensorboard`.

    tensorboard --logdir runs

They repeat what the history has, with learning rate and gradient norm; nothing here reads them.
"""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from shared.config import Config
from shared.errors import InvalidInput
from shared.files import naming, remove

PATTERN = "events.out.tfevents.*"


def check_available(config: Config) -> None:
    """Raises InvalidInput where the package that a logger needs is missing."""
    if config.logger == "tensorboard" and importlib.util.find_spec("tensorboardX") is None:
        raise InvalidInput(
            "--logger tensorboard needs the package tensorboardX: "
            "pip install 'rnn-parity[tensorboard]'"
        )


def clear(folder: Path) -> None:
    """Removes the events of a run."""
    remove(folder, [file.name for file in folder.glob(PATTERN)])


class Events:
    """Appends to a run's events; does nothing where the configuration asks for none.

    Args:
        keep: a resumed run's steps up to this one count, those after it are taken again.
    """

    def __init__(self, folder: Path, config: Config, keep: int):
        self._folder = folder
        self._writer: Any = None
        if config.logger == "tensorboard":
            from tensorboardX import SummaryWriter

            # TensorBoard drops what an earlier file has from the purged step on.
            self._writer = SummaryWriter(
                logdir=str(folder),
                purge_step=keep + 1 if keep else None,
                filename_suffix=f".{keep}",  # its second alone does not tell two files apart
            )
            if not keep:
                settings = json.dumps(asdict(config), indent=1, ensure_ascii=False)
                self._writer.add_text("config", "".join(f"    {s}\n" for s in settings.split("\n")))

    @property
    def written(self) -> bool:
        """Whether there is anything to write to."""
        return self._writer is not None

    def add(self, split: str, step: int, values: Mapping[str, float]) -> None:
        """One scalar a name, as split/name: "train/loss"."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{split}/{name}", value, step)

    def flush(self) -> None:
        """Raises OSError, with the name of the folder, where they cannot be written."""
        if self._writer is not None:
            with naming(self._folder):
                self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
