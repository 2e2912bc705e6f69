"""Data of a run in several processes: read once on a host, in memory once, equal everywhere."""

import gc
import re
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from shared.config import Config
from shared.config.data import GeneratedData
from shared.errors import InvalidInput
from shared.system import mapped_values
from shared.system.team import ALONE, Team
from shared.tasks import TASKS, load_task, together
from shared.tasks.batches import training_batches
from shared.tasks.registry import WITH_DATA
from shared.tasks.task import Task
from shared.tasks.together import load_together
from tests.support.own_data import MADE
from tests.support.teams import in_threads, refused

DATA = GeneratedData(600, 400, 500, sequence_length=6, input_size=3)
SHORT: dict[str, dict[str, Any]] = {
    "random-labels": {"train_examples": 2000},
    "last-value": {"train_examples": 2000, "min_length": 3},
    "adding": {"train_examples": 500, "test_examples": 200},
    "copy": {"train_examples": 500, "test_examples": 200},
    "parity": {"train_examples": 500, "test_examples": 200},
    "motion": {"train_examples": 100},
    "translate": {"largest": 300},
}
"""Options that make a task's data small."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of the file that is mapped; after each test it is empty."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(together, "MEMORY", folder)
    yield folder
    assert not [*folder.iterdir()]


def small(name: str, folder: Path) -> Config:
    defaults = TASKS[name].defaults
    data = MADE[name](folder) if name in MADE else replace(defaults.data, **SHORT.get(name, {}))
    return replace(defaults, data=data)


def generated(folder: Path | None = None) -> Config:
    data = replace(DATA, folder=None if folder is None else str(folder))
    return replace(TASKS["last-value"].defaults, data=data)


def counted(config: Config, calls: list[int]) -> Callable[[Team], Task]:
    """A process's part of loading; it notes which ranks load."""

    def call(team: Team) -> Task:
        def load() -> Task:
            calls.append(team.rank)
            return load_task(config)

        return load_together(load, team)

    return call


@pytest.mark.parametrize("name", [*WITH_DATA, *MADE])
@pytest.mark.parametrize("least", [0, mapped_values.SMALL])
def test_every_process_has_the_same_task(
    name: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_values, "SMALL", least)
    config, calls = small(name, tmp_path), []
    alone = load_task(config)
    tasks = in_threads(2, counted(config, calls))
    assert calls == [0]
    whole = training_batches(config, alone).take(0, 2 if not alone.by_length else 1)
    for task in tasks:
        assert vars(task)["fingerprint"] == alone.fingerprint
        assert replace(task).fingerprint == alone.fingerprint  # of the arrays themselves
        own = training_batches(config, task).take(0, len(whole.reset))
        for array, expected in zip(own, whole, strict=True):
            np.testing.assert_array_equal(array, expected)
        for field in (
            "signature",
            "vocabulary",
            "classes",
            "series",
            "measured",
            "about",
            "source",
        ):
            assert getattr(task, field) == getattr(alone, field)
        for field in ("times", "group", "distance", "scaling"):
            np.testing.assert_equal(getattr(task, field), getattr(alone, field))
    assert tasks[0].baselines() == alone.baselines()
    assert tasks[1].baselines() == ()


def test_a_process_alone_loads_as_ever() -> None:
    made = load_task(generated())
    assert load_together(lambda: made, ALONE) is made


@pytest.mark.parametrize(("hosts", "expected"), [(1, [0]), (2, [0, 2]), (4, [0, 1, 2, 3])])
def test_one_process_of_each_host_loads(hosts: int, expected: list[int]) -> None:
    calls: list[int] = []
    tasks = in_threads(4, counted(generated(), calls), hosts)
    assert sorted(calls) == expected
    assert len({task.fingerprint for task in tasks}) == 1
    assert [len(task.baselines()) for task in tasks] == [1, 0, 0, 0]


def test_the_arrays_are_those_of_the_mapped_file() -> None:
    for task in in_threads(2, counted(generated(), [])):
        for array in (task.train.inputs, task.test.inputs):
            assert type(array.base).__name__ == "mmap"
            assert not array.flags.writeable


def test_the_process_that_loaded_keeps_no_second_copy() -> None:
    originals: list[weakref.ref[np.ndarray]] = []

    def load() -> Task:
        task = load_task(generated())
        for part in (task.train, task.test):
            assert isinstance(part.inputs, np.ndarray)
            originals.append(weakref.ref(part.inputs))
        return task

    tasks = in_threads(2, lambda team: load_together(load, team))
    gc.collect()
    assert [found() for found in originals] == [None, None]
    assert tasks[0].baselines() == load_task(generated()).baselines()


