"""sample.py and predict.py: what a trained network says of new data is what it computes, and
whatever cannot be used is refused in one line."""

import csv
import io
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.config import resolve
from shared.config.data import (
    Data,
    HelloData,
    ParityData,
    SunspotsData,
    TextData,
    TranslateData,
    VolumeData,
    VowelsData,
    WeatherData,
)
from shared.config.settings import NetworkConfig
from shared.errors import InvalidInput
from shared.inference import load_trained, predict
from shared.inference.evaluation import evaluate
from shared.inference.tables import as_csv, as_json
from shared.protocol import Snapshot
from shared.protocol.weights import network_shapes
from shared.runs import checkpoint
from shared.runs.checkpoint import Checkpoint
from shared.runs.run_folder import save_config
from shared.runs.schema import save_schema, schema_of
from shared.system.randomness import generator
from shared.tasks import TASKS, load_task, published
from shared.tasks.task import Task
from tests.support import checksummed
from tests.support.command_line import check_refused, script

TEXT = "the cat sat on the mat\n\nthe dog sat on a log, and on the cat\n"

FIRST = "checkpoint-0.safetensors"


def made(folder: Path, data: Data, **options: Any) -> tuple[Path, Task]:
    """A run folder with random weights: as good as trained ones here, and there in no time."""
    (name,) = (name for name, row in TASKS.items() if type(row.defaults.data) is type(data))
    defaults = replace(TASKS[name].defaults, backend="torch", data=data, precision="float64")
    network = NetworkConfig(cell="gru", hidden_size=4, bidirectional=name == "vowels")
    config = resolve(replace(defaults, network=network, **options))
    task = load_task(config)
    folder.mkdir()
    save_config(folder, config)
    save_schema(folder, schema_of(config, task))
    signature = task.signature
    shapes = network_shapes(config.network, signature.input_size, signature.output_size)
    draw = generator(3, "weights of a test")
    weights = {key: draw.normal(0, 0.7, shape) for key, shape in shapes.items()}
    checkpoint.write(folder / FIRST, Checkpoint(Snapshot.of(weights), task.fingerprint))
    return folder, task


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def text(folder: Path) -> tuple[Path, Task]:
    path = folder / "text.txt"
    path.write_text(TEXT * 20, encoding="utf-8")
    return made(folder / "text", TextData(str(path)), batch_size=2, bptt=20)


@pytest.fixture(scope="module")
def words(folder: Path) -> tuple[Path, Task]:
    path = folder / "words.txt"
    path.write_text(TEXT * 20, encoding="utf-8")
    data = TextData(str(path), unit="word", split=(0.6, 0.2, 0.2))
    return made(folder / "words", data, batch_size=2, bptt=9)


@pytest.fixture(scope="module")
def hello(folder: Path) -> tuple[Path, Task]:
    return made(folder / "hello", HelloData())


SERIES: dict[str, Data] = {
    "volume": VolumeData(),
    "volume of changes": VolumeData(difference=True, weekday=False),
    "weather": WeatherData(),
    "weather of changes": WeatherData(difference=True),
    "sunspots": SunspotsData(),
}


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, tuple[Path, Task]]:
    found = {name: made(folder / name.replace(" ", "-"), data) for name, data in SERIES.items()}
    return found | {"vowels": made(folder / "vowels", VowelsData())}


def table(task: Task, rows: slice) -> dict[str, np.ndarray]:
    """The published columns of a series, dated where it has dates."""
    assert task.series is not None
    found = published.load(task.name)
    columns = {c.name: found[c.name][rows] for c in task.series.columns}
    if "date" not in found:
        return columns
    return {"date": found["date"][rows].astype("datetime64[D]").astype(str)} | columns


