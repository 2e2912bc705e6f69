"""Training, validation and test part: shares, labels, groups, names in a column."""

import re

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.system.tables import as_table
from shared.tasks.parts import Parts, check_parts, named_parts, split_parts

SHARES = 0.7, 0.15, 0.15


def place(example: int) -> str:
    return f"a.csv, line {example + 2}"


def sizes(parts: Parts) -> list[int]:
    return [len(part) for part in parts]


@pytest.mark.parametrize("count", [3, 4, 7, 10, 99, 1000])
def test_every_example_is_in_one_part_and_the_sizes_are_the_shares(count: int) -> None:
    parts = split_parts(count, SHARES, "here")
    assert sorted(np.concatenate(parts)) == list(range(count))
    for part, share in zip(parts, SHARES, strict=True):
        assert (np.diff(part) > 0).all()
        assert len(part) >= 1
        assert abs(len(part) - share * count) < 1.2


def test_the_parts_depend_on_the_purpose_and_on_nothing_else() -> None:
    first, again, other = (split_parts(100, SHARES, name) for name in ("a", "a", "b"))
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert first[2].min() < 40  # not the last ones


def test_each_label_is_shared_out_by_itself() -> None:
    labels = np.repeat(["a", "b", "c"], [100, 20, 3])
    found = [
        np.unique(labels[p], return_counts=True) for p in split_parts(123, SHARES, "x", labels)
    ]
    assert [dict(zip(*(a.tolist() for a in pair), strict=True)) for pair in found] == [
        {"a": 70, "b": 14, "c": 1},
        {"a": 15, "b": 3, "c": 1},
        {"a": 15, "b": 3, "c": 1},
    ]


def test_rounding_of_many_labels_does_not_take_from_one_part() -> None:
    """10 of each label: 7, 1.5 and 1.5."""
    parts = split_parts(300, SHARES, "x", np.arange(300) // 10)
    assert sizes(parts) == [210, 45, 45]


def test_groups_stay_together_and_share_out_the_labels() -> None:
    draw = np.random.default_rng(0)
    groups, labels = draw.integers(0, 40, 1000), draw.integers(0, 3, 1000)
    parts = split_parts(1000, SHARES, "x", labels, groups)
    assert sorted(np.concatenate(parts)) == list(range(1000))
    members = [set(groups[part]) for part in parts]
    assert sum(map(len, members)) == len(set(groups))
    for part, share in zip(parts, SHARES, strict=True):
        assert abs(len(part) - share * 1000) < 30
        assert np.bincount(labels[part]).min() > 0.8 * len(part) / 3


def test_groups_of_one_label_each_share_out_the_labels() -> None:
    groups = np.repeat(np.arange(60), 10)
    labels = groups % 3
    for part, share in zip(split_parts(600, SHARES, "x", labels, groups), SHARES, strict=True):
        assert (np.abs(np.bincount(labels[part]) - 200 * share) <= 10).all()


def test_three_groups_of_any_size_are_one_for_each_part() -> None:
    groups = np.repeat([0, 1, 2], [500, 20, 3])
    assert sizes(split_parts(523, SHARES, "x", groups=groups)) == [500, 20, 3]


def test_a_rare_label_of_three_groups_is_in_each_part() -> None:
    groups = np.arange(200) // 10
    labels = np.where(np.isin(groups, [0, 7, 13]) & (np.arange(200) % 10 == 0), 1, 0)
    parts = split_parts(200, SHARES, "x", labels, groups)
    assert [int(labels[part].sum()) for part in parts] == [1, 1, 1]


def test_parts_by_their_usual_names() -> None:
    names = ["train", "valid", "test", "Training", "validation", "val", "dev", " testing"]
    parts = named_parts(as_table({"fold": names}), "fold")
    assert [part.tolist() for part in parts] == [[0, 3], [1, 4, 5, 6], [2, 7]]


def test_parts_of_examples_that_have_several_rows() -> None:
    table = as_table({"fold": ["train", "train", "test", "valid", "valid"]})
    parts = named_parts(table, "fold", np.array([0, 2, 3]))
    assert [part.tolist() for part in parts] == [[0], [2], [1]]


def test_another_name_of_a_part_is_refused_by_its_row() -> None:
    table = as_table({"fold": ["train", "x", "holdout"]})
    said = "the table, row 3: expected train, valid or test in column fold, got 'holdout'"
    with pytest.raises(InvalidInput, match=f"^{said}$"):
        named_parts(table, "fold", np.array([0, 2]))


def part(*members: list[int]) -> Parts:
    first, second, third = (np.array(one, np.intp) for one in members)
    return first, second, third


def test_parts_that_can_be_learnt_from_are_no_error() -> None:
    codes = np.array([0, 1, 0, 1, 0])
    check_parts(part([0, 1], [2, 3], [4]), place, "--data.split", (["a", "b"], codes))


@pytest.mark.parametrize(
    ("parts", "names", "codes", "said"),
    [
        (
            part([0, 1], [], [2, 3, 4]), ["a", "b"], [0, 0, 0, 1, 1],
            "--data.split: expected sequences in each part, got none of 5 for the validation part",
        ),
        (
            part([0, 1], [2], [3]), ["a", "b"], [1, 1, 1, 1],
            "a.csv, line 2: expected two or more classes, got 'b' for all 4 sequences",
        ),
        (
            part([0, 1], [2], [3]), ["a", "b"], [0, 1, 0, 0],
            "a.csv, line 3: expected two or more sequences of each class, got one of 'b'; a class "
            "that occurs once cannot be both learned and tested",
        ),
        (
            part([0, 1], [2], [3, 4]), ["a", "b\n"], [0, 0, 0, 1, 1],
            r"a.csv, line 5: expected only classes that the training part has (--data.split), got "
            r"'b\n'; equal sequences and those of a group are drawn together, so that it needs "
            "more different sequences, or a column of parts (--data.part)",
        ),
    ],
)  # fmt: skip
def test_parts_that_cannot_be_learnt_from_are_refused(
    parts: Parts, names: list[str], codes: list[int], said: str
) -> None:
    with pytest.raises(InvalidInput, match=f"^{re.escape(said)}$"):
        check_parts(parts, place, "--data.split", (names, np.array(codes)))


def test_a_group_in_two_parts_is_refused_with_both_places() -> None:
    said = (
        "a.csv, line 5: expected each group in one part (--data.part fold), got 'Ann' in the test "
        "part and, at a.csv, line 2, in the training part"
    )
    with pytest.raises(InvalidInput, match=f"^{re.escape(said)}$"):
        check_parts(
            part([0, 1], [2], [3]), place, "--data.part fold", None,
            (["Ann", "Bob", "Cy"], np.array([0, 1, 2, 0])),
        )  # fmt: skip
