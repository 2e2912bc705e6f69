"""Data in memory makes the same task as the file that holds it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shared.errors import InvalidInput
from shared.notebook import Problem, fit_seeds, forecast, labels, pairs, sequences, task
from tests.notebook.conftest import table

SERIES = {"target": "sales", "time": "day", "group": "shop", "window": 6, "horizon": 2}
WORDS = ("fine", "good", "bad", "poor")
TEXTS = [f"{WORDS[i % 4]} thing {i}" for i in range(40)]
LABELS = [("up", "up", "down", "down")[i % 4] for i in range(40)]


def stepwise(seed: int = 0, count: int = 40) -> tuple[list[np.ndarray], list[str]]:
    """Sequences of unequal lengths, and a class for each."""
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=(steps, 2)).round(3) for steps in rng.integers(2, 6, count)]
    return inputs, [("odd", "even")[i % 2] for i in range(count)]


def test_a_series_is_the_same_in_a_file_and_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    frame = pl.DataFrame(table())
    frame.write_csv(file)
    made = [forecast(file, **SERIES), forecast(str(file), **SERIES), forecast([file], **SERIES)]
    made += [forecast(frame, **SERIES), forecast(table(), **SERIES)]
    assert len({one.data.fingerprint for one in made}) == 1
    path = (str(file),)
    assert [one.config.data.path for one in made] == [path, path, path, (), ()]  # pyright: ignore
    assert made[-1].config.epochs == made[0].config.epochs


def test_arrays_of_sequences_are_a_list_of_them() -> None:
    inputs, targets = stepwise()
    lengths = np.array([len(one) for one in inputs])
    padded = np.zeros((len(inputs), lengths.max(), 2))
    for row, one in zip(padded, inputs, strict=True):
        row[: len(one)] = one
    parts = (["train"] * 2 + ["valid", "test"] * 1) * 10
    first = sequences(inputs, targets, parts=parts)
    second = sequences(padded, targets, lengths, parts=np.array(parts).tolist())
    assert first.data.fingerprint == second.data.fingerprint
    assert [len(p.inputs) for p in (first.data.train, first.data.test)] == [20, 10]
    assert first.data.classes == ("even", "odd")


def test_texts_and_pairs_are_the_same_in_a_table(tmp_path: Path) -> None:
    table = {"text": TEXTS, "label": LABELS}
    pl.DataFrame(table).write_csv(tmp_path / "reviews.csv")
    made = [labels(TEXTS, LABELS), labels(table), labels(tmp_path / "reviews.csv")]
    assert len({one.data.fingerprint for one in made}) == 1
    backwards = [text[::-1] for text in TEXTS]
    made = [
        pairs(TEXTS, backwards),
        pairs({"en": TEXTS, "fr": backwards}, source="en", target="fr"),
    ]
    assert len({one.data.fingerprint for one in made}) == 1


def test_a_problem_says_what_it_is() -> None:
    found = labels(TEXTS, LABELS)
    assert {"class frequencies"} < {*found.baselines}
    assert repr(found).startswith("Problem(task: labels, source: your texts, ")
    assert "<tr><th>task</th><td>labels</td></tr>" in found._repr_html_()
    hello = task("hello", words=["a<b", "b<a"])
    assert hello.facts == {
        "task": "hello",
        "source": hello.data.source,
        "training": "2",
        "test": "2",
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: task("helo"), "^--task: expected one of hello, "),
        (
            lambda: task("hello", word="a"),
            r"^task hello: got an unknown option word; did you mean wo",
        ),
        (lambda: forecast(table(), "sale"), r"^the table: expected a column 'sale', .*'sales'\?$"),
        (
            lambda: forecast(table(), "sales", windw=3),
            r"^forecast: .* windw; did you mean window\?$",
        ),
        (lambda: forecast(table(), "sales", window="3"), "^--data.window: expected an integer"),
        (
            lambda: forecast("a.csv", "sales", path="b.csv"),
            "^forecast: expected the file as the fi",
        ),
        (lambda: forecast("nothing.csv", "sales"), "nothing.csv: expected a readable file"),
        (
            lambda: sequences(table(), lengths=[1], target="sales"),
            "^sequences: lengths goes with tar",
        ),
        (
            lambda: labels(TEXTS),
            "^labels: expected labels beside the texts, or files, got 'fine th",
        ),
        (
            lambda: labels({"text": TEXTS}, parts=["train"]),
            "^labels: parts goes with labels beside",
        ),
        (lambda: labels(TEXTS, LABELS[:-1]), "40.*39|39.*40"),
        (
            lambda: pairs(TEXTS, TEXTS, sources="a"),
            r"^pairs: got an unknown option sources; did you mean",
        ),
    ],
)
def test_what_makes_no_task_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        make()


def test_settings_of_training_do_not_change_the_problem() -> None:
    found: Problem = forecast(table(), **SERIES)
    assert found.config.network.highway is None
    assert found.data.series is not None
    assert found.data.series.window == 6


def in_a_file(name: str, folder: Path) -> tuple[Problem, Path]:
    file = folder / ("sales.csv" if name == "forecast" else "book.txt")
    if name == "forecast":
        pl.DataFrame(table()).write_csv(file)
        return forecast(file, **SERIES), file
    file.write_text("so it goes. " * 200, encoding="utf-8")
    return task("text", path=str(file)), file


@pytest.mark.parametrize("name", ["forecast", "text"])
def test_all_runs_of_a_problem_have_its_data_or_are_refused(name: str, tmp_path: Path) -> None:
    problem, file = in_a_file(name, tmp_path)
    other = replace(problem.config, seed=problem.config.seed + 1, batch_size=4)
    assert problem.data_for(problem.config) is problem.data
    again = problem.data_for(other)
    assert again is (problem.data if name == "forecast" else None)
    content = file.read_bytes()
    last = content.splitlines()[-1].replace(b"2024-04-29", b"2024-04-30").replace(b" so", b" no")
    file.write_bytes(content + last + b"\n")
    said = (
        f"^{re.escape(str(file))}: expected the data that the task was made of, got other data: "
        "the file was changed since; make the task again$"
    )
    with pytest.raises(InvalidInput, match=said):
        problem.data_for(other)
    with pytest.raises(InvalidInput, match=said):
        fit_seeds(problem, range(2), "torch", epochs=1, quiet=True)
    assert problem.data_for(problem.config) is problem.data
    file.write_bytes(content)
    assert problem.data_for(other) is again


def test_data_in_memory_and_data_that_is_drawn_are_not_read_again() -> None:
    own, drawn = forecast(table(), **SERIES), task("hello")
    assert own.data_for(replace(own.config, seed=9)) is own.data
    assert drawn.data_for(replace(drawn.config, seed=9)) is None
    own.check_unchanged()
    drawn.check_unchanged()
