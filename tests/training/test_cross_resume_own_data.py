"""Runs on a user's own data go on in the other framework, in float64, as the uninterrupted run."""

from dataclasses import replace
from pathlib import Path

import pytest

from shared.config import Config
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.tasks import TASKS
from tests.support.cross_resume_cases import (
    DIRECTIONS,
    begin,
    check_same_run,
    last,
    resume,
    segments,
)
from tests.support.own_data import MADE

NETWORKS = {
    "forecast": NetworkConfig(cell="gru", hidden_size=5),
    "sequences": NetworkConfig(cell="lstm", hidden_size=4, bidirectional=True),
    "labels": NetworkConfig(cell="gru", hidden_size=4, num_layers=2, dropout=0.3),
    "pairs": NetworkConfig(cell="lstm", hidden_size=5, embedding_size=3),
}


def config_of(task: str, folder: Path) -> Config:
    return replace(
        TASKS[task].defaults,
        network=NETWORKS[task],
        optimization=OptimizationConfig(learning_rate=0.01, clip_norm=1.0),
        data=MADE[task](folder),
        epochs=4,
        batch_size=8,
        precision="float64",
    )


# Each task in one direction; in the other one, too, with -m slow.
CASES = [
    pytest.param(task, *direction, marks=[] if (i + j) % 2 else [pytest.mark.slow])
    for i, task in enumerate(MADE)
    for j, direction in enumerate(DIRECTIONS)
]


@pytest.mark.parametrize(("task", "first", "second"), CASES)
def test_more_epochs_in_the_other_framework_are_the_uninterrupted_run(
    task: str, first: str, second: str, tmp_path: Path
) -> None:
    config = config_of(task, tmp_path)
    whole = begin(config, first, tmp_path / "whole")
    parts = begin(replace(config, epochs=2), first, tmp_path / "parts")
    resume(parts, second, epochs=4)
    found = last(whole).snapshot
    assert ("highway.weight" in found.weights) == (task == "forecast")
    check_same_run(parts, whole, len(found.weights) + len(found.moments) + len(found.carry))
    assert [part[0] for part in segments(parts)] == [first, second]
