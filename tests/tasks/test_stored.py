"""Generated data in a folder: the same as in memory, of which it needs none; written once."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.config import Config
from shared.config.data import GeneratedData
from shared.errors import InvalidInput
from shared.tasks import TASKS, generated, load_task
from shared.tasks.task import Task
from tests.support.command_line import SMALL, check_refused, script

DATA = GeneratedData(40, 8, 9, sequence_length=5, input_size=3)


def config(task: str, folder: Path | None, data: GeneratedData = DATA, seed: int = 3) -> Config:
    place = None if folder is None else str(folder)
    return replace(TASKS[task].defaults, data=replace(data, folder=place), seed=seed)


def arrays(task: Task) -> list[np.ndarray]:
    parts = (task.train, task.valid, task.test)
    return [np.asarray(array) for part in parts for array in part or () if array is not None]


@pytest.mark.parametrize("name", ["random-labels", "last-value"])
@pytest.mark.parametrize("min_length", [None, 2])
@pytest.mark.parametrize("piece", [1, 7 * 60, 2**24])
def test_files_hold_what_memory_would(
    name: str, min_length: int | None, piece: int, tmp_path: Path, monkeypatch
) -> None:
    data = replace(DATA, min_length=min_length)
    monkeypatch.setattr(generated, "PIECE", piece)
    in_memory = load_task(config(name, None, data))
    first = load_task(config(name, tmp_path / "data", data))
    again = load_task(config(name, tmp_path / "data", data))
    for task in (first, again):
        assert len(arrays(task)) == len(arrays(in_memory)) == (6 if min_length is None else 9)
        for array, expected in zip(arrays(task), arrays(in_memory), strict=True):
            np.testing.assert_array_equal(array, expected)
            assert array.dtype == expected.dtype
        assert task.fingerprint == in_memory.fingerprint
        assert task.baselines() == in_memory.baselines()
        assert isinstance(task.train.inputs, np.memmap)
        assert not task.train.inputs.flags.writeable


def test_data_are_generated_once(tmp_path: Path) -> None:
    load_task(config("last-value", tmp_path))
    before = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert "data.json" in before
    load_task(config("last-value", tmp_path))
    assert {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before


def test_data_drawn_in_other_pieces_are_other_data(tmp_path: Path, monkeypatch) -> None:
    load_task(config("last-value", tmp_path))
    monkeypatch.setattr(generated, "PIECE", 1)
    with pytest.raises(InvalidInput, match="other data: piece 16777216 instead of 1"):
        load_task(config("last-value", tmp_path))


def test_what_a_killed_run_left_is_generated_again(tmp_path: Path) -> None:
    load_task(config("last-value", tmp_path))
    (tmp_path / "data.json").unlink()
    for file in list(tmp_path.iterdir()):
        file.rename(file.with_name(file.name + ".part"))
        file.with_name(file.name + ".part").write_bytes(b"half")
    task = load_task(config("last-value", tmp_path))
    assert task.fingerprint == load_task(config("last-value", None)).fingerprint
    assert not list(tmp_path.glob("*.part"))


def test_a_folder_of_other_data_is_refused_and_kept(tmp_path: Path) -> None:
    load_task(config("last-value", tmp_path))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for other, expected in (
        (config("last-value", tmp_path, seed=4), "seed 3 instead of 4"),
        (config("random-labels", tmp_path), "task last-value instead of random-labels"),
        (config("last-value", tmp_path, replace(DATA, min_length=2)), "min_length None instead of"),
    ):
        with pytest.raises(InvalidInput, match=f"this one holds other data: .*{expected}"):
            load_task(other)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["thesis.tex", "train-inputs.npy", "mine.part"])
def test_a_folder_with_other_files_is_refused_and_kept(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(InvalidInput, match=r"^--data\.folder .*: expected a new or empty folder"):
        load_task(config("last-value", tmp_path))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "precious")]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    load_task(config("last-value", tmp_path))
    file = tmp_path / "train-inputs.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InvalidInput, match=r"train-inputs\.npy: expected an array of .*, got: "):
        load_task(config("last-value", tmp_path))


CHANGES = {
    "rows": ("train-inputs", lambda x: x[:20], "float32 (40, 5, 3), got one of float32 (20, 5, 3)"),
    "steps": ("valid-inputs", lambda x: x[:, :4], "(8, 5, 3), got one of float32 (8, 4, 3)"),
    "dtype": ("test-inputs", lambda x: x.astype(np.float64), "got one of float64 (9, 5, 3)"),
    "byte-order": ("test-inputs", lambda x: x.astype(">f4"), "got one of >f4 (9, 5, 3)"),
    "no-axis": ("train-targets", lambda x: x[0], "of int32 (40,), got one of int32 ()"),
    "labels": ("train-targets", lambda x: x + 5, "numbers from 0 to 1 as train-targets, got 5 to"),
    "lengths": ("test-lengths", lambda x: 0 * x, "numbers from 2 to 5 as test-lengths, got 0 to 0"),
}


@pytest.mark.parametrize("how", CHANGES)
def test_another_array_in_a_file_is_refused(how: str, tmp_path: Path) -> None:
    data = replace(DATA, min_length=2)
    load_task(config("last-value", tmp_path, data))
    name, change, expected = CHANGES[how]
    file = tmp_path / f"{name}.npy"
    np.save(file, change(np.load(file)))
    with pytest.raises(InvalidInput, match=re.escape(expected)):
        load_task(config("last-value", tmp_path, data))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4 a zip file"])
def test_a_file_that_is_no_array_is_refused(content: bytes, tmp_path: Path) -> None:
    load_task(config("last-value", tmp_path))
    (tmp_path / "train-inputs.npy").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"train-inputs\.npy: expected an array of float32"):
        load_task(config("last-value", tmp_path))


def test_a_process_waits_for_one_that_generates_the_same_data(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.tasks.test_stored import config
from shared.config.data import GeneratedData
from shared.tasks.registry import load_task
print(load_task(config("last-value", Path("data"), GeneratedData(300_000, 8, 9, 5, 3))).fingerprint)
"""
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    (first, one), (second, two) = (process.communicate(timeout=120) for process in both)
    assert [process.returncode for process in both] == [0, 0], one + two
    assert first == second
    assert not list((tmp_path / "data").glob("*.part"))