def write_csv(file: Path, columns: dict[str, np.ndarray]) -> Path:
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values()))]  # noqa: B905
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
@pytest.mark.parametrize("name", SERIES)
def test_forecasts_are_what_the_network_says_of_the_published_rows(
    name: str, suffix: str, runs, tmp_path: Path
) -> None:
    """The last rows of a data set: the forecasts of a task's test part, and one more."""
    run, task = runs[name]
    trained = load_trained(run)
    series = task.series
    assert series is not None
    rows = table(task, slice(-series.window - 30, None))
    file = tmp_path / f"rows{suffix}"
    if suffix == ".npz":
        np.savez(file, **rows)  # pyright: ignore[reportArgumentType]
    else:
        write_csv(file, rows)
    records = predict.predictions(trained, file)
    assert len(records) == 31
    inputs = task.test.inputs[-30:]
    outputs, _ = trained.backend.predict(trained.state, inputs)
    level = inputs[:, -1, 0] if series.difference else 0
    expected = (outputs[:, 0] + level) * series.target.std + series.target.mean
    unit = f" ({series.target.unit})" if series.target.unit else ""
    predicted, actual = (f"{kind} {series.target.name}{unit}" for kind in ("predicted", "actual"))
    np.testing.assert_allclose([r[predicted] for r in records[:-1]], expected, rtol=1e-6)
    true = published.load(task.name)[series.target.name][-30:]
    np.testing.assert_allclose([r[actual] for r in records[:-1]], true, rtol=1e-6)
    assert records[-1][actual] is None
    assert math.isfinite(records[-1][predicted])
    first = "row" if task.name == "sunspots" else "date"
    assert list(records[0]) == [first, predicted, actual]
    assert task.times is not None
    if first == "date":
        assert [r["date"] for r in records[:-1]] == task.times[-30:].astype(str).tolist()
    else:
        assert [r["row"] for r in records] == list(range(37, 68))


@pytest.mark.parametrize(
    ("last", "after"),
    [("2024-03-01", "2024-03-04"), ("2024-03-04", "2024-03-05"), ("2024-02-29", "2024-03-01")],
)
def test_the_day_after_friday_is_monday_where_weekdays_count(
    last: str, after: str, runs, tmp_path: Path
) -> None:
    run, task = runs["volume"]
    trained = load_trained(run)
    columns = table(task, slice(-5, None))
    columns["date"] = np.busday_offset(np.datetime64(last), np.arange(-4, 1)).astype(str)
    (record,) = predict.predictions(trained, write_csv(tmp_path / "week.csv", columns))
    assert record["date"] == after
    columns["date"] = np.busday_offset(np.datetime64(last), np.arange(-3, 2)).astype(str)
    (other,) = predict.predictions(trained, write_csv(tmp_path / "week.csv", columns))
    assert other["predicted log_volume"] != record["predicted log_volume"]


def test_every_day_has_weather(runs, tmp_path: Path) -> None:
    run, task = runs["weather"]
    records = predict.predictions(
        load_trained(run), write_csv(tmp_path / "days.csv", table(task, slice(-7, None)))
    )
    assert [record["date"] for record in records] == ["2016-01-01"]


@pytest.mark.parametrize(
    ("dates", "after"),
    [
        (["1983-12-31", "1984-01-31"], "1984-02-29"),
        (["1983-03-31", "1983-04-30"], "1983-05-31"),
        (["1983-03-30", "1983-04-30"], "1983-05-30"),
        (["1982-12-30", "1983-01-30"], "1983-02-28"),
    ],
)
def test_after_a_long_month_comes_a_short_one(dates: list[str], after: str) -> None:
    found = predict._times(np.array(dates, "datetime64[D]"), 2, False, "month")
    assert [str(day) for day in found] == [*dates, after]


def test_a_month_follows_a_month(runs, tmp_path: Path) -> None:
    run, _ = runs["sunspots"]
    months = np.array([f"{1978 + m // 12}-{m % 12 + 1:02d}-15" for m in range(36)])
    columns = {"date": months, "monthly": np.arange(36.0)}
    records = predict.predictions(load_trained(run), write_csv(tmp_path / "m.csv", columns))
    assert [record["date"] for record in records] == ["1981-01-15"]


@pytest.mark.parametrize(("name", "step"), [("weather", "day"), ("sunspots", "month")])
def test_a_day_or_month_that_is_missing_is_named(name: str, step: str, runs, tmp_path) -> None:
    run, task = runs[name]
    whole = table(task, slice(-60, None))
    if "date" not in whole:
        whole["date"] = np.datetime64("1978-01") + np.arange(60)
        whole["date"] = whole["date"].astype("datetime64[D]")
    gap = {key: np.delete(column, 50) for key, column in whole.items()}
    before, after = whole["date"][49], whole["date"][51]
    with pytest.raises(InvalidInput, match=f"a row for each {step}, got {after} after {before}$"):
        predict.predictions(load_trained(run), write_csv(tmp_path / "gap.csv", gap))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {k: v[:4] for k, v in c.items()},
         "expected at least 5 rows, which the network reads, got 4"),
        (lambda c: {k: v for k, v in c.items() if k != "date"}, "expected columns date, log_vol"),
        (lambda c: c | {"date": np.arange("2024-03-01", "2024-03-09", dtype="datetime64[D]")},
         "expected days from Monday to Friday, got 2024-03-02, a weekend"),
    ],
    ids=["too few rows", "no dates", "weekend"],
)  # fmt: skip
def test_rows_that_are_no_series_are_refused(change, message: str, runs, tmp_path: Path) -> None:
    run, task = runs["volume"]
    file = write_csv(tmp_path / "rows.csv", change(table(task, slice(-8, None))))
    with pytest.raises(InvalidInput, match=f"rows.csv: {message}"):
        predict.predictions(load_trained(run), file)


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
    monkeypatch.setattr("shared.inference.predict.EVALUATION_ROWS", 3)
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
    monkeypatch.setattr("shared.inference.predict.WINDOW", 7)
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


