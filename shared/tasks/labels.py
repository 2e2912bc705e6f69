"""Your own texts, with a label for each: what is it about, is it friendly, who wrote it?

task = load(config)                                    # a table, or a folder for each label
task = from_texts(config, ["good!", "bad"], ["pos", "neg"])
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.config import Config
from shared.config.data import LabelsData
from shared.errors import InvalidInput, printable
from shared.protocol.dataset import Signature, Split
from shared.system.environment import check_memory
from shared.tasks import label_baselines
from shared.tasks.parts import Parts, check_parts, named_parts, split_parts
from shared.tasks.task import Task
from shared.tasks.text import UNKNOWN, UNKNOWN_TOKEN, UNKNOWN_WORD, read_text
from shared.tasks.vocabulary import Ragged, frequent, numbered, spaced, words_and_marks

if TYPE_CHECKING:
    from shared.system.tables import Table

SHOWN = 20
"""Most labels that the facts about the data name."""


def load(config: Config) -> Task:
    """Reads tables with the columns --data.text and --data.label, or a folder of folders.

    Texts, labels and groups are read as they are written: 1.50 stays 1.50. A folder has a folder
    for each label, with a UTF-8 file for each text; hidden folders and files, whose names begin
    with a point, are not read.

    Raises:
        InvalidInput: a file cannot be read, an option does not fit the others, or the texts or
            their labels are of no use: see `from_table`.
    """
    data = config.data
    assert isinstance(data, LabelsData)
    if not data.path:
        raise InvalidInput(
            "--data.path: expected tables of texts, or a folder with a folder for each label, "
            "got none"
        )
    if len(data.path) == 1 and Path(data.path[0]).is_dir():
        return from_table(config, _folder(data), data.path[0])
    from shared.system.tables import read_table

    written = {c for c in (data.text, data.label, data.group) if c is not None}
    columns = written if data.part is None else {*written, data.part}
    return from_table(config, read_table(data.path, columns, text=written))


def from_texts(
    config: Config,
    texts: Sequence[str],
    labels: Sequence[Any] | np.ndarray,
    parts: Sequence[str] | None = None,
    groups: Sequence[Any] | np.ndarray | None = None,
) -> Task:
    """Makes the task of texts in memory.

    Args:
        labels: the label of each text: text, whole numbers or booleans.
        parts: the part of each text: train, valid or test; by default they are drawn.
        groups: such as the author of each text; no group is in two parts.

    Raises:
        InvalidInput: the texts or their labels are of no use: see `from_table`.
    """
    from shared.system.tables import as_table

    data = config.data
    assert isinstance(data, LabelsData)
    columns = {"text": texts, "label": labels, "part": parts, "group": groups}
    given = {name: values for name, values in columns.items() if values is not None}
    named = {name: name if name in given else None for name in ("part", "group")}
    own = replace(data, text="text", label="label", **named)
    return from_table(replace(config, data=own), as_table(given, name="the texts"), "your texts")


def from_table(config: Config, table: "Table", source: str | None = None) -> Task:
    """Makes the task of a table with a text and its label in each row.

    A token is a character, or a word or a mark of punctuation (`words_and_marks`). The vocabulary
    is that of the training part; other tokens are one unknown token. Texts with the same tokens
    come into the same part, unless a column names the parts. Labels are read without the blanks
    around them.

    Raises:
        InvalidInput: a text has no token, there are fewer than two labels, a label occurs once or
            not in the training part, a part is empty, a group is in two named parts, the
            vocabulary has no place, or the padded texts are larger than memory.
    """
    from shared.system import tables

    data = config.data
    assert isinstance(data, LabelsData)
    texts = tables.texts(table, data.text)
    names, codes = tables.categories(table, data.label, strip=True)
    found, tokens, cut = _read(texts, data)
    for row in np.flatnonzero(found.lengths == 0)[:1]:
        raise InvalidInput(
            f"{table.place(int(row))}: expected a text in column {data.text}, "
            f"got {texts[row]!r}, which has no {_NAMED[data.unit]}"
        )
    same = found.same()
    parts = _parts(table, data, (names, codes), same)
    special = (UNKNOWN if data.unit == "char" else UNKNOWN_WORD,)
    train = found.take(parts[0])
    vocabulary, number = frequent(train, tokens, data.vocabulary_size, special)
    own = found.renumbered(number)
    splits = _splits(own, codes, parts, len(names), data)
    balanced = data.class_weights == "balanced"
    facts = _facts(data, names, codes, parts, own, vocabulary, len(np.unique(train.numbers)), cut)
    return Task(
        name="labels",
        signature=Signature(
            len(vocabulary), len(names), tokens=True, per_step=False, loss="cross_entropy"
        ),
        train=splits[0],
        valid=splits[1],
        test=splits[2],
        score="balanced_accuracy" if balanced else "accuracy",
        baselines=lambda: label_baselines.of_texts(
            found, tokens, codes, parts, len(names), data.unit, balanced
        ),
        vocabulary=vocabulary,
        classes=tuple(names),
        unit=data.unit,
        by_length=True,
        about=facts | _repeated(same, codes, parts),
        source=source or table.name,
    )


_NAMED = {"char": "character", "word": "word"}


def tokens_of(text: str, data: LabelsData) -> list[str]:
    """Splits a text into tokens, as a configuration wants them; all of them, however long."""
    text = text.lower() if data.lowercase else text
    return [*text] if data.unit == "char" else words_and_marks(text)


def _folder(data: LabelsData) -> "Table":
    """Reads a folder with a folder of UTF-8 files for each label."""
    from shared.system.tables import as_table

    for option, column in (("part", data.part), ("group", data.group)):
        if column is not None:
            raise InvalidInput(
                f"--data.{option} {column} names a column of a table, "
                f"got a folder: --data.path {data.path[0]}"
            )
    folder = Path(data.path[0])
    labels = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [
        (label.name, file)
        for label in labels
        for file in sorted(label.iterdir())
        if not file.name.startswith(".")
    ]
    if not files:
        raise InvalidInput(
            f"--data.path {folder}: expected a folder of texts for each label, got none"
        )
    texts = [read_text(file, "--data.path ") for _, file in files]
    table = as_table({data.text: texts, data.label: [label for label, _ in files]})
    return replace(table, files=tuple((str(file), 1) for _, file in files))


def _read(texts: Sequence[str], data: LabelsData) -> tuple[Ragged, list[str], int]:
    """Returns the texts as numbers of tokens, these tokens, and how many texts were cut."""
    cut = 0

    def read(text: str) -> list[str]:
        nonlocal cut
        tokens = tokens_of(text, data)
        cut += data.longest is not None and len(tokens) > data.longest
        return tokens[: data.longest]

    found, tokens = numbered(map(read, texts))
    return found, tokens, cut


def _parts(
    table: "Table", data: LabelsData, labels: tuple[list[str], np.ndarray], same: np.ndarray
) -> Parts:
    from shared.system.tables import categories

    groups = None if data.group is None else categories(table, data.group)
    if data.part is not None:
        parts = named_parts(table, data.part)
    elif groups is not None:
        linked = _linked(groups[1], same)
        parts = split_parts(len(same), data.split, "labels", labels[1], linked)
    else:
        # Different texts are drawn, each with the label of its first row.
        _, first = np.unique(same, return_index=True)
        drawn = split_parts(len(first), data.split, "labels", labels[1][first])
        train, valid, test = (np.flatnonzero(np.isin(same, part)) for part in drawn)
        parts = train, valid, test
    option = "--data.split" if data.part is None else f"--data.part {data.part}"
    check_parts(parts, table.place, option, labels, groups, "texts")
    return parts


def _linked(groups: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Numbers the rows so that two of one group, or of one text, have the same number."""
    component = groups.astype(np.int64)
    while True:
        before = component
        for key in (same, groups):
            least = np.full(key.max() + 1, len(key) + component.max())
            np.minimum.at(least, key, component)
            component = least[key]
        if (component == before).all():
            return component


