"""A folder that takes the place of another: complete, or not there."""

import os
from pathlib import Path
from typing import Any

import pytest

from shared.system.folders import written_beside


def write(folder: Path, content: str) -> None:
    with written_beside(folder) as new:
        new.mkdir()
        (new / "file").write_text(content)


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    for content in ("old", "new"):
        write(tmp_path / "a", content)
        assert (tmp_path / "a" / "file").read_text() == content
        assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_write_that_fails_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "a", "old")
    with pytest.raises(UnicodeEncodeError):
        write(tmp_path / "a", "\ud800")
    assert (tmp_path / "a" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_cannot_be_put_in_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", "old")
    replace, calls = os.replace, []

    def fails(one: Any, other: Any) -> None:
        calls.append(one)
        if len(calls) == 2:  # the first moves the old one away
            raise OSError(28, "No space left on device")
        replace(one, other)

    monkeypatch.setattr("shared.system.folders.os.replace", fails)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "a", "new")
    assert len(calls) == 3
    assert (tmp_path / "a" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
