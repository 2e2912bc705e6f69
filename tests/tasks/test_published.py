"""Published data sets: no other bytes than those that were published."""

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.tasks import published
from tests.support.command_line import check_refused

TASK = {"digits": "rows", "sunspots": "sunspots", "volume": "volume"}
TASK |= {"vowels": "vowels", "weather": "weather"}


@pytest.fixture
def copied(tmp_path: Path, monkeypatch) -> Path:
    """A folder of data sets that a test may damage."""
    folder = tmp_path / "data"
    shutil.copytree(published.FOLDER, folder)
    monkeypatch.setattr("shared.tasks.published.FOLDER", folder)
    return folder


def test_every_data_set_has_its_hash_its_source_and_its_file() -> None:
    files = {file.stem for file in published.FOLDER.glob("*.npz")}
    assert files == set(published.SHA256) == set(published.SOURCES) == set(TASK)
    for name, digest in published.SHA256.items():
        content = (published.FOLDER / f"{name}.npz").read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, name
    told = (published.FOLDER / "SOURCES.md").read_text(encoding="utf-8")
    assert all(f"| `{name}.npz` |" in told for name in files)


@pytest.mark.parametrize("name", published.SHA256)
def test_every_array_holds_finite_numbers_of_one_length(name: str) -> None:
    arrays = published.load(name)
    for key, array in arrays.items():
        assert np.isfinite(array).all(), key
    if name != "vowels":
        assert len({len(array) for array in arrays.values()}) == 1


@pytest.mark.parametrize("place", [0, 1000, -1])
@pytest.mark.parametrize("name", published.SHA256)
def test_a_flipped_byte_is_noticed(name: str, place: int, copied: Path) -> None:
    file = copied / f"{name}.npz"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    message = f"{file}: expected SHA-256 {published.SHA256[name]}, got {found}"
    with pytest.raises(InvalidInput, match=f"^{re.escape(message)}$"):
        published.load(name)
    for other in set(published.SHA256) - {name}:
        assert published.load(other)


@pytest.mark.parametrize("name", published.SHA256)
def test_a_missing_or_truncated_file_is_refused_in_one_line(name: str, copied: Path, call) -> None:
    file = copied / f"{name}.npz"
    file.write_bytes(file.read_bytes()[:-1])
    run = ("run.py", "--backend", "torch", "--task", TASK[name], "--out", "run")
    check_refused(call(*run), str(file), "expected SHA-256")
    file.unlink()
    check_refused(call(*run), f"{file}: expected a data set, got: No such file or directory")
    assert not (copied.parent / "run").exists()
