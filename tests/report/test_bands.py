"""The band of several seeds: their mean, and the smallest and the largest of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.config.data import GeneratedData
from shared.config.settings import NetworkConfig
from shared.report.bands import band
from shared.report.groups import grouped
from shared.runs.seeds import read_runs
from shared.tasks import TASKS
from shared.training import train_seeds


@pytest.mark.usefixtures("in_numpy")
def test_a_band_is_the_mean_in_the_range_of_all_seeds(tmp_path: Path) -> None:
    config = replace(
        TASKS["last-value"].defaults, backend="torch", epochs=2, batch_size=8,
        network=NetworkConfig(hidden_size=3), data=GeneratedData(40, 16, 16, 5, 3),
    )  # fmt: skip
    train_seeds(config, [0, 1, 2], tmp_path / "seeds", quiet=True)
    (side,) = grouped(read_runs(tmp_path / "seeds"))
    losses = np.stack([run.curves["train"].loss for run in side.runs])
    found = band(side, "train")
    np.testing.assert_allclose(found.mean, losses.mean(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(found.low, losses.min(axis=0))
    np.testing.assert_array_equal(found.high, losses.max(axis=0))
    assert (found.low < found.high).all()