@pytest.mark.parametrize("option", ["--temperature", "--top-k", "--top-p", "--seed", "--length"])
def test_a_translation_is_not_drawn(option: str, tmp_path: Path, call) -> None:
    pytest.importorskip("num2words")
    run, _ = made(tmp_path / "translate", TranslateData(largest=42))
    refused = call("sample.py", "--run", str(run), "--prompt", "one", option, "1")
    check_refused(refused, f"{option}: a translation is searched (--beams)")


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
    assert predict.answer(trained, "one", 5, "") == records[1]["answer"]
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


def test_the_best_checkpoint_is_taken_where_there_is_one(hello, tmp_path: Path) -> None:
    run = shutil.copytree(hello[0], tmp_path / "run")
    found = checkpoint.read(run / FIRST)
    weights = {name: 2 * array for name, array in found.snapshot.weights.items()}
    best = found._replace(
        snapshot=Snapshot(weights, {}, (), 7), best={"loss": 0.1, "accuracy": 1.0, "step": 7}
    )
    checkpoint.write(run / "checkpoint-7.safetensors", best)
    last = best._replace(snapshot=Snapshot(found.snapshot.weights, {}, (), 30))
    checkpoint.write(run / "checkpoint-30.safetensors", last)
    trained = load_trained(run)
    assert trained.step == 7
    exported = trained.backend.export(trained.state).weights
    assert all((exported[name] == array).all() for name, array in weights.items())
    assert load_trained(hello[0]).step == 0


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


def test_sample_writes_on_from_the_prompt(text, hello, tmp_path: Path, call) -> None:
    options = ("--run", str(text[0]), "--prompt", "the ", "--length", "40", "--seed")
    first, again, other = (call("sample.py", *options, seed).stdout for seed in ("1", "1", "2"))
    assert first == again != other
    assert first.startswith("the ")
    assert len(first) == 4 + 40 + 1
    greedy = ("--run", str(hello[0]), "--prompt", "h", "--length", "3", "--temperature", "0")
    written = call("sample.py", *greedy).stdout.rstrip("\n")
    trained, tokens = load_trained(hello[0]), "h"
    for _ in range(3):
        at = np.array([[trained.schema.vocabulary.index(c) for c in tokens]], np.int32)
        outputs, _ = trained.backend.predict(trained.state, at)
        tokens += trained.schema.vocabulary[outputs[0, -1].argmax()]
    assert written == tokens


@pytest.mark.parametrize("prompt", ["the", "the ", "the\n"])
def test_words_follow_a_prompt_with_one_blank_between(prompt: str, words, call) -> None:
    options = ("--run", str(words[0]), "--length", "9", "--seed", "3", "--prompt")
    written = call("sample.py", *options, prompt).stdout.removeprefix(prompt)
    first = written[: len(written) - len(written.lstrip(" "))]
    assert first == ("" if prompt[-1].isspace() or written[0] == "\n" else " ")


def damage(run: Path, case: str) -> None:
    """Makes a run folder what a case needs."""
    if case in ("no run folder", "no configuration"):
        (run / "config.json").unlink()
    elif case == "no checkpoint":
        (run / FIRST).unlink()
    elif case == "no schema":
        (run / "schema.json").unlink()
    elif case == "schema of another task":
        told = json.loads((run / "schema.json").read_text())
        checksummed.write(run / "schema.json", told | {"task": "parity"})
    elif case == "schema of another version":
        (run / "schema.json").write_text('{"task": "hello"}')
    elif case == "schema of another size":
        told = json.loads((run / "schema.json").read_text())
        checksummed.write(run / "schema.json", told | {"output_size": 7})
    elif case == "weights of another shape":
        found = json.loads((run / "config.json").read_text())
        found["network"]["hidden_size"] = 5
        checksummed.write(run / "config.json", found)
    elif case == "checkpoint of another vocabulary":
        found = checkpoint.read(run / FIRST)
        checkpoint.write(run / FIRST, found._replace(data="0123abcd"))
    elif case == "damaged checkpoint":
        (run / FIRST).write_bytes((run / FIRST).read_bytes()[:-9])
    elif case == "empty checkpoint":
        (run / FIRST).write_bytes(b"")


