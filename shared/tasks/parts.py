"""Examples → training, validation and test part: drawn by chance, or named by a column.

The draw does not depend on a run's seed, so that all seeds share the parts.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from shared.errors import InvalidInput
from shared.system.randomness import generator

if TYPE_CHECKING:
    from shared.system.tables import Table

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Numbers of the examples of the training, validation and test part, each sorted."""

PARTS = ("training", "validation", "test")
NAMES = {
    "train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2,
    "testing": 2,
}  # fmt: skip
"""Names of the parts in a column."""

TESTED = "groups with forecasts in the test part"
UNTESTED = "groups without any there"
IN_TRAINING = "sequences of the test part that the training part has, too"
"""Names of facts about the parts, of which a model card warns."""


def split_parts(
    count: int,
    shares: Sequence[float],
    purpose: str,
    labels: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Parts:
    """Draws the parts of `count` examples.

    Args:
        shares: of the examples, for training, validation and test.
        purpose: name of the draw: the same name gives the same parts.
        labels: (N,). The examples of each label are shared out by themselves, by largest
            remainders. A label of three or more examples (with groups: in three or more groups, as
            far as they can be shared out) is in each part.
        groups: (N,). The examples of a group come into one part. Groups are taken from the largest
            to the smallest, each into the part that lacks most of its labels.
    """
    order = generator(0, purpose).permutation(count)
    classes = np.zeros(count, np.intp)
    if labels is not None:
        classes = np.unique(labels, return_inverse=True)[1]
    if groups is None:
        part = _by_label(order, shares, classes)
    else:
        part = _by_group(order, shares, classes, np.unique(groups, return_inverse=True)[1])
    return _numbers_of(part)


def _numbers_of(part: np.ndarray) -> Parts:
    training, validation, test = (np.flatnonzero(part == i) for i in range(3))
    return training, validation, test


def _by_label(order: np.ndarray, shares: Sequence[float], classes: np.ndarray) -> np.ndarray:
    """Returns the part of each example, each class being shared out by itself."""
    part = np.zeros(len(order), np.intp)
    sorted_order = order[np.argsort(classes[order], kind="stable")]
    lacking = np.zeros(3)  # what rounding took from the parts so far; it decides between equals
    for members in np.split(sorted_order, np.cumsum(np.bincount(classes))[:-1]):
        due = np.array(shares) * len(members)
        sizes = np.floor(due + 1e-9).astype(int)
        behind = np.round(due - sizes, 9)
        first = np.lexsort((-np.round(lacking + due, 9), -behind))
        sizes[first[: len(members) - sizes.sum()]] += 1
        for empty in np.flatnonzero(sizes == 0) if len(members) >= 3 else ():
            sizes[sizes.argmax()] -= 1
            sizes[empty] = 1
        lacking += due - sizes
        part[members] = np.repeat(np.arange(3), sizes)
    return part


def _by_group(
    order: np.ndarray, shares: Sequence[float], classes: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    """Returns the part of each example, no group being in two parts."""
    counts = np.zeros((groups.max() + 1, classes.max() + 1))
    np.add.at(counts, (groups, classes), 1)
    _, first = np.unique(groups[order], return_index=True)
    drawn = groups[order][np.sort(first)]  # in the order in which they are drawn
    drawn = drawn[np.argsort(-counts[drawn].sum(1), kind="stable")]
    lacking = np.outer(shares, counts.sum(0))
    part = np.zeros(len(counts), np.intp)
    for group in drawn:
        part[group] = (lacking @ counts[group]).argmax()
        lacking[part[group]] -= counts[group]
    return _in_each_part(part, counts > 0, drawn[::-1])[groups]


def _in_each_part(part: np.ndarray, has: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Moves groups into parts that lack a class, from parts that keep all their classes.

    Args:
        part: (G,) part of each group.
        has: (G, K) True where a group has examples of a class.
        order: the groups in the order in which they are considered.
    """
    part = part.copy()
    present = np.array([has[part == i].sum(0) for i in range(3)])
    rare = np.argsort(has.sum(0), kind="stable")
    for name in rare:
        for lacking in np.flatnonzero(present[:, name] == 0):
            for group in order[has[order, name]]:
                kept = present[part[group]] - has[group]
                if (kept[has[group]] > 0).all():
                    present[part[group]] = kept
                    present[lacking] += has[group]
                    part[group] = lacking
                    break
    return part


def named_parts(table: "Table", column: str, rows: np.ndarray | None = None) -> Parts:
    """Reads the parts from a column with train, valid and test.

    Args:
        rows: (N,) row of each example; None takes each row for an example.

    Raises:
        InvalidInput: a value is none of these names.
    """
    from shared.system.tables import categories

    names, codes = categories(table, column)
    codes = codes if rows is None else codes[rows]
    known = np.array([NAMES.get(name.strip().lower(), -1) for name in names])
    part = known[codes]
    for example in np.flatnonzero(part < 0)[:1]:
        row = int(example if rows is None else rows[example])
        raise InvalidInput(
            f"{table.place(row)}: expected train, valid or test in column {column}, "
            f"got {names[int(codes[example])]!r}"
        )
    return _numbers_of(part)


def check_parts(
    parts: Parts,
    place: Callable[[int], str],
    option: str,
    labels: tuple[Sequence[str], np.ndarray] | None = None,
    groups: tuple[Sequence[str], np.ndarray] | None = None,
    what: str = "sequences",
    way_out: str = "",
) -> None:
    """Checks that a network can learn from the training part what the others ask for.

    Args:
        place: says where an example is: "sales.csv, line 18".
        option: that made the parts: "--data.split" or "--data.part fold".
        labels, groups: names, and the number of the name of each example, (N,).
        what: the examples, for messages.
        way_out: what to do where a class occurs once, such as "; --data.kind number …".

    Raises:
        InvalidInput: a part is empty, there are fewer than two labels, a label occurs once or is
            not in the training part, or a group is in two parts.
    """
    if labels is not None:
        _check_counts(place, *labels, what, way_out)
    count = sum(map(len, parts))
    for name, part in zip(PARTS, parts, strict=True):
        if not len(part):
            raise InvalidInput(
                f"{option}: expected {what} in each part, got none of {count} for the {name} part"
            )
    if labels is not None:
        names, codes = labels
        missing = np.bincount(codes[parts[0]], minlength=len(names)) == 0
        for example in np.flatnonzero(missing[codes])[:1]:
            raise InvalidInput(
                f"{place(int(example))}: expected only classes that the training part has "
                f"({option}), got {names[int(codes[example])]!r}{_way_in(option, what)}"
            )
    if groups is not None:
        _check_groups(parts, place, option, *groups)


def _way_in(option: str, what: str) -> str:
    """Returns a hint how a class comes into a training part that is drawn."""
    return (
        f"; equal {what} and those of a group are drawn together, so that it needs more different "
        f"{what}, or a column of parts (--data.part)"
    ) * option.startswith("--data.split")


def _check_counts(
    place: Callable[[int], str], names: Sequence[str], codes: np.ndarray, what: str, way_out: str
) -> None:
    counts = np.bincount(codes, minlength=len(names))
    present: list[int] = np.flatnonzero(counts).tolist()
    if len(present) < 2:
        raise InvalidInput(
            f"{place(0)}: expected two or more classes, got {names[present[0]]!r} for all "
            f"{len(codes)} {what}"
        )
    once: list[int] = np.flatnonzero(counts == 1).tolist()
    for name in once[:1]:
        raise InvalidInput(
            f"{place(int((codes == name).argmax()))}: expected two or more {what} of each class, "
            f"got one of {names[name]!r}; a class that occurs once cannot be both learned and "
            f"tested{way_out}"
        )


def _check_groups(
    parts: Parts, place: Callable[[int], str], option: str, names: Sequence[str], codes: np.ndarray
) -> None:
    part = np.zeros(len(codes), np.intp)
    for i, members in enumerate(parts):
        part[members] = i
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    other = np.flatnonzero(part != part[first][inverse])
    if len(other):
        example = int(other[0])
        before = int(first[inverse[example]])
        raise InvalidInput(
            f"{place(example)}: expected each group in one part ({option}), got "
            f"{names[int(codes[example])]!r} in the {PARTS[part[example]]} part and, "
            f"at {place(before)}, in the {PARTS[part[before]]} part"
        )
