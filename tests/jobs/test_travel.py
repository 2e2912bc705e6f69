"""Places of a user's files on a node, and what of them comes back."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.config.data import SequencesData, TextData
from shared.errors import InvalidInput
from shared.jobs.arrivals import read_kept, write_arrived
from shared.jobs.travel import as_the_users, data_files, placed, read_data, write_data
from shared.runs import checkpoint, run_folder
from shared.system import lock
from shared.tasks import TASKS

ROOT = "/tmp/rnn-parity-x1y2/root"


def text(path: str | None) -> Config:
    return resolve(replace(TASKS["text"].defaults, backend="torch", data=TextData(path=path)))


def test_a_relative_path_stays_and_an_absolute_one_lies_below_the_root() -> None:
    assert placed(text("../book.txt"), ROOT) == text("../book.txt")
    assert placed(text("/home/ada/book.txt"), ROOT) == text(f"{ROOT}/home/ada/book.txt")
    assert placed(text(None), ROOT) == text(None)
    several = replace(text(None), data=SequencesData(path=("a.csv", "/b.csv")))
    assert placed(several, ROOT).data == SequencesData(path=("a.csv", f"{ROOT}/b.csv"))
    stored = TASKS["last-value"].defaults
    stored = replace(stored, data=replace(stored.data, folder="/data/large"))
    assert placed(stored, ROOT).data == replace(stored.data, folder=f"{ROOT}/data/large")


def test_all_files_of_a_folder_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "films" / "jump").mkdir(parents=True)
    (tmp_path / "films" / "jump" / "1.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "films" / "empty.csv").touch()
    monkeypatch.chdir(tmp_path / "work")
    files = data_files(text("../films"))
    assert files == tuple(str(tmp_path / "films" / n) for n in ("empty.csv", "jump/1.csv"))
    root = str(tmp_path / "root")
    write_data(read_data(files), root)
    directory = Path(root + os.getcwd())
    directory.mkdir(parents=True)
    assert (directory / "../films/jump/1.csv").read_bytes() == b"a,b\n1,2\n"
    assert (directory / "../films/empty.csv").read_bytes() == b""


def test_data_that_is_not_there_is_named() -> None:
    with pytest.raises(
        InvalidInput, match=r"^--data\.path no/book\.txt: expected a file or a folder, got none$"
    ):
        data_files(text("no/book.txt"))


def test_a_path_comes_back_as_the_user_named_it_with_a_right_checksum(tmp_path: Path) -> None:
    run_folder.save_config(tmp_path, text(f"{ROOT}/home/ada/book.txt"))
    file = tmp_path / run_folder.CONFIG
    file.write_bytes(as_the_users(file.name, file.read_bytes(), ROOT))
    assert run_folder.read_config(file) == text("/home/ada/book.txt")
    run_folder.save_config(tmp_path / "..", text("/home/ada/book.txt"))
    assert file.read_bytes() == (tmp_path / ".." / run_folder.CONFIG).read_bytes()
    card = as_the_users("card.md", f"read from `{ROOT}/b.txt`".encode(), ROOT)
    assert card == b"read from `/b.txt`"
    plain = json.dumps({"a": 1.0}).encode()
    assert as_the_users("schema.json", plain, ROOT) is plain
    assert as_the_users("predictions.npz", ROOT.encode(), ROOT) == ROOT.encode()


def arrive(folder: Path, files: dict[str, bytes], names: set[str], first: bool = False) -> None:
    folder.mkdir(exist_ok=True)
    with lock.held(folder, "--out") as own:
        write_arrived(own, files, names, first)


def config_bytes(folder: Path) -> bytes:
    folder.mkdir(exist_ok=True)
    run_folder.save_config(folder, text(None))
    return (folder / run_folder.CONFIG).read_bytes()


def test_a_new_checkpoint_replaces_the_one_that_the_run_removed(tmp_path: Path) -> None:
    config, folder = config_bytes(tmp_path / "other"), tmp_path / "run"
    old, new = (checkpoint.path(folder, step).name for step in (5, 10))
    arrive(folder, {"config.json": config, old: b"5"}, {"config.json", old}, True)
    assert read_kept(folder) == {"config.json": config, old: b"5"}
    arrive(folder, {new: b"10", "metrics.jsonl": b"{}\n"}, {"config.json", new, "metrics.jsonl"})
    assert read_kept(folder) == {"config.json": config, new: b"10", "metrics.jsonl": b"{}\n"}
    arrive(folder, {}, set())  # a run that has written nothing yet removes nothing
    assert new in read_kept(folder)


def test_the_folder_is_a_valid_run_after_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history is there before the checkpoint that has its checksum, the summary after all."""
    written: list[str] = []
    monkeypatch.setattr(
        "shared.jobs.arrivals.write_atomically", lambda path, _: written.append(path.name)
    )
    point = checkpoint.path(tmp_path, 5).name
    names = ["curves.png", "summary.json", point, "metrics.jsonl", "config.json", "card.md"]
    arrive(tmp_path, dict.fromkeys(names, b""), {*names})
    assert written[:2] == ["config.json", "metrics.jsonl"]
    assert {*written[2:4]} == {point, "card.md"}
    assert written[4:] == ["summary.json", "curves.png"]


def test_the_run_that_a_new_one_replaces_is_gone(tmp_path: Path) -> None:
    config, folder = config_bytes(tmp_path / "other"), tmp_path / "run"
    config_bytes(folder)
    for name in ("summary.json", "checkpoint-7.safetensors", "metrics.jsonl"):
        (folder / name).touch()
    arrive(folder, {"config.json": config}, {"config.json"}, True)
    assert read_kept(folder) == {"config.json": config}


@pytest.mark.parametrize("name", ["../x", "/etc/x", "run.lock", ".."])
def test_a_name_that_is_no_file_of_a_run_is_refused(name: str, tmp_path: Path) -> None:
    config, folder = config_bytes(tmp_path / "other"), tmp_path / "run"
    with pytest.raises(InvalidInput, match=r"run: expected names of files from the node, got '"):
        arrive(folder, {"config.json": config, name: b""}, {"config.json", name}, True)
    assert not read_kept(folder)


def test_data_stays_as_it_is() -> None:
    content = read_data((__file__,))[__file__]
    assert content.dtype == np.uint8
    assert content.tobytes() == Path(__file__).read_bytes()