@pytest.mark.parametrize("finished", [1, 3, 6])
def test_a_run_killed_while_it_finished_is_no_obstacle(finished: int, tmp_path: Path) -> None:
    expected = load_task(config("last-value", tmp_path)).fingerprint
    (tmp_path / "data.json").unlink()
    for file in sorted(tmp_path.iterdir())[finished:]:
        file.rename(file.with_name(file.name + ".part"))
    assert load_task(config("last-value", tmp_path)).fingerprint == expected
    assert not list(tmp_path.glob("*.part"))


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    huge = replace(DATA, train_examples=2**31 - 1, sequence_length=2**20)
    with pytest.raises(InvalidInput, match=r"the data needs .* GB; its disk has"):
        load_task(config("last-value", tmp_path, huge))
    with pytest.raises(InvalidInput, match=r"the data needs .* GB; its disk has"):
        load_task(config("last-value", tmp_path / "new" / "folder", huge))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_run_from_files_is_the_run_in_memory(backend: str, tmp_path: Path) -> None:
    options = ["--backend", backend, "--task", "last-value", *SMALL]
    for out, more in (("memory", []), ("files", ["--data.folder", "data"])):
        ran = script("run.py", *options, *more, "--out", out, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
    memory, files = ((tmp_path / out / "metrics.jsonl").read_bytes() for out in ("memory", "files"))
    assert memory == files
    ran = script("compare.py", "memory", "files", "--out", "report", cwd=tmp_path)
    assert "identical, the same loss at every step" in ran.stdout
    assert "differ in" not in (tmp_path / "report" / "report.md").read_text()
    other = script("run.py", *options, "--data.folder", "data", "--seed", "9", cwd=tmp_path)
    check_refused(other, "--data.folder data", "seed 0 instead of 9")


# Generates, hashes and batches a data set of so many sequences; prints the most memory of its own
# that the process had, in kB: RssAnon, which unlike resident memory leaves out the pages of files.
PEAK = """
import sys, threading
from dataclasses import replace
from shared.tasks.batches import training_batches
from shared.config.data import GeneratedData
from shared.tasks.registry import TASKS, load_task

def own():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

peak, done = [0], threading.Event()
def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], own())
threading.Thread(target=watch, daemon=True).start()
examples, folder = int(sys.argv[1]), sys.argv[2] or None
data = GeneratedData(examples, 10, 10, 100, 10, folder=folder)
config = replace(TASKS["last-value"].defaults, data=data)
task = load_task(config)
task.fingerprint
batches = training_batches(config, task)
for start in range(0, batches.per_epoch, 20):
    batches.take(start, 20)
peak[0] = max(peak[0], own())
done.set()
print(peak[0])
"""


def peak(examples: int, folder: Path | None) -> int:
    command = [sys.executable, "-c", PEAK, str(examples), str(folder or "")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return 1024 * int(finished.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    """20 and 80 MB."""
    few, many = 5_000, 20_000
    grown = peak(many, tmp_path / "many") - peak(few, tmp_path / "few")
    assert grown < 10e6
    assert peak(many, None) - peak(few, None) > 50e6
