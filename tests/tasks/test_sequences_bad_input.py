"""Sequences that cannot be learnt from are refused in one line, by file, column and row."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.tasks import load_task, sequences
from tests.support.sequence_cases import config

COUNT, STEPS = 12, 3


def lines() -> list[list[str]]:
    """Returns 12 sequences of 3 steps: step t of sequence i is line 3i + t + 2 of the file."""
    body = [
        [f"s{i}", str(t), f"{0.5 * i + t:.2f}", "red" if t else "blue", "ab"[i % 2], f"{i / 4:.2f}",
         ("train", "train", "train", "valid", "test", "test")[i // 2]]
        for i in range(COUNT)
        for t in range(STEPS)
    ]  # fmt: skip
    return [["id", "step", "x", "colour", "label", "goal", "fold"], *body]


OPTIONS: dict[str, Any] = {"sequence": ("id",), "target": ("label",), "features": ("x",)}


def refused(tmp_path: Path, table: list[list[str]], said: str, **options: Any) -> None:
    """Expects a message that says `said` of a.csv."""
    file = tmp_path / "a.csv"
    file.write_text("".join(",".join(row) + "\n" for row in table), encoding="utf-8")
    with pytest.raises(InvalidInput, match=f"^{re.escape(said.replace('a.csv', str(file)))}$"):
        load_task(config(path=(str(file),), **OPTIONS | options))


def changed(column: str, values: dict[int, str]) -> list[list[str]]:
    """Returns the lines with other values in some of them, by their number in the file."""
    table = lines()
    for line, value in values.items():
        table[line - 1][table[0].index(column)] = value
    return table


IN_ORDER = (
    "a.csv, line 35: expected the rows of a sequence one after the other, got sequence 's0' again "
    "after 's10'; --data.step COLUMN orders the rows"
)


@pytest.mark.parametrize(
    ("column", "values", "options", "said"),
    [
        ("x", {18: "n/a"}, {},
         "a.csv, line 18: expected a number in column x, got 'n/a'; --data.categories x reads "
         "names"),
        ("x", {18: ""}, {},
         "a.csv, line 18: expected a number in column x, got none; --data.missing previous reads "
         "the one before"),
        ("x", {18: "inf"}, {}, "a.csv, line 18: expected a finite number in column x, got inf"),
        ("x", dict.fromkeys(range(2, 38), "1e308"), {"part": "fold"}, None),
        ("x", {3: "-1e308", 4: "1.7e308"}, {"part": "fold"},
         "a.csv: expected numbers in column x whose mean and deviation can be computed, got some "
         "from -1e+308 to 1.7e+308"),
        ("goal", {18: "n/a"}, {"target": ("goal",)},
         "a.csv, line 18: expected a number in column goal, got 'n/a'; --data.kind class reads "
         "names"),
        ("label", {18: ""}, {}, "a.csv, line 18: expected a value in column label, got none"),
        ("label", {15: "b"}, {},
         "a.csv, line 15: expected one value of column label for each sequence, got 'b' after 'a' "
         "(a.csv, line 14); --data.per-step predicts a target at each step"),
        ("goal", {19: "7.5"}, {"target": ("goal",)},
         "a.csv, line 19: expected one value of column goal for each sequence, got 7.5 after 1.25 "
         "(a.csv, line 17); --data.per-step predicts a target at each step"),
        ("label", {8: "c", 9: "c", 10: "c"}, {},
         "a.csv, line 8: expected two or more sequences of each class, got one of 'c'; a class "
         "that occurs once cannot be both learned and tested"),
        ("label", dict.fromkeys(range(2, 38), "a"), {},
         "a.csv, line 2: expected two or more classes, got 'a' for all 12 sequences"),
        ("label", dict.fromkeys(range(26, 38), "c"), {"part": "fold"},
         "a.csv, line 26: expected only classes that the training part has (--data.part fold), got "
         "'c'"),
        ("goal", dict.fromkeys(range(2, 38), "2.5"), {"target": ("goal",)},
         "a.csv: expected numbers that differ in target goal, got 2.5 for all 12 sequences"),
        ("goal", dict.fromkeys(range(2, 20), "2.5"), {"target": ("goal",), "part": "fold"},
         "a.csv: expected numbers that differ in target goal of the training part, got 2.5 for all "
         "6"),
        ("id", {35: "s0"}, {}, IN_ORDER),
        ("step", {4: "1"}, {"step": "step"},
         "a.csv, line 4: expected each step of a sequence once, got 1 in column step again "
         "(first: a.csv, line 3)"),
        ("fold", {5: "later", 6: "later", 7: "later"}, {"part": "fold"},
         "a.csv, line 5: expected train, valid or test in column fold, got 'later'"),
        ("fold", {6: "test"}, {"part": "fold"},
         "a.csv, line 6: expected one value of column fold for each sequence, got 'test' after "
         "'train' (a.csv, line 5)"),
        ("fold", dict.fromkeys(range(20, 26), "test"), {"part": "fold"},
         "--data.part fold: expected sequences in each part, got none of 12 for the validation "
         "part"),
        ("colour", {36: "green"}, {"features": ("colour",), "part": "fold"},
         "a.csv, line 36: expected a value in column colour that the training part has (blue, "
         "red), got 'green'; trained with --data.new-categories none, a network reads it as none "
         "of them"),
        ("colour", {36: ""}, {"features": ("colour",)},
         "a.csv, line 36: expected a value in column colour, got none; --data.missing previous "
         "reads the one before"),
    ],
)  # fmt: skip
def test_a_value_of_a_table_is_refused(
    tmp_path: Path, column: str, values: dict[int, str], options: dict[str, Any], said: str | None
) -> None:
    table = changed(column, values)
    if said is not None:
        refused(tmp_path, table, said, **options)
        return
    file = tmp_path / "a.csv"
    file.write_text("".join(",".join(row) + "\n" for row in table), encoding="utf-8")
    task = load_task(config(path=(str(file),), **OPTIONS | options))
    assert (np.asarray(task.train.inputs) == 0).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sequence": ()},
         "--data.sequence: expected the columns that say to which sequence a row belongs, got "
         "none"),
        ({"target": ()},
         "--data.target: expected the column of a class, or columns of numbers, got none"),
        ({"target": ("labels",)},
         "a.csv: expected a column 'labels', got id, step, x, colour, label, goal, fold; did you "
         "mean 'label'?"),
        ({"features": (), "categories": ("color",)},
         "a.csv: expected a column 'color', got id, step, x, colour, label, goal, fold; did you "
         "mean 'colour'?"),
        ({"features": (), "categories": ("id",)},
         "--data.categories id: expected some of the features step, x, colour, goal, fold"),
        ({"target": ("label", "goal"), "kind": "class"},
         "--data.target: expected one column of a class, got label, goal"),
        ({"target": ("goal",), "class_weights": "balanced"},
         "--data.class-weights balanced: goes with classes, got numbers to predict (goal)"),
        ({"group": "colour", "part": "fold"},
         "a.csv, line 3: expected one value of column colour for each sequence, got 'red' after "
         "'blue' (a.csv, line 2)"),
        ({"group": "goal", "part": "fold"},
         "a.csv, line 23: expected each group in one part (--data.part fold), got '0.25' in the "
         "validation part and, at a.csv, line 5, in the training part"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_the_table_are_refused(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    refused(tmp_path, changed("goal", dict.fromkeys((23, 24, 25), "0.25")), said, **options)


def test_a_guess_that_whole_numbers_are_classes_is_told(tmp_path: Path) -> None:
    table = changed("goal", {i: str((i - 2) // 3) for i in range(2, 38)})
    said = (
        "a.csv, line 2: expected two or more sequences of each class, got one of '0'; a class that "
        "occurs once cannot be both learned and tested; --data.kind number predicts a number"
    )
    refused(tmp_path, table, said, target=("goal",))


def test_a_class_of_steps_that_training_lacks_is_refused_by_its_row(tmp_path: Path) -> None:
    table = changed("label", {36: "c", 37: "c"})
    said = (
        "a.csv, line 36: expected only classes that the training part has (--data.part fold), got "
        "'c'"
    )
    refused(tmp_path, table, said, per_step=True, part="fold")


def arrays() -> dict[str, Any]:
    inputs = np.random.default_rng(0).standard_normal((COUNT, STEPS, 2))
    lengths = np.array([3, 2, 1] * 4)
    inputs[np.arange(STEPS) >= lengths[:, None]] = np.nan
    return {"inputs": inputs, "lengths": lengths, "targets": np.arange(COUNT) % 2}


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"lengths": np.array([4] + [2] * 11)}, {},
         "a.npz, sequence 1: expected a length from 1 to 3, got 4"),
        ({"lengths": np.array([2, 0] + [2] * 10)}, {},
         "a.npz, sequence 2: expected a length from 1 to 3, got 0"),
        ({"lengths": np.full(COUNT, 2.0)}, {},
         "a.npz: expected lengths of 12 whole numbers from 1 to 3, got float64 (12,)"),
        ({"lengths": np.full(COUNT, 3)}, {},
         "a.npz, sequence 2, step 3: expected a finite number in inputs, got nan; --data.missing "
         "previous reads the one before"),
        ({"inputs": np.array([["a"] * STEPS] * COUNT)}, {},
         "a.npz, sequence 1, step 1: expected numbers in inputs, got <U1"),
        ({"inputs": np.zeros((COUNT, 2, 2, 2))}, {},
         "a.npz: expected inputs (sequences, steps, features), got shape (12, 2, 2, 2)"),
        ({"targets": np.arange(5)}, {},
         "a.npz: expected targets (12,) or (12, outputs), got shape (5,)"),
        ({"targets": np.zeros((COUNT, STEPS, 1))}, {},
         "a.npz: expected targets (12,) or (12, outputs), got shape (12, 3, 1); --data.per-step "
         "predicts a target at each step"),
        ({"targets": np.arange(COUNT)}, {"per_step": True},
         "a.npz: expected targets at each step, (12, 3) or (12, 3, outputs), got shape (12,)"),
        ({"targets": np.array([0.5, np.nan] * 6)}, {},
         "a.npz, sequence 2: expected a finite number in targets, got nan"),
        ({"targets": np.array([0.5, 1.0] * 6)}, {"kind": "class"},
         "a.npz, sequence 1: expected a class, got 0.5"),
        ({"targets": np.array(["a", "b"] * 6)}, {"kind": "number"},
         "a.npz: expected targets that are numbers, got <U1"),
        ({"class_names": np.array(["only"])}, {},
         "a.npz, sequence 2: expected a class from 0 to 0, of which class_names tells, got 1"),
        ({"length": np.full(COUNT, 2)}, {},
         "a.npz: expected arrays inputs, targets, lengths, part, group, feature_names, "
         "class_names, got 'length'; did you mean 'lengths'?"),
        ({"feature_names": np.array(["x", "x"])}, {},
         "a.npz: expected a name for each feature, got 'x' twice"),
        ({"feature_names": np.array(["x"])}, {},
         "a.npz: expected feature_names of 2 texts, got <U1 (1,)"),
        ({"part": np.array(["train"] * 10 + ["valid", "tset"])}, {},
         "a.npz, row 12: expected train, valid or test in column part, got 'tset'"),
        ({"group": np.array([1, 2])}, {},
         "a.npz: expected group of 12 sequences, got shape (2,)"),
        ({}, {"sequence": ("id",)},
         "--data.sequence: goes with tables; a.npz has arrays, which need no names"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, **arrays() | changes)
    with pytest.raises(InvalidInput, match=f"^{re.escape(said.replace('a.npz', str(file)))}$"):
        load_task(config(path=(str(file),), **options))


def test_arrays_without_targets_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", inputs=np.zeros((3, 2, 1)))
    with pytest.raises(InvalidInput, match=r"a\.npz: expected an array 'targets', got inputs$"):
        load_task(config(path=(str(tmp_path / "a.npz"),)))


def test_a_damaged_file_of_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays())
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        InvalidInput, match=r"a\.npz: expected NumPy arrays of numbers, got a damag"
    ):
        load_task(config(path=(str(tmp_path / "a.npz"),)))


def test_lists_of_arrays_of_other_widths_are_refused() -> None:
    inputs = [np.zeros((2, 3)), np.zeros((2, 4))]
    with pytest.raises(
        InvalidInput, match=r"^inputs: expected an array .* got \(2, 3\), \(2, 4\)$"
    ):
        sequences.from_arrays(config(), inputs, [0, 1])


def test_no_path_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^--data.path: expected a file or a folder, got none$"):
        load_task(config())