DAMAGED = {
    "no configuration": ["expected a run folder, with a config.json"],
    "no checkpoint": ["expected a checkpoint", "got none"],
    "no schema": ["got one without schema.json"],
    "schema of another task": ["schema.json: expected task hello", "got parity"],
    "schema of another version": ["schema.json: no schema of this version"],
    "schema of another size": ["schema.json: expected no more outputs than tokens"],
    "weights of another shape": [FIRST, "the configuration beside it expects (15,"],
    "checkpoint of another vocabulary": [FIRST, "of the data in schema.json", "(0123abcd)"],
    "damaged checkpoint": [FIRST, "expected a checkpoint, got"],
    "empty checkpoint": [FIRST, "expected a checkpoint, got"],
}  # fmt: skip


@pytest.mark.parametrize("name", ["sample.py", "predict.py"])
@pytest.mark.parametrize("case", DAMAGED)
def test_a_run_that_is_damaged_is_refused_in_one_line(
    case: str, name: str, hello, tmp_path: Path, call
) -> None:
    run = shutil.copytree(hello[0], tmp_path / "run")
    damage(run, case)
    (tmp_path / "a.txt").write_text("hello")
    before = sorted(tmp_path.rglob("*"))
    more = ("--prompt", "h") if name == "sample.py" else ("--input", "a.txt", "--out", "o.csv")
    refused = call(name, "--run", "run", *more)
    check_refused(refused, f"{name}: ", *DAMAGED[case])
    assert refused.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def in_series(**values: Any) -> Callable[[dict], object]:
    return lambda told: told["series"].update(values)


def in_first_column(**values: Any) -> Callable[[dict], object]:
    return lambda told: told["series"]["columns"][0].update(values)


UNTRUE = [
    ("weather", in_series(window=0), "a value after each window"),
    ("weather", in_series(columns=[]), "the columns that a series reads"),
    ("weather", in_series(known=None), "the columns that a series reads"),
    ("weather", in_first_column(name="x"), "the columns that a series reads"),
    ("weather", in_first_column(std=0.0), "the columns that a series reads"),
    ("weather", lambda told: told["series"]["columns"][1].update(std=0.0), "finite means"),
    ("weather", lambda told: told.update(per_step=True), "a value after each window"),
    ("weather", lambda told: told.update(tokens=True), "a vocabulary for tokens"),
    ("weather", lambda told: told.update(output_size=2), "one value where errors are squared"),
    ("vowels", lambda told: told.update(mean=[1.0] * 3), "a mean and a deviation"),
    ("vowels", lambda told: told.update(std=[]), "a mean and a deviation"),
    ("vowels", lambda told: told.update(mean=[math.nan] * 12), "finite means"),
    ("vowels", lambda told: told.update(classes=["a"]), "a name for each class"),
    ("hello", lambda told: told["vocabulary"].pop(), "a vocabulary for tokens"),
    ("hello", lambda told: told.update(between="h", end="#"), "tokens between and after"),
    ("hello", lambda told: told.update(between="h"), "tokens between and after"),
]


@pytest.mark.parametrize(("name", "change", "expected"), UNTRUE)
def test_a_schema_that_no_run_writes_is_refused(
    name: str, change: Callable[[dict], object], expected: str, hello, runs, tmp_path: Path
) -> None:
    run = shutil.copytree((runs | {"hello": hello})[name][0], tmp_path / "run")
    told = json.loads((run / "schema.json").read_text(encoding="utf-8"))
    change(told)
    checksummed.write(run / "schema.json", told)
    with pytest.raises(InvalidInput, match=rf"schema\.json: expected {expected}.*, got a damaged"):
        load_trained(run)


