"""Files that are missing, damaged or of another kind are refused in one line that names them."""

import re
from pathlib import Path

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.inference.tables import read_sequences
from shared.runs import predictions
from tests.support.table_files import INPUTS, npz, refused


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("none.csv", "none.npz", "none.npy"):
        file = tmp_path / name
        message = "expected a readable file, got: No such file or directory"
        refused(file, lambda file=file: read_sequences(file, 2), message)
    for suffix in (".csv", ".npz"):
        folder = tmp_path / f"folder{suffix}"
        folder.mkdir()
        message = "expected a readable file, got: Is a directory"
        refused(folder, lambda folder=folder: read_sequences(folder, 2), message)


def test_one_kind_of_file_under_the_name_of_the_other_is_refused(tmp_path: Path) -> None:
    several = tmp_path / "several.npy"
    several.write_bytes(npz(tmp_path, inputs=INPUTS).read_bytes())
    message = "expected an NPY file, got several arrays"
    refused(several, lambda: read_sequences(several, 4), message)
    np.save(tmp_path / "one.npy", INPUTS)
    one = (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    message = "expected an NPZ file, got a single array"
    refused(one, lambda: read_sequences(one, 4), message)


@pytest.mark.parametrize("content", [b"", b"no arrays at all", b"\x93NUMPY\x01\x00", b"PK\x03\x04"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_what_is_no_array_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / f"inputs{suffix}"
    file.write_bytes(content)
    refused(
        file,
        lambda: read_sequences(file, 4),
        "expected NumPy arrays of numbers, got a damaged file .*",
    )


def test_pickled_objects_are_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "run",))

    file = tmp_path / "inputs.npy"
    np.save(file, np.array([Trap()], object), allow_pickle=True)
    message = "expected NumPy arrays of numbers, got a damaged file or none of NumPy's"
    refused(file, lambda: read_sequences(file, 4), message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_or_flipped_npz_is_refused_or_read_as_it_was(
    compressed: bool, tmp_path: Path
) -> None:
    """Byte by byte: whatever of the archive is damaged, no other error than ours comes out."""
    file = tmp_path / "inputs.npz"
    (np.savez_compressed if compressed else np.savez)(file, inputs=INPUTS)
    content, refusals = file.read_bytes(), 0
    for size in range(0, len(content), 7):
        file.write_bytes(content[:size])
        with pytest.raises(InvalidInput, match=re.escape(str(file))):
            read_sequences(file, 4)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        try:
            inputs, *_ = read_sequences(file, 4)
        except InvalidInput as error:
            refusals += str(error).startswith(f"{file}: expected")
        else:  # such as the date of the file in the archive
            np.testing.assert_array_equal(inputs, INPUTS)
    assert refusals > len(content) / 2


def test_damaged_predictions_of_a_run_are_refused(tmp_path: Path) -> None:
    assert predictions.read(tmp_path, None) == {}
    digest = predictions.save(tmp_path, {"predicted": INPUTS, "targets": INPUTS})
    found = predictions.read(tmp_path, digest)
    np.testing.assert_array_equal(found["predicted"], INPUTS)
    file = tmp_path / predictions.FILE
    content = file.read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        refused(file, lambda: predictions.read(tmp_path, digest), "expected predictions with .*")
    file.unlink()
    refused(file, lambda: predictions.read(tmp_path, digest), "expected predictions, got: .*")
