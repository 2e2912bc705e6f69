"""Texts, labels and pairs that are of no use: refused in one line, by file, column and row."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest

from shared.config import Config
from shared.config.data import LabelsData, PairsData
from shared.errors import InvalidInput
from shared.tasks import TASKS, load_task
from shared.tasks.labels import from_texts
from shared.tasks.labels import tokens_of as labels_tokens
from shared.tasks.pairs import from_pairs
from shared.tasks.pairs import tokens_of as pairs_tokens
from shared.tasks.task import Task

Columns = dict[str, Any]


def config(data: LabelsData | PairsData) -> Config:
    name = "labels" if isinstance(data, LabelsData) else "pairs"
    return replace(TASKS[name].defaults, data=data)


def reviews(**changed: Any) -> Columns:
    columns: Columns = {
        "text": [f"text {i}" for i in range(12)],
        "label": ["pos", "neg"] * 6,
        "fold": ["train"] * 6 + ["valid"] * 3 + ["test"] * 3,
        "author": [f"author {i // 3}" for i in range(12)],
    }
    for name, cells in changed.items():
        for row, value in cells.items():
            columns[name][row] = value
    return columns


def words(**changed: Any) -> Columns:
    columns: Columns = {
        "source": [f"source {i}" for i in range(12)],
        "target": [f"target {i}" for i in range(12)],
        "fold": ["train"] * 6 + ["valid"] * 3 + ["test"] * 3,
    }
    for name, cells in changed.items():
        for row, value in cells.items():
            columns[name][row] = value
    return columns


LABELS: dict[str, tuple[Columns, dict[str, Any], str]] = {
    "a label that occurs once": (
        reviews(label={5: "odd"}),
        {},
        r"texts\.csv, line 7: expected two or more texts of each class, got one of 'odd'",
    ),
    "one label": (
        reviews(label=dict.fromkeys(range(12), "pos")),
        {},
        r"texts\.csv, line 2: expected two or more classes, got 'pos' for all 12 texts$",
    ),
    "a label that training lacks": (
        reviews(label={7: "odd", 10: "odd"}),
        {"part": "fold"},
        r"texts\.csv, line 9: expected only classes that the training part has "
        r"\(--data\.part fold\), got 'odd'$",
    ),
    "an empty part": (
        reviews(fold=dict.fromkeys(range(6, 9), "train")),
        {"part": "fold"},
        "--data.part fold: expected texts in each part, got none of 12 for the validation part$",
    ),
    "a part of another name": (
        reviews(fold={3: "blind"}),
        {"part": "fold"},
        r"texts\.csv, line 5: expected train, valid or test in column fold, got 'blind'$",
    ),
    "an author in two parts": (
        reviews(),
        {"part": "fold", "group": "label"},
        r"texts\.csv, line 8: expected each group in one part",
    ),
    "an empty cell": (
        reviews(text={4: None}),
        {},
        r"texts\.csv, line 6: expected a value in column text, got none",
    ),
    "no label": (
        reviews(label={4: None}),
        {},
        r"texts\.csv, line 6: expected a value in column label, got none",
    ),
    "only blanks": (
        reviews(text={4: " \x1f "}),
        {},
        r"texts\.csv, line 6: expected a text in column text, got ' \\x1f ', which has no word$",
    ),
    "no such column": (
        reviews(),
        {"text": "texts"},
        r"texts\.csv: expected a column 'texts', got text, label, fold, author; "
        r"did you mean 'text'\?$",
    ),
    "no such part": (
        reviews(),
        {"part": "fald"},
        r"expected a column 'fald', got .*; did you mean 'fold'\?$",
    ),
    "no place in the vocabulary": (
        reviews(),
        {"vocabulary_size": 1},
        "--data.vocabulary-size: expected more than 1, the tokens <unk>, got 1$",
    ),
}

PAIRS: dict[str, tuple[Columns, dict[str, Any], str]] = {
    "too long a pair": (
        words(target={7: "x" * 300}),
        {},
        r"texts\.csv, line 9: expected at most 200 characters of source and target together "
        r"\(--data\.longest\), got 308$",
    ),
    "too long pairs": (
        words(target={7: "x " * 30, 3: "y " * 20}),
        {"longest": 20, "unit": "word"},
        r"texts\.csv, line 5: expected at most 20 words .*, got 22; 1 more pairs are too long, the "
        r"longest has 32$",
    ),
    "an empty source": (
        words(source={2: None}),
        {},
        r"texts\.csv, line 4: expected a value in column source, got none",
    ),
    "a target of blanks": (
        words(target={2: "\x1f"}),
        {"unit": "word"},
        r"texts\.csv, line 4: expected a text in column target, got '\\x1f', which has no word$",
    ),
    "no such column": (
        words(),
        {"source": "Source"},
        r"expected a column 'Source', got .*; did you mean 'source'\?$",
    ),
    "an empty part": (
        words(fold=dict.fromkeys(range(9, 12), "dev")),
        {"part": "fold"},
        "--data.part fold: expected pairs in each part, got none of 12 for the test part$",
    ),
    "too few pairs": (
        {name: cells[:2] for name, cells in words().items()},
        {},
        "--data.split: expected pairs in each part, got none of 2 for the (test|validation) part$",
    ),
    "no place in the vocabulary": (
        words(),
        {"vocabulary_size": 3},
        "--data.vocabulary-size: expected more than 3, the tokens <unk>, <to>, <end>, got 3$",
    ),
}


def refused(data: LabelsData | PairsData, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        load_task(config(data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", LABELS)
def test_labels_of_no_use_are_refused(case: str, tmp_path: Path) -> None:
    columns, options, message = LABELS[case]
    file = tmp_path / "texts.csv"
    pl.DataFrame(columns).write_csv(file, quote_style="non_numeric")
    refused(LabelsData((str(file),), **options), message)


@pytest.mark.parametrize("case", PAIRS)
def test_pairs_of_no_use_are_refused(case: str, tmp_path: Path) -> None:
    columns, options, message = PAIRS[case]
    file = tmp_path / "texts.csv"
    pl.DataFrame(columns).write_csv(file, quote_style="non_numeric")
    refused(PairsData((str(file),), **options), message)


@pytest.mark.parametrize("data", [LabelsData(), PairsData()])
def test_without_a_file_there_is_nothing_to_read(data: LabelsData | PairsData) -> None:
    refused(data, "^--data.path: expected tables .*, got none$")


@pytest.mark.parametrize("data", [LabelsData, PairsData])
def test_a_table_in_two_encodings_is_refused_by_file_and_line(
    data: Callable[..., LabelsData | PairsData], tmp_path: Path
) -> None:
    names = "text,label" if data is LabelsData else "source,target"
    (tmp_path / "one.csv").write_text(f"{names}\ncafé,pos\nb,neg\n", encoding="utf-8")
    (tmp_path / "two.csv").write_bytes(f"{names}\na,pos\n".encode() + b"caf\xe9,neg\n")
    paths = tuple(str(tmp_path / name) for name in ("one.csv", "two.csv"))
    refused(data(paths), r"two\.csv, line 3: expected UTF-8 text, got byte 0xe9")


def test_a_folder_for_each_label_is_refused_by_its_file(tmp_path: Path) -> None:
    data = LabelsData((str(tmp_path),))
    refused(data, "^--data.path .*: expected a folder of texts for each label, got none$")
    for number in range(6):
        label = tmp_path / ("pos" if number % 2 else "neg")
        label.mkdir(exist_ok=True)
        (label / f"{number}.txt").write_text(f"text {number}")
    assert load_task(config(replace(data, split=(0.4, 0.3, 0.3)))).classes == ("neg", "pos")
    refused(replace(data, part="fold"), "^--data.part fold names a column of a table, got a folder")
    refused(replace(data, group="me"), "^--data.group me names a column of a table, got a folder")
    (tmp_path / "neg" / "8.txt").write_bytes(b"caf\xe9")
    refused(data, r"neg/8\.txt: expected UTF-8 text, got byte 0xe9 at position 3$")
    (tmp_path / "neg" / "8.txt").write_bytes(b"")
    refused(data, r"neg/8\.txt: expected a text, got an empty file$")
    (tmp_path / "neg" / "8.txt").write_text(" \n")
    refused(data, r"neg/8\.txt, row 1: expected a value in column text, got none")
    (tmp_path / "neg" / "8.txt").unlink()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "1.txt").write_text("one")
    refused(data, r"odd/1\.txt, row 1: expected two or more texts of each class, got one of 'odd'")


def test_a_column_of_numbers_is_read_as_text(tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    pl.DataFrame({"text": range(100, 120), "label": [0, 1] * 10}).write_csv(file)
    task = load_task(config(LabelsData((str(file),), unit="char")))
    assert set(task.vocabulary[1:]) <= set("0123456789")
    assert task.classes == ("0", "1")
    pl.DataFrame({"source": range(20), "target": [i * i for i in range(20)]}).write_csv(file)
    task = load_task(config(PairsData((str(file),))))
    assert set(task.vocabulary[3:]) <= set("0123456789")


ODD = ["a\0b", "😀 👍🏽", "\u202eabc", "\ufeffx", "a\u2028b", "\ufffd?", "'\"", "ﬁ ŉ İ"]


@pytest.mark.parametrize("unit", ["char", "word"])
def test_odd_characters_are_tokens_like_others(unit: Literal["char", "word"]) -> None:
    named = ["train"] * len(ODD) + ["valid", "valid", "test", "test"]
    texts, labels = [*ODD, "a", "b", "c", "d"], ["x", "y"] * 6
    own, pairs = LabelsData(unit=unit), PairsData(unit=unit, reverse=False)
    expected = [labels_tokens(text, own) for text in ODD]
    assert read(from_texts(config(own), texts, labels, named)) == expected
    split = [pairs_tokens(text, pairs) for text in ODD]
    expected = [[*text, "<to>", *text] for text in split]
    assert read(from_pairs(config(pairs), texts, texts, named)) == expected


def read(task: Task) -> list[list[str]]:
    """Tokens of each text of the training part; none is padding."""
    assert task.train.lengths is not None
    assert len(set(task.vocabulary)) == len(task.vocabulary)
    assert len(task.fingerprint) == 16
    rows = zip(np.asarray(task.train.inputs), task.train.lengths, strict=True)
    return [[task.vocabulary[t] for t in row[:length]] for row, length in rows]


@pytest.mark.parametrize("short", ["labels", "texts"])
def test_columns_of_two_lengths_are_refused(short: str) -> None:
    texts, labels = ["a", "b"] * 6, ["x", "y"] * 6
    with pytest.raises(InvalidInput, match=r"12.*11|11.*12"):
        from_texts(
            config(LabelsData()),
            texts[short == "texts" :],
            labels[short == "labels" :],
        )


def test_padded_texts_that_are_larger_than_memory_are_refused(monkeypatch) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 10)  # 100 bytes
    texts, labels = [f"{i} b c" for i in range(12)], ["x", "y"] * 6
    with pytest.raises(
        InvalidInput, match=r"^12 texts, padded to 3 tokens \(--data.longest cuts .* need .* GB"
    ):
        from_texts(config(LabelsData()), texts, labels)
    with pytest.raises(InvalidInput, match=r"^12 pairs, padded to 7 tokens, need .* GB"):
        from_pairs(config(PairsData(longest=6)), [*texts[:10], "aaaa", "bb"], ["t"] * 12)
