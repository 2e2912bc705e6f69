"""A folder with a table for each sequence: what is read, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shared.errors import InvalidInput
from shared.tasks import load_task
from tests.support.sequence_cases import config


def test_a_folder_with_a_folder_for_each_class(tmp_path: Path) -> None:
    for i in range(40):
        file = tmp_path / "signals" / ("no" if i % 4 else "yes") / f"{i:02d}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"x": np.arange(3 + i % 5) + 0.5 * i, "y": [1.5] * (3 + i % 5)}).write_csv(
            file
        )
    (tmp_path / "signals" / ".DS_Store").write_bytes(b"\0")
    task = load_task(config(path=(str(tmp_path / "signals"),)))
    assert task.classes == ("no", "yes")
    assert [len(s.inputs) for s in (task.train, task.test)] == [28, 6]
    assert task.about["classes"] == "no 30, yes 10"
    assert task.source == str(tmp_path / "signals")


def test_a_folder_with_a_target_in_its_tables(tmp_path: Path) -> None:
    folder = tmp_path / "signals"
    folder.mkdir()
    for i in range(10):
        pl.DataFrame({"x": [1.0 * i, 2.0, 3.0], "goal": [0.5 * i] * 3}).write_parquet(
            folder / f"{i}.parquet"
        )
    task = load_task(config(path=(str(folder),), target=("goal",)))
    assert task.signature == (1, 1, False, False, "mse")
    assert task.train.lengths is None
    assert not task.by_length
    assert task.measured is not None
    (scale,) = task.measured.target_scales
    found = np.concatenate(
        [np.asarray(s.targets) for s in (task.train, task.valid, task.test) if s]
    )
    np.testing.assert_allclose(np.sort(found[:, 0] * scale.std + scale.mean), 0.5 * np.arange(10))


def folder(tmp_path: Path) -> Path:
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(5):
            (tmp_path / "data" / label / f"{i}.csv").write_text(f"x,y\n{i},1.5\n2,3\n")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("file", "content", "options", "said"),
    [
        ("a/0.csv", "", {}, r"a/0\.csv: expected a table, got an empty file$"),
        ("b/3.csv", "x,y\n", {}, r"b/3\.csv: expected a line of names and lines of values"),
        ("b/3.csv", "x,z\n1,2\n", {}, r"b/3\.csv: expected .*columns of .*a/0\.csv, got none of y"),
        ("b/3.csv", "x,y,z\n1,2,3\n", {}, r"b/3\.csv: expected the columns of .*got also z$"),
        ("b/3.csv", "x,y\none,2\n", {}, r"b/3\.csv, line 2: expected a number in column x"),
        ("b/notes.md", "x", {}, r"data: expected only tables \(.*\), got b/notes\.md$"),
        ("0.csv", "x,y\n1,2\n", {},
         r"data: expected a folder for each class, got tables in folders and beside them; "),
        ("a/0.csv", "x,y\n1,2\n", {"sequence": ("x",)},
         r"^--data\.sequence x: goes with a table of several sequences; each table in .* is one$"),
        ("a/0.csv", "x,y\n1,2\n", {"per_step": True},
         r"^--data\.per-step: expected the column of a target at each step"),
        ("a/0.csv", "x,y\n1,2\n", {"kind": "number"},
         r"^--data\.kind number: expected columns of numbers \(--data\.target\), got a class"),
        ("a/0.csv", "x,y\n1,2\n", {"features": ("z",)},
         r"a/0\.csv: expected a column 'z', got x, y"),
    ],
)  # fmt: skip
def test_a_folder_that_does_not_fit_is_refused(
    tmp_path: Path, file: str, content: str, options: dict[str, Any], said: str
) -> None:
    path = folder(tmp_path)
    (path / file).write_text(content)
    with pytest.raises(InvalidInput, match=said):
        load_task(config(path=(str(path),), **options))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r": expected a table for each sequence, got none$"):
        load_task(config(path=(str(tmp_path),)))
