"""A finished run that tests resume, and a configuration that tests train from several seeds."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shared.config import Config
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.tasks import TASKS
from shared.training import train
from tests.support.resume_cases import last_value
from tests.support.seed_cases import SMALL_DATA


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """At this learning rate the first of its two checkpoints is the best."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    config = last_value(optimization=OptimizationConfig(learning_rate=0.1))
    assert train(config, folder, quiet=True).test["step"] == 3
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def config() -> Config:
    """Of a run that each of several seeds may take."""
    return replace(
        TASKS["last-value"].defaults, backend="jax", precision="float64", epochs=3, batch_size=8,
        network=NetworkConfig("gru", hidden_size=4), data=SMALL_DATA,
    )  # fmt: skip
