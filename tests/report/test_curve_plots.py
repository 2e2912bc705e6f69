"""Pictures of losses that have no range of their own."""

from dataclasses import replace
from pathlib import Path

import pytest

from shared.config.data import HelloData
from shared.report.curve_plots import save_curves
from shared.runs import read_run
from shared.tasks import TASKS
from shared.training import train


@pytest.mark.draws
def test_a_loss_that_is_always_0_is_drawn_without_a_warning(tmp_path: Path) -> None:
    """A vocabulary of one letter leaves nothing to learn."""
    config = replace(TASKS["hello"].defaults, backend="torch", epochs=3, data=HelloData(("a",)))
    train(config, tmp_path / "run", quiet=True)
    run = read_run(tmp_path / "run")
    assert not run.curves["train"].loss.any()
    save_curves([run], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
