"""A run that is stopped says how it goes on, and only where there is something to go on with."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.config import Config
from shared.runs import run_folder
from shared.system.signals import Interrupted
from shared.tasks import TASKS
from shared.training import train, train_seeds

TRAIN: Any = sys.modules["shared.training.train"]
CONFIG: Config = replace(TASKS["hello"].defaults, epochs=3, eval_every=1)
pytestmark = pytest.mark.usefixtures("in_numpy")


def stopped_at(monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException) -> None:
    """Training stops with an error where it calls something."""

    def stop(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(TRAIN, where, stop)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("prepare", "interrupted before anything was written"),
        ("History", "interrupted; --resume {} begins anew: no checkpoint was due"),
        ("take_steps", "interrupted; --resume {} begins anew: no checkpoint was due"),
        ("_finish", "interrupted; --resume {} goes on after step 3"),
    ],
)
def test_an_interruption_says_how_to_go_on(
    where: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_at(monkeypatch, where, KeyboardInterrupt())
    with pytest.raises(Interrupted) as stop:
        train(CONFIG, tmp_path / "run", quiet=True)
    assert str(stop.value) == said.format(tmp_path / "run")
    assert (tmp_path / "run" / run_folder.CONFIG).exists() == (where != "prepare")


def test_a_reader_that_goes_away_leaves_a_run_that_can_go_on(tmp_path: Path) -> None:
    """`rnn-parity run … | head -1`"""
    options = "run --backend torch --epochs 3000 --log-every 50 --checkpoint-every 100 --out run"
    command = [sys.executable, "-m", "rnn_parity", *options.split()]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, **streams) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        assert writer.stdout.readline().startswith("hello")
        writer.stdout.close()
        said = writer.stderr.read()
    assert writer.returncode == 1
    (line,) = said.splitlines()
    assert line.startswith("rnn-parity run: Broken pipe; when it can be, --resume run ")


def test_a_run_that_is_not_replaced_yet_is_not_taken_for_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(CONFIG, tmp_path / "run", quiet=True)
    monkeypatch.setattr(run_folder, "created", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(Interrupted, match=r"^interrupted before anything was written$"):
        train(replace(CONFIG, epochs=2), tmp_path / "run", overwrite=True, quiet=True)
    monkeypatch.undo()
    assert run_folder.status(tmp_path / "run").finished


def test_a_resumed_run_that_is_stopped_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(CONFIG, tmp_path / "run", quiet=True)
    stopped_at(monkeypatch, "History", KeyboardInterrupt())
    with pytest.raises(Interrupted, match=r"--resume .*run goes on after step 3$"):
        train(replace(CONFIG, epochs=5), tmp_path / "run", resume=True, quiet=True)


def test_a_full_disk_has_one_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several seeds that of the folder, not that of one run in it."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "file")
    stopped_at(monkeypatch, "take_steps", full)
    advice = "No space left on device; when it can be, --resume {} {}"
    with pytest.raises(OSError, match="No space") as stop:
        train(CONFIG, tmp_path / "run", quiet=True)
    alone = "begins anew: no checkpoint was due"
    assert stop.value.strerror == advice.format(tmp_path / "run", alone)
    with pytest.raises(OSError, match="No space") as stop:
        train_seeds(CONFIG, [1, 2], tmp_path / "seeds", quiet=True)
    several = "finishes the seeds that are not done"
    assert stop.value.strerror == advice.format(tmp_path / "seeds", several)
