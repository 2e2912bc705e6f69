"""Seeds that were stopped, or are replaced: they go on together where they can, with the settings
and the seeds that their folder began with."""

import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.errors import InvalidInput
from shared.runs import checkpoint
from shared.runs.seeds import (
    read_runs,
    read_seeds,
    read_shared_config,
    run_folders,
    save_seeds,
    seed_folder,
)
from shared.system.signals import Interrupted
from shared.training import calls, train, train_seeds
from shared.training.loop import take_steps
from tests.support import numpy_backend
from tests.support.seed_cases import compare


class Signalled:
    """As `Interruption`, with a signal that comes when it has been looked at so often."""

    def __init__(self, looks: int):
        self.looks = looks

    @property
    def received(self) -> int | None:
        self.looks -= 1
        return signal.SIGINT if self.looks < 0 else None


@contextmanager
def signalled(looks: int) -> Iterator[None]:
    """Inside, a signal comes when training has looked for one so often."""
    signal = Signalled(looks)

    def take(records: Any, states: Any, _: Any) -> Any:
        return take_steps(records, states, signal)  # pyright: ignore[reportArgumentType]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["shared.training.train"], "take_steps", take)
        yield


@pytest.mark.usefixtures("in_numpy")
@pytest.mark.parametrize("looks", [1, 2, 3])
def test_a_signal_leaves_all_seeds_at_the_same_step(
    config: Config, looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of them sees it first; and together they go on."""
    monkeypatch.setattr(calls, "most_steps", lambda *_: 2)  # signals come between checkpoints
    whole = tmp_path / "whole"
    train_seeds(config, [0, 1], whole, quiet=True)
    with (
        signalled(looks),
        pytest.raises(Interrupted, match=r"--resume .*/seeds finishes the seeds"),
    ):
        train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    folders = run_folders([tmp_path / "seeds"])
    reached = [checkpoint.steps(folder)[-1] for folder in folders]
    assert len(folders) == 2
    assert reached[0] == reached[1] > 0
    resumed = train_seeds(config, [0, 1], tmp_path / "seeds", resume=True, quiet=True)
    assert all("2 seeds in one program" in summary.path for summary in resumed)
    for seed in (0, 1):
        compare(seed_folder(tmp_path / "seeds", seed), seed_folder(whole, seed), exact=True)


@pytest.mark.usefixtures("in_numpy")
def test_seeds_at_different_steps_go_on_by_themselves(config: Config, tmp_path: Path) -> None:
    """As a kill between their checkpoints leaves them; finished ones stay, missing ones begin."""
    train_seeds(config, [0, 1, 2, 3], tmp_path / "whole", quiet=True)
    train_seeds(config, [0, 1, 2, 3], tmp_path / "seeds", quiet=True)
    one, two, three = (seed_folder(tmp_path / "seeds", seed) for seed in (1, 2, 3))
    (one / "summary.json").unlink()
    checkpoint.path(one, 15).unlink()
    (two / "summary.json").unlink()
    shutil.rmtree(three)
    before = (seed_folder(tmp_path / "seeds", 0) / "summary.json").read_bytes()
    done = train_seeds(config, [0, 1, 2, 3], tmp_path / "seeds", resume=True, quiet=True)
    assert [summary.seed for summary in done] == [1, 2, 3]
    assert (seed_folder(tmp_path / "seeds", 0) / "summary.json").read_bytes() == before
    for seed in range(4):
        compare(seed_folder(tmp_path / "seeds", seed), seed_folder(tmp_path / "whole", seed))


@pytest.mark.usefixtures("in_numpy")
def test_what_is_replaced_is_gone_before_it_could_be_mistaken_for_new(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted at its first seed, a replacement of three goes on with all three."""
    old, new = (replace(config, backend="torch", batch_size=size) for size in (8, 10))
    train_seeds(old, [0, 1, 2], tmp_path / "seeds", quiet=True)
    with signalled(0), pytest.raises(Interrupted):
        train_seeds(new, [0, 1, 2], tmp_path / "seeds", overwrite=True, quiet=True)
    monkeypatch.undo()
    done = train_seeds(new, [0, 1, 2], tmp_path / "seeds", resume=True, quiet=True)
    assert [summary.seed for summary in done] == [0, 1, 2]
    assert {run.config.batch_size for run in read_runs(tmp_path / "seeds")} == {10}


@pytest.mark.usefixtures("in_numpy")
def test_the_same_is_trained_again_where_it_is_replaced(config: Config, tmp_path: Path) -> None:
    config = replace(config, backend="torch")
    train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    again = train_seeds(config, [0, 1], tmp_path / "seeds", overwrite=True, quiet=True)
    assert [summary.seed for summary in again] == [0, 1]


@pytest.mark.usefixtures("in_numpy")
def test_more_epochs_train_all_seeds_on(config: Config, tmp_path: Path) -> None:
    train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    longer = replace(config, epochs=4)
    assert len(train_seeds(longer, [0, 1], tmp_path / "seeds", resume=True, quiet=True)) == 2
    for seed in (0, 1):
        train(replace(longer, seed=seed), tmp_path / str(seed), quiet=True)
        compare(seed_folder(tmp_path / "seeds", seed), tmp_path / str(seed))


@pytest.mark.usefixtures("in_numpy")
def test_a_seed_that_diverges_stops_the_others_at_their_checkpoints(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.errors import TrainingDiverged

    take = numpy_backend.Backend.advance

    def broken(self, states, batches, rates):
        new, (first, second) = take(self, states, batches, rates)
        return new, [first, second._replace(loss=np.full(len(rates), np.nan))]

    monkeypatch.setattr(numpy_backend.Backend, "advance", broken)
    with pytest.raises(
        TrainingDiverged, match=r"the training loss is nan at step 1.*no checkpoint"
    ):
        train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    assert not (seed_folder(tmp_path / "seeds", 0) / "run.lock").exists()


@pytest.mark.usefixtures("in_numpy")
@pytest.mark.parametrize("change", ["batch_size", "seed"])
def test_all_seeds_of_a_folder_share_a_configuration(
    config: Config, change: str, tmp_path: Path
) -> None:
    """Also where one of them has not begun, and those that are finished."""
    config = replace(config, backend="torch")
    train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    other = replace(config, **{change: 7})
    with pytest.raises(InvalidInput, match=f"got another --{change.replace('_', '-')}"):
        train_seeds(other, [0, 1], tmp_path / "seeds", resume=True, quiet=True)
    shutil.rmtree(seed_folder(tmp_path / "seeds", 1))
    with pytest.raises(InvalidInput, match=f"got another --{change.replace('_', '-')}"):
        train_seeds(other, [0, 1], tmp_path / "seeds", resume=True, quiet=True)
    train(replace(config, batch_size=5, seed=1), seed_folder(tmp_path / "seeds", 1), quiet=True)
    with pytest.raises(InvalidInput, match="got another --batch-size"):
        train_seeds(config, [0, 1], tmp_path / "seeds", resume=True, quiet=True)


@pytest.mark.usefixtures("in_numpy")
def test_seeds_that_were_only_noted_can_be_trained(config: Config, tmp_path: Path) -> None:
    """As a signal leaves them that comes before the first run has a folder."""
    config = replace(config, backend="torch")
    (tmp_path / "seeds").mkdir()
    save_seeds(tmp_path / "seeds", [0, 3], resolve(config))
    done = train_seeds(config, [0, 3], tmp_path / "seeds", resume=True, quiet=True)
    assert [summary.seed for summary in done] == [0, 3]


@pytest.mark.usefixtures("in_numpy")
def test_a_replacement_is_trained_together_and_leaves_nothing_of_before(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    again = replace(config, batch_size=10)
    with monkeypatch.context() as patch:
        interrupted = Mock(side_effect=KeyboardInterrupt)
        patch.setattr(sys.modules["shared.training.train"], "take_steps", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_seeds(again, [0, 1], tmp_path / "seeds", overwrite=True, quiet=True)
    assert {run.name for run in run_folders([tmp_path / "seeds"])} == {"seed-0", "seed-1"}
    for seed in (0, 1):
        assert not (seed_folder(tmp_path / "seeds", seed) / "summary.json").exists()
    assert read_shared_config(tmp_path / "seeds").batch_size == 10
    train_seeds(again, [0, 1], tmp_path / "seeds", resume=True, quiet=True)
    summaries = train_seeds(again, [0, 1], tmp_path / "seeds", overwrite=True, quiet=True)
    assert all("2 seeds in one program" in summary.path for summary in summaries)


@pytest.mark.usefixtures("in_numpy")
def test_a_folder_keeps_its_seeds(config: Config, tmp_path: Path) -> None:
    train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    for other in ([0], [7], [0, 1, 2]):
        with pytest.raises(InvalidInput, match=r"expected its own seeds 0 1, got .*; other seeds"):
            train_seeds(config, other, tmp_path / "seeds", resume=True, quiet=True)
    assert read_seeds(tmp_path / "seeds") == [0, 1]
    with pytest.raises(InvalidInput, match=r"expected a folder of several seeds, with a"):
        train_seeds(config, [0], tmp_path / "seeds" / "seed-0", resume=True, quiet=True)