def test_the_table_of_a_forecast_is_in_the_file_once(tmp_path: Path) -> None:
    task = in_threads(2, counted(small("volume", tmp_path), []))[1]
    assert task.train.inputs.rows is task.test.inputs.rows
    assert np.shares_memory(task.train.inputs.rows, task.train.targets.rows)


def test_a_folder_of_data_is_mapped_and_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = mapped_values.Packed.write

    def noted(own: mapped_values.Packed, file: BinaryIO) -> int:
        written.append(own.size)
        return write(own, file)

    monkeypatch.setattr(mapped_values.Packed, "write", noted)
    folder = tmp_path / "data"
    for task in in_threads(2, counted(generated(folder), [])):
        assert isinstance(task.train.inputs, np.memmap)
        assert task.train.inputs.filename == folder / "train-inputs.npy"
    assert len(written) == 1
    assert written[0] < (folder / "train-inputs.npy").stat().st_size / 2


@pytest.mark.parametrize("rank", [0, 2])
def test_what_stops_one_process_from_loading_stops_all(rank: int) -> None:
    def call(team: Team) -> None:
        def load() -> Task:
            if team.rank == rank:
                raise InvalidInput("sales.csv: expected rows, got none")
            return load_task(generated())

        load_together(load, team)

    for error in refused(4, call, hosts=2):
        assert isinstance(error, InvalidInput)
        assert re.fullmatch(
            rf"(process {rank} of 4: )?sales.csv: expected rows, got none", str(error)
        )


def test_a_file_that_cannot_be_mapped_stops_all(monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = together.mapped

    def failing(path: Path, start: int, count: int) -> list[Any]:
        if count == 1:  # not rank 0
            raise OSError(12, "Cannot allocate memory", str(path))
        return mapped(path, start, count)

    monkeypatch.setattr(together, "mapped", failing)
    for error in refused(2, counted(generated(), [])):
        assert isinstance(error, OSError)
        assert re.search(r"Cannot allocate memory: '.*/rnn-parity-.*/data'", str(error))


class Stopped(BaseException):
    """What a signal raises."""


@pytest.mark.parametrize("rank", [0, 1])
def test_nothing_is_left_of_a_process_that_stops_in_between(
    rank: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(path: Path, start: int, count: int) -> list[Any]:
        assert path.is_relative_to(place)
        if (count == 2) == (rank == 0):
            raise Stopped
        return []

    monkeypatch.setattr(together, "mapped", stopping)
    with pytest.raises(Stopped):
        in_threads(2, counted(generated(), []))


PROGRAM = """
import signal, sys, time
from pathlib import Path
from shared.system.signals import raise_interrupted
from shared.system.team import Team
from shared.tasks import TASKS, load_task, together

def exchange(own):
    if any(together.MEMORY.iterdir()):
        print("written", flush=True)
        time.sleep(60)
    return [own, own]

signal.signal(signal.SIGTERM, raise_interrupted)
together.MEMORY = Path(sys.argv[1])
together.load_together(lambda: load_task(TASKS["rows"].defaults), Team(count=2, exchange=exchange))
"""


def test_nothing_is_left_of_a_process_that_a_signal_ends(place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(place)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        assert [*place.iterdir()]
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert "Interrupted" in err


def test_a_host_without_room_is_refused_before_anything_is_written(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "_room", lambda folder: 5 * 10**8)
    monkeypatch.setattr(mapped_values.Packed, "size", 3 * 10**9)
    for error in refused(2, counted(generated(), [])):
        assert isinstance(error, InvalidInput)
        assert re.search(
            rf"share 3\.0 GB of data: expected as much room, got in {place} 0\.5 GB and "
            rf"{tempfile.gettempdir()} 0\.5 GB; TMPDIR names another folder",
            str(error),
        )


def test_without_a_folder_in_memory_the_temporary_one_is_used(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "temporary"
    other.mkdir()
    used: list[Path] = []
    mapped = together.mapped

    def noted(path: Path, start: int, count: int) -> list[Any]:
        used.append(path)
        return mapped(path, start, count)

    monkeypatch.setattr(together, "MEMORY", tmp_path / "nowhere")
    monkeypatch.setattr(together, "mapped", noted)
    monkeypatch.setattr(tempfile, "tempdir", str(other))
    in_threads(2, counted(generated(), []))
    assert {path.parents[1] for path in used} == {other}
    assert not [*other.iterdir()]
