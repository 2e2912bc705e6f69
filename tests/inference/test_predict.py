"""Predictions of a trained network for new data: they are what it computes, in both frameworks."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.config.data import ParityData, TranslateData
from shared.errors import InvalidInput
from shared.inference import load_trained, predict, texts
from shared.inference.evaluation import evaluate
from shared.inference.tables import as_csv, as_json
from shared.tasks.task import Task
from tests.support.inference_cases import TEXT, made, table, write_csv


def test_utterances_are_scaled_and_named_alone_and_together(runs, tmp_path: Path) -> None:
    run, task = runs["vowels"]
    trained = load_trained(run)
    assert task.test.lengths is not None
    assert task.scaling is not None
    mean, std = task.scaling
    lengths = task.test.lengths[:9]
    assert len(set(lengths)) > 2
    raw = task.test.inputs[:9] * std + mean  # also what fills the sequences up: it must not count
    outputs, _ = trained.backend.predict(trained.state, task.test.inputs[:9], lengths)
    probability = np.exp(outputs - outputs.max(1, keepdims=True))
    probability /= probability.sum(1, keepdims=True)
    np.savez(tmp_path / "all.npz", inputs=raw, lengths=lengths)
    records = predict.predictions(trained, tmp_path / "all.npz")
    assert [r["sequence"] for r in records] == list(range(1, 10))
    assert [r["predicted"] for r in records] == [f"speaker {i + 1}" for i in outputs.argmax(1)]
    np.testing.assert_allclose([r["probability"] for r in records], probability.max(1), rtol=1e-9)
    for record, one, length in zip(records, raw, lengths, strict=True):
        np.save(tmp_path / "one.npy", one[:length])
        (alone,) = predict.predictions(trained, tmp_path / "one.npy")
        assert alone["predicted"] == record["predicted"]
        assert alone["probability"] == pytest.approx(record["probability"], rel=1e-9)


def test_more_sequences_than_a_call_takes(runs, tmp_path: Path, monkeypatch) -> None:
    run, task = runs["vowels"]
    trained = load_trained(run)
    np.savez(tmp_path / "a.npz", inputs=task.test.inputs[:7], lengths=task.test.lengths[:7])
    whole = predict.predictions(trained, tmp_path / "a.npz")
    monkeypatch.setattr("shared.inference.measured.EVALUATION_ROWS", 3)
    parts = predict.predictions(trained, tmp_path / "a.npz")
    assert [r["predicted"] for r in parts] == [r["predicted"] for r in whole]
    for one, other in zip(parts, whole, strict=True):
        assert one["probability"] == pytest.approx(other["probability"], rel=1e-9)


def close(one: predict.Record, other: predict.Record) -> bool:
    """Whether two records are the same but for rounding."""
    return one == {
        key: pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
        for key, value in other.items()
    }


def own_scores(run: Path, task: Task, part: str) -> tuple[float, float]:
    """Bits and nats a token of a text's part, as training evaluates it."""
    trained = load_trained(run)
    split = getattr(task, part)
    loss = evaluate(trained.config, task, trained.backend, trained.state, split).loss
    return loss / math.log(2) * split.targets.size, loss