def _splits(
    own: Ragged, codes: np.ndarray, parts: Parts, classes: int, data: LabelsData
) -> list[Split]:
    """Pads the texts of each part to its longest one."""
    longest = [int(own.lengths[rows].max()) for rows in parts]
    check_memory(
        sum(4 * len(rows) * steps for rows, steps in zip(parts, longest, strict=True)),
        f"{len(codes)} texts, padded to {max(longest)} tokens (--data.longest cuts them off),",
    )
    splits = [
        Split(ragged.padded(), codes[rows].astype(np.int32), ragged.lengths.astype(np.int32))
        for rows, ragged in ((rows, own.take(rows)) for rows in parts)
    ]
    if data.class_weights == "balanced":
        targets = np.asarray(splits[0].targets)
        counts = np.bincount(targets, minlength=classes)
        splits[0] = splits[0]._replace(weights=(len(targets) / (classes * counts))[targets])
    return splits


def _facts(
    data: LabelsData, names: list[str], codes: np.ndarray, parts: Parts, own: Ragged,
    vocabulary: tuple[str, ...], different: int, cut: int,
) -> dict[str, str]:  # fmt: skip
    """Describes the data for the run's card."""
    counts, sizes = np.bincount(codes, minlength=len(names)), [len(rows) for rows in parts]
    shown = [f"{printable(n)} {spaced(c)}" for n, c in zip(names, counts, strict=True)]
    lengths, unit = own.lengths, f"{_NAMED[data.unit]}s"
    facts = {
        "texts": f"{spaced(len(codes))}: training {spaced(sizes[0])}, validation "
        f"{spaced(sizes[1])}, test {spaced(sizes[2])}",
        "labels": ", ".join(shown[:SHOWN])
        + f" and {len(names) - SHOWN} more" * (len(names) > SHOWN),
        "lengths": f"{spaced(lengths.min())} to {spaced(lengths.max())} {unit}, "
        f"{lengths.mean():.1f} in the mean",
        "vocabulary": f"{spaced(len(vocabulary) - 1)} of the {spaced(different)} different {unit} "
        "of the training part, and one token for all others",
        "unknown in the test part": f"{unknown(own.take(parts[2])):.1%} of its {unit}",
    }
    if data.longest is not None:
        facts["cut off"] = f"{spaced(cut)} texts, after {spaced(data.longest)} {unit}"
    return facts


def unknown(texts: Ragged) -> float:
    """Returns the share of the tokens that are unknown."""
    return float((texts.numbers == UNKNOWN_TOKEN).mean())


def _repeated(same: np.ndarray, codes: np.ndarray, parts: Parts) -> dict[str, str]:
    """Tells of texts that occur several times, of their labels, and of those in two parts."""
    counts = np.bincount(same)
    kinds = np.bincount(np.unique(np.column_stack([same, codes]), axis=0)[:, 0])
    leaked = np.isin(same[parts[2]], np.concatenate([same[parts[0]], same[parts[1]]])).sum()
    facts = {
        "texts that occur again": spaced(len(same) - len(counts)),
        "texts with several labels": spaced((kinds > 1).sum()),
        "texts of the test part that another part has": spaced(leaked),
    }
    return {name: value for name, value in facts.items() if value != "0"}
