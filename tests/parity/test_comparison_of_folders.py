"""Traces in two folders are compared step by step; files that are missing or damaged are named."""

from pathlib import Path

import pytest

from shared.parity.comparison import compare_folders
from shared.parity.trace_files import write_trace
from shared.protocol.trace import Trace, split_steps
from tests.support.compared_traces import changed
from tests.support.traces import STEPS, refused


@pytest.fixture
def folders(trace: Trace, tmp_path: Path) -> tuple[Path, Path]:
    """The same trace in both."""
    sides = (tmp_path / "a", tmp_path / "b")
    for side in sides:
        side.mkdir()
        for number, step in enumerate(split_steps(trace), start=1):
            write_trace(side, number, step)
    return sides


def test_folders_with_the_same_numbers_are_equal(folders: tuple[Path, Path], trace: Trace) -> None:
    comparison = compare_folders(*folders)
    comparison.check()
    assert comparison.equal
    assert comparison.steps == [1, 2, 3]
    assert list(comparison.deviations) == list(trace)
    assert (comparison.first, comparison.second) == tuple(map(str, folders))


def test_a_difference_between_folders_is_named(folders: tuple[Path, Path], trace: Trace) -> None:
    name = "gradients/head.bias"
    other = changed(trace, name, (2, 1), 0.5)
    write_trace(folders[1], 3, split_steps(other)[2])
    comparison = compare_folders(*folders)
    found = comparison.difference
    assert found is not None
    assert (found.step, found.place, found.second) == (3, f"{name}[1]", 0.5)
    assert f"{folders[0]} {found.first!r}, {folders[1]} 0.5 (" in comparison.sentence
    assert not compare_folders(folders[0], folders[1], tolerance=0.1).equal
    write_trace(folders[1], 3, split_steps(changed(trace, name, (2, 1), found.first + 1e-3))[2])
    assert compare_folders(folders[0], folders[1], tolerance=0.5).equal


def test_a_step_that_one_folder_lacks_is_named(folders: tuple[Path, Path]) -> None:
    (folders[1] / "step-000002.safetensors").unlink()
    for sides in (folders, folders[::-1]):
        refused(
            lambda s=sides: compare_folders(s[0], s[1]),
            f"{folders[1]}: expected step 2, {folders[0] / 'step-000002.safetensors'} has it",
        )


def test_a_damaged_file_of_a_folder_is_named(folders: tuple[Path, Path]) -> None:
    file = folders[1] / "step-000002.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    refused(lambda: compare_folders(*folders), f"{file}: ")


def test_a_tensor_that_a_file_of_a_folder_lacks_is_named(
    folders: tuple[Path, Path], trace: Trace
) -> None:
    step = split_steps(trace)[STEPS - 1]
    del step["norm/norm"]
    write_trace(folders[0], STEPS, step)
    refused(lambda: compare_folders(*folders), "step 3: norm/norm: ", str(folders[0]))


def test_a_folder_that_is_missing_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for sides in ((folders[0], tmp_path / "c"), (tmp_path / "c", folders[0])):
        refused(lambda s=sides: compare_folders(*s), f"{tmp_path / 'c'}: expected a folder")
