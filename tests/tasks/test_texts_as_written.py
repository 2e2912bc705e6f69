"""Texts, labels and pairs that look like numbers are read as they stand in the file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.config.own_data import LabelsData, PairsData
from shared.inference import load_trained, texts
from shared.tasks import TASKS, load_task
from shared.tasks.task import Task
from tests.support.inference_cases import made

ROWS = range(10, 40)


def task_of(data: LabelsData | PairsData) -> Task:
    name = "labels" if isinstance(data, LabelsData) else "pairs"
    return load_task(replace(TASKS[name].defaults, data=data))


def spelled(task: Task) -> set[str]:
    """Returns the sequences of the training part as text, without padding."""
    assert task.train.lengths is not None
    rows = zip(np.asarray(task.train.inputs), task.train.lengths, strict=True)
    return {"".join(task.vocabulary[int(t)] for t in row[:length]) for row, length in rows}


@pytest.mark.parametrize("name", ["n.tsv", "n.csv", "n.jsonl"])
def test_pairs_of_numbers_are_trained_on_as_written(name: str, tmp_path: Path) -> None:
    """With the zeros at their ends, and nan, which is a text like others."""
    file = tmp_path / name
    line, head = {
        "n.tsv": ("{}\t{}\n", "source\ttarget\n"),
        "n.csv": ('"{}",{}\n', "source,target\n"),
        "n.jsonl": ('{{"source": {}, "target": "{}"}}\n', ""),
    }[name]
    rows = [(f"{i}.50", "nan" if i % 2 else f"{i}") for i in ROWS]
    file.write_text(head + "".join(line.format(*row) for row in rows))
    found = spelled(task_of(PairsData((str(file),), reverse=False)))
    assert found <= {f"{source}<to>{target}" for source, target in rows}
    assert len(found) > 20


def test_texts_and_labels_are_as_written(tmp_path: Path) -> None:
    """Labels that are equal as numbers are two; blanks around a label are none of it."""
    file = tmp_path / "t.csv"
    rows = [(f"{i}.50", (" 1e3", "1000", "1e3 ")[i % 3]) for i in ROWS]
    file.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    task = task_of(LabelsData((str(file),), unit="char", split=(0.6, 0.2, 0.2)))
    assert task.classes == ("1000", "1e3")
    assert spelled(task) <= {text for text, _ in rows}


def test_groups_that_are_equal_as_numbers_are_two(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    parts = {"1e3": "train", "1000": "valid", "1000.0": "test"}
    rows = [(*part, i) for i, part in enumerate([*parts.items()] * 4)]
    lines = "".join(f"text {i},{i % 2},{who},{part}\n" for who, part, i in rows)
    file.write_text("text,label,who,part\n" + lines)
    task = task_of(LabelsData((str(file),), group="who", part="part"))
    assert task.about["texts"] == "12: training 4, validation 4, test 4"


@pytest.mark.parametrize("kind", ["labels", "pairs"])
def test_new_texts_are_read_as_written(kind: str, tmp_path: Path) -> None:
    file, new = tmp_path / "t.tsv", tmp_path / "new.csv"
    rows = "".join(f"{i}.50\t{i % 3}\n" for i in ROWS)
    if kind == "labels":
        file.write_text("text\tlabel\n" + rows)
        data, column = LabelsData((str(file),), unit="char", split=(0.6, 0.2, 0.2)), "text"
    else:
        file.write_text("source\ttarget\n" + rows)
        data, column = PairsData((str(file),)), "source"
    trained = load_trained(made(tmp_path / "run", data)[0])
    new.write_text(f"{column}\n1.50\n")
    assert [record[column] for record in texts.of_file(trained, new, beams=1)] == ["1.50"]


def test_a_hidden_folder_is_no_label(tmp_path: Path) -> None:
    for label in ("pos", "neg", ".ipynb_checkpoints"):
        (tmp_path / label).mkdir()
        for i in range(10):
            (tmp_path / label / f"{i}.txt").write_text(f"{label} {i}")
    assert task_of(LabelsData((str(tmp_path),))).classes == ("neg", "pos")
