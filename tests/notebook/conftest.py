"""A small task in memory, and the folder in which temporary ones are made."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from shared.notebook import Problem, forecast


def table(rows: int = 120) -> dict[str, np.ndarray]:
    """Two series of days, one after the other."""
    days = np.datetime64("2024-01-01") + np.arange(rows)
    noise = np.random.default_rng(0).normal(size=(2, rows)).round(3)
    return {
        "day": np.concatenate([days, days]),
        "shop": np.repeat(["north", "south"], rows),
        "sales": np.concatenate([10 + noise[0].cumsum(), 90 - noise[1].cumsum()]),
    }


@pytest.fixture
def series() -> Problem:
    return forecast(table(), "sales", time="day", group="shop", window=6, horizon=2)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, and the current one, empty."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.chdir(place)
    return place
