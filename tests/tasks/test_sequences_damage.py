"""Tables and arrays of sequences are damaged: each makes a task of finite numbers or is refused."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.tasks import load_task
from tests.support.fuzz import EDITS, Edit, fuzz
from tests.support.sequence_cases import config, made

HEADER = ["id", "step", "x", "kind", "label", "goal", "fold"]
X = np.random.default_rng(5).standard_normal(200).round(3).tolist()
ROWS = [
    [f"s{i}", str(t), str(X[4 * i + t]), "ab"[t % 2], "uvw"[i % 3], f"{i / 3:.2f}",
     ("train", "train", "train", "valid", "test")[i % 5]]
    for i in range(30)
    for t in range(2 + i % 4)
]  # fmt: skip
CELLS = ["", " ", "nan", "inf", "-inf", "1e400", "x", "1_0", "0x1", "1,2", '"', "é", "\0", "None",
         "1e308", "-1e308", "true", "2024-01-01", "9" * 30, "test"]  # fmt: skip
OPTIONS: list[dict[str, Any]] = [
    {"target": ("label",), "step": "step"},
    {"target": ("goal",)},
    {"target": ("label",), "per_step": True, "class_weights": "balanced"},
    {"target": ("label",), "part": "fold", "missing": "previous"},
    {"target": ("goal", "x"), "features": ("kind",), "per_step": True, "step": "step"},
    {"target": ("label",), "group": "fold", "features": ("x", "kind")},
]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["cell", "cell", "column", "drop", "repeat", "cut"]),
        st.integers(0, len(ROWS)),
        st.integers(0, len(HEADER) - 1),
        st.sampled_from(CELLS),
    ),
    min_size=1,
    max_size=3,
)


def changed(changes: list[tuple[str, int, int, str]]) -> str:
    """Returns the table with other cells, or with rows that are missing, repeated or cut off."""
    table = [list(row) for row in [HEADER, *ROWS]]
    for kind, at, column, cell in changes:
        row = min(at, len(table) - 1)
        if kind == "cell":
            table[row][column] = cell
        elif kind == "column":
            table[1:] = [[*one[:column], cell, *one[column + 1 :]] for one in table[1:]]
        elif kind == "drop" and len(table) > 2:
            del table[row]
        elif kind == "repeat":
            table.append(list(table[row]))
        elif kind == "cut":
            del table[max(row, 2) :]
    return "".join(",".join(row) + "\n" for row in table)


def finite_or_refused(file: Path, options: dict[str, Any]) -> None:
    task, said = None, ""
    try:
        task = load_task(config(path=(str(file),), **options))
    except InvalidInput as error:
        said = str(error)
    if task is None:
        assert len(said.splitlines()) == 1
        return
    for part in (task.train, task.valid, task.test):
        assert part is not None
        assert np.isfinite(np.asarray(part.inputs)).all()
        assert np.isfinite(np.asarray(part.targets)).all()
    for baseline in task.baselines():
        assert np.isfinite([*baseline.scores.values()]).all(), baseline


@fuzz(120)
@given(changes=CHANGES, options=st.sampled_from(OPTIONS))
def test_damaged_cells_and_rows(
    tmp_path: Path, changes: list[tuple[str, int, int, str]], options: dict[str, Any]
) -> None:
    (tmp_path / "a.csv").write_text(changed(changes), encoding="utf-8")
    finite_or_refused(tmp_path / "a.csv", {"sequence": ("id",)} | options)


@fuzz(100)
@given(edits=EDITS, options=st.sampled_from(OPTIONS))
def test_damaged_bytes_of_a_table(
    tmp_path: Path, edits: list[Edit], options: dict[str, Any]
) -> None:
    content = changed([]).encode()
    for edit in edits:
        content = edit.apply(content)
    (tmp_path / "a.csv").write_bytes(content)
    finite_or_refused(tmp_path / "a.csv", {"sequence": ("id",)} | options)


@fuzz(80)
@given(edits=EDITS)
def test_damaged_bytes_of_arrays(tmp_path: Path, edits: list[Edit]) -> None:
    whole = io.BytesIO()
    np.savez(whole, **made())
    content = whole.getvalue()
    for edit in edits:
        content = edit.apply(content)
    (tmp_path / "a.npz").write_bytes(content)
    finite_or_refused(tmp_path / "a.npz", {})
