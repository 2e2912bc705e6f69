"""A file is whole or not there, whatever fails."""

import os
from pathlib import Path

import pytest

from shared.system.files import write_atomically


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "config.json"
    write_atomically(file, b"old")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*config\.json'"):
        write_atomically(file, b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["config.json"]
    assert file.read_bytes() == b"old"
