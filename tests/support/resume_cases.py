"""A short run that the tests of resuming go on with, and what a refusal to do so must leave."""

from dataclasses import replace
from pathlib import Path

import pytest

from shared.config import Config
from shared.config.data import GeneratedData
from shared.config.settings import NetworkConfig
from shared.errors import InvalidInput
from shared.runs.run_folder import read_config
from shared.tasks import TASKS
from shared.training import train

BEST_FILE, LAST_FILE = "checkpoint-3.safetensors", "checkpoint-6.safetensors"


def last_value(**changes) -> Config:
    return replace(
        TASKS["last-value"].defaults,
        backend="torch",
        network=NetworkConfig(hidden_size=5),
        data=GeneratedData(40, 8, 9, sequence_length=6, input_size=3),
        epochs=2,
        batch_size=16,
        precision="float64",
        **changes,
    )


def resume(folder: Path, **changes):
    config = replace(read_config(folder / "config.json"), **changes)
    return train(config, folder, resume=True, quiet=True)


def check_refused(folder: Path, message: str, **changes) -> None:
    """Raises unless it is refused with the message, and no byte in the folder has changed."""
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(InvalidInput, match=message):
        resume(folder, **changes)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
