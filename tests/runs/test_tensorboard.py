"""TensorBoard's events say what the history says."""

import errno
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.config import Config
from shared.config.data import GeneratedData
from shared.config.settings import NetworkConfig
from shared.errors import InvalidInput
from shared.runs import read_run, tensorboard
from shared.tasks import TASKS
from shared.training import train

pytest.importorskip("tensorboardX")
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore


@pytest.fixture
def config() -> Config:
    return replace(
        TASKS["last-value"].defaults, backend="torch", logger="tensorboard", epochs=2, batch_size=8,
        network=NetworkConfig(hidden_size=4), data=GeneratedData(40, 16, 16, 5, 3),
    )  # fmt: skip


def events_of(file: Path) -> Iterator[Any]:
    """The records of a file: length, its checksum, event, checksum."""
    content, at = file.read_bytes(), 0
    while at < len(content):
        (length,) = struct.unpack("<Q", content[at : at + 8])
        yield Event.FromString(content[at + 12 : at + 12 + length])
        at += 16 + length


def started(event: Any) -> bool:
    """Whether it says that all events so far, from its step on, are to be dropped."""
    return event.session_log.status == SessionLog.START


def scalars(file: Path) -> dict[str, dict[int, float]]:
    """Tag → step → value."""
    found: dict[str, dict[int, float]] = {}
    for event in events_of(file):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob(tensorboard.PATTERN))


def test_the_events_are_those_of_the_history(tmp_path: Path, config: Config) -> None:
    train(config, tmp_path / "run", quiet=True)
    (file,) = files(tmp_path / "run")
    found = scalars(file)
    assert found.keys() == {
        "train/loss", "train/accuracy", "train/learning_rate", "train/gradient_norm",
        "valid/loss", "valid/accuracy", "test/loss", "test/accuracy",
    }  # fmt: skip
    for split, curve in read_run(tmp_path / "run").curves.items():
        for name, values in (("loss", curve.loss), ("accuracy", curve.metric)):
            line = found[f"{split}/{name}"]
            assert [*line] == curve.step.tolist()
            np.testing.assert_allclose([*line.values()], values, rtol=1e-6)
    assert set(found["train/learning_rate"].values()) == {np.float32(1e-3)}
    assert all(norm > 0 for norm in found["train/gradient_norm"].values())
    assert b"--cell" not in file.read_bytes()
    assert b'"cell": "rnn"' in file.read_bytes()


def test_only_the_steps_of_the_history_are_written(tmp_path: Path, config: Config) -> None:
    train(replace(config, log_every=4), tmp_path / "run", quiet=True)
    (file,) = files(tmp_path / "run")
    assert [*scalars(file)["train/loss"]] == [4, 8]


def test_a_resumed_run_goes_on_in_a_file_of_its_own(tmp_path: Path, config: Config) -> None:
    train(config, tmp_path / "run", quiet=True)
    train(replace(config, epochs=3), tmp_path / "run", resume=True, quiet=True)
    first, second = (scalars(file)["train/loss"] for file in files(tmp_path / "run"))
    assert [*first, *second] == read_run(tmp_path / "run").curves["train"].step.tolist()
    # What an interrupted run wrote after its last checkpoint does not count.
    starts = [event.step for event in events_of(files(tmp_path / "run")[1]) if started(event)]
    assert starts == [11]


def test_without_it_there_are_none_and_overwriting_removes_them(
    tmp_path: Path, config: Config
) -> None:
    train(config, tmp_path / "run", quiet=True)
    train(replace(config, logger="jsonl"), tmp_path / "run", overwrite=True, quiet=True)
    assert files(tmp_path / "run") == []


def test_a_full_disk_ends_the_run(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and with the folder's name: no thread waits for another that has died."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tensorboardX.record_writer.RecordWriter.write", full)
    with pytest.raises(OSError, match="No space left") as stop:
        train(config, tmp_path / "run", quiet=True)
    assert stop.value.filename == str(tmp_path / "run")


def test_a_missing_package_is_named_before_anything_is_written(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setattr(tensorboard.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"pip install 'rnn-parity\[tensorboard\]'"):
        train(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