BAD_SAMPLE = {
    "no run": (["--run", "nowhere"], ["nowhere: expected a run folder, with a config.json"]),
    "nothing": ([], ["--run"]),
    "unknown character": (
        ["--run", "hello", "--prompt", "hex"],
        ["--prompt: expected characters that the run knows (ehlo), got 'x' at character 3"],
    ),
    "empty prompt": (["--run", "hello", "--prompt", ""], ["--prompt: expected text, got none"]),
    "no prompt": (["--run", "hello"], ["--prompt: expected a text to go on from, got none"]),
    "beams of a text": (["--run", "hello", "--prompt", "h", "--beams", "3"], ["--beams", "hello"]),
    "unknown word": (
        ["--run", "words", "--prompt", "the zebra"], ["(<unk> <eos> the ", "got 'zebra' at word 2"],
    ),
    "top-p of 0": (["--run", "hello", "--top-p", "0"], ["--top-p", "got 0"]),
    "top-p above 1": (["--run", "hello", "--top-p", "1.5"], ["--top-p", "got 1.5"]),
    "top-k of 0": (["--run", "hello", "--top-k", "0"], ["--top-k: expected a", "got 0"]),
    "no length": (["--run", "hello", "--length", "0"], ["--length: expected 1 or more, got 0"]),
    "negative temperature": (["--run", "hello", "--temperature", "-1"], ["--temperature"]),
    "temperature of nan": (["--run", "hello", "--temperature", "nan"], ["--temperature"]),
    "negative seed": (["--run", "hello", "--seed", "-1"], ["--seed", "-1"]),
    "no beams": (["--run", "hello", "--beams", "0"], ["--beams", "got 0"]),
    "no text": (["--run", "weather"], ["--run weather: expected a network that writes text"]),
    "unknown backend": (["--run", "hello", "--backend", "mxnet"], ["mxnet"]),
}  # fmt: skip
BAD_PREDICT = {
    "no run": (["--run", "nowhere"], ["nowhere: expected a run folder, with a config.json"]),
    "no file": (["--run", "hello", "--input", "none.txt"], ["none.txt: expected a readable file"]),
    "unknown character": (["--run", "hello", "--input", "bad.txt"], ["line 2", "got 'x'"]),
    "empty file": (["--run", "hello", "--input", "empty.txt"], ["empty.txt", "got an empty file"]),
    "not UTF-8": (["--run", "hello", "--input", "latin.txt"], ["latin.txt: expected UTF-8 text"]),
    "beams of a text": (["--run", "hello", "--beams", "3"], ["--beams", "hello"]),
    "other columns": (["--run", "weather", "--input", "a.csv"], ["a.csv: expected columns date"]),
    "a folder in the way": (
        ["--run", "hello", "--out", "d.csv", "--overwrite"], ["--out d.csv", "got a folder"],
    ),
    "a folder of the system": (["--run", "hello", "--out", "/proc/o.csv"], ["--out /proc"]),
    "a long name": (["--run", "hello", "--out", "a" * 300 + ".csv"], ["too long"]),
    "a long name of a run": (["--run", "a" * 300], ["too long"]),
    "a page in the way": (["--run", "hello", "--out", "a.csv"], ["--out a.csv: exists"]),
    "wrong suffix": (["--run", "hello", "--out", "o.txt"], ["--out o.txt", ".csv or .json"]),
    "no suffix": (["--run", "hello", "--out", "csv"], ["--out csv", ".csv or .json"]),
    "no folder": (["--run", "hello", "--out", "x/o.csv"], ["--out x/o.csv", "a folder"]),
    "too many beams": (["--run", "hello", "--beams", "1001"], ["--beams", "got 1001"]),
}  # fmt: skip
BAD = [("sample.py", case) for case in BAD_SAMPLE] + [("predict.py", case) for case in BAD_PREDICT]


@pytest.mark.parametrize(("name", "case"), BAD)
def test_what_cannot_be_used_is_refused_in_one_line_and_nothing_is_written(
    name: str, case: str, hello, words, runs, tmp_path: Path, call
) -> None:
    for run in (hello[0], words[0], runs["weather"][0]):
        (tmp_path / run.name).symlink_to(run)
    for file, content in (("good.txt", b"hello"), ("bad.txt", b"hello\nhex"), ("empty.txt", b""),
                          ("latin.txt", b"h\xe9llo"), ("a.csv", b"a,b\n1,2\n")):  # fmt: skip
        (tmp_path / file).write_bytes(content)
    (tmp_path / "d.csv").mkdir()
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    arguments, expected = (BAD_SAMPLE if name == "sample.py" else BAD_PREDICT)[case]
    if name == "predict.py" and "--input" not in arguments:
        arguments = [*arguments, "--input", "good.txt"]
    refused = call(name, *arguments)
    check_refused(refused, f"{name}: ", *expected)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before


def test_the_scripts_refuse_as_processes_too(tmp_path: Path) -> None:
    for name in ("sample.py", "predict.py"):
        more = ("--input", "none.txt") if name == "predict.py" else ("--prompt", "hex")
        refused = script(name, "--run", "nowhere", *more, cwd=tmp_path)
        check_refused(refused, f"{name}: ", "nowhere")
    assert not list(tmp_path.iterdir())