@pytest.mark.parametrize("unit", ["char", "word"])
def test_the_lines_of_a_text_cost_what_evaluation_says(
    unit: str, text, words, tmp_path: Path
) -> None:
    """The test part begins within a line; with a line's end behind it both read the same."""
    run, task = text if unit == "char" else words
    tokens = [*task.test.inputs[0], task.test.targets[0, -1]]
    content = (Path(run).parent / f"{run.name}.txt").read_text(encoding="utf-8")
    content = content[-task.characters["test"] - (unit == "char") :]
    assert content.endswith("\n")
    (tmp_path / "a.txt").write_text(content, encoding="utf-8")
    *lines, every = predict.predictions(load_trained(run), tmp_path / "a.txt")
    bits, loss = own_scores(run, task, "test")
    sizes = [len(line) + 1 for line in content.splitlines()]
    assert [line["line"] for line in lines] == list(range(1, len(sizes) + 1))
    each = [line["bits per character"] * size for line, size in zip(lines, sizes, strict=True)]
    assert sum(each) == pytest.approx(bits, rel=1e-6)
    assert every["line"] == "all"
    assert every["bits per character"] == pytest.approx(bits / task.characters["test"], rel=1e-6)
    assert every["perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
    assert every["tokens"] == sum(line["tokens"] for line in lines) == len(tokens)
    assert every["unknown"] == sum(token == 0 for token in tokens)


def test_only_a_line_feed_ends_a_line_of_characters(text, tmp_path: Path) -> None:
    """As in training, where any other line break is a character."""
    (tmp_path / "a.txt").write_bytes("a\r\nb\u2028c\n\nlast".encode())
    *lines, every = predict.predictions(load_trained(text[0]), tmp_path / "a.txt")
    assert [line["tokens"] for line in lines] == [3, 4, 1, 4]
    assert every["tokens"] == 12


def test_the_state_is_carried_from_window_to_window(text, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a.txt").write_text(TEXT * 3 + "Zebra\n", encoding="utf-8")
    trained = load_trained(text[0])
    whole = predict.predictions(trained, tmp_path / "a.txt")
    monkeypatch.setattr("shared.inference.texts.WINDOW", 7)
    parts = predict.predictions(trained, tmp_path / "a.txt")
    for one, other in zip(parts, whole, strict=True):
        assert close(one, other)
    assert [line["unknown"] for line in whole] == [0] * 9 + [3, 3]  # Z, b, r


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("value", [1e300, 1.7e308])
def test_numbers_that_overflow_are_refused_without_a_warning(
    backend: Any, value: float, runs, tmp_path: Path, recwarn
) -> None:
    """JSON has no NaN, and a reader of CSV would take it for a prediction."""
    np.save(tmp_path / "a.npy", np.full((2, 5, 12), value) * np.tile([1, -1], 6))
    with pytest.raises(InvalidInput, match=r"a\.npy: expected numbers of a size .* lead to nan$"):
        predict.predictions(
            load_trained(runs["vowels"][0], backend, precision="float32"), tmp_path / "a.npy"
        )
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_lines_of_hello_and_parity_are_spelled(hello, folder: Path, tmp_path: Path) -> None:
    data = ParityData(10, 4, 4, min_length=3, max_length=6, longer_length=9)
    for (run, task), lines in (
        (hello, ["hello", "oleh"]),
        (made(tmp_path / "parity", data), ["0110", "1"]),
    ):
        trained = load_trained(run)
        (tmp_path / "a.txt").write_text("\n".join(lines), encoding="utf-8")
        records = predict.predictions(trained, tmp_path / "a.txt")
        for line, record in zip(lines, records, strict=True):
            tokens = np.array([[task.vocabulary.index(c) for c in line]], np.int32)
            outputs, _ = trained.backend.predict(trained.state, tokens)
            said = "".join(task.vocabulary[t] for t in outputs[0].argmax(1))
            assert record == {"input": line, "predicted": said}
        (tmp_path / "a.txt").write_text("x", encoding="utf-8")
        with pytest.raises(
            InvalidInput, match=r"a\.txt: line 1: expected characters .*, got 'x' at"
        ):
            predict.predictions(trained, tmp_path / "a.txt")


def test_a_translation_knows_its_characters_and_ends(tmp_path: Path) -> None:
    pytest.importorskip("num2words")
    run, task = made(tmp_path / "translate", TranslateData(largest=42))
    trained = load_trained(run)
    (tmp_path / "a.txt").write_text("forty-two\none\n", encoding="utf-8")
    records = predict.predictions(trained, tmp_path / "a.txt")
    assert [record["source"] for record in records] == ["forty-two", "one"]
    longest = 2 * task.train.inputs.shape[1]
    for record in records:
        assert len(record["answer"]) <= longest
        assert task.end is not None
        assert task.end not in record["answer"]
    assert texts.answer(trained, "one", 5, "") == records[1]["answer"]
    for source, got in (
        ("42", "'4' at character 1"),
        ("a>b", "'>' at character 2"),
        ("a.", r"'\.'"),
    ):
        (tmp_path / "a.txt").write_text(f"one\n{source}\n", encoding="utf-8")
        with pytest.raises(InvalidInput, match=f"a.txt: line 2: expected characters .*, got {got}"):
            predict.predictions(trained, tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("one\n\none\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"a\.txt: line 2: expected text, got none$"):
        predict.predictions(trained, tmp_path / "a.txt")


def test_both_frameworks_say_the_same(text, runs, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    run, task = runs["weather"]
    write_csv(tmp_path / "a.csv", table(task, slice(-9, None)))
    for folder, file in ((text[0], "a.txt"), (run, "a.csv")):
        one, other = (
            predict.predictions(load_trained(folder, backend), tmp_path / file)
            for backend in ("torch", "jax")
        )
        for mine, theirs in zip(one, other, strict=True):
            assert close(mine, theirs)


RECORDS = [{"a": 1, "b é": "x,y", "c": None}, {"a": 2, "b é": 'say "z"', "c": 0.5}]


def test_records_are_read_back_from_csv_and_json() -> None:
    lines = list(csv.reader(io.StringIO(as_csv(RECORDS))))
    assert lines == [["a", "b é", "c"], ["1", "x,y", ""], ["2", 'say "z"', "0.5"]]
    assert json.loads(as_json(RECORDS)) == RECORDS
    assert "é" in as_json(RECORDS)


def test_predict_writes_what_it_prints(hello, tmp_path: Path, call) -> None:
    (tmp_path / "a.txt").write_text("hello\nhole\n", encoding="utf-8")
    common = ("--run", str(hello[0]), "--input", "a.txt")
    printed = call("predict.py", *common)
    assert (printed.returncode, printed.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(printed.stdout)))
    assert [row["input"] for row in rows] == ["hello", "hole"]
    wrote = call("predict.py", *common, "--out", "out.csv")
    assert wrote.stdout == "wrote out.csv, 2 predictions\n"
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == printed.stdout
    (tmp_path / "out.json").write_text("old")
    assert call("predict.py", *common, "--out", "out.json", "--overwrite").returncode == 0
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == rows
