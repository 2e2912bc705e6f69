"""A model card says what is so: facts, scores beside the baselines, and what not to use it for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.config import resolve
from shared.config.data import ForecastData
from shared.protocol.dataset import Signature, Split
from shared.protocol.windows import Windows
from shared.report.card_limits import against_baselines
from shared.report.model_card import chosen, does, write_card
from shared.runs import read_run
from shared.runs.about import facts
from shared.runs.run_folder import CARD
from shared.runs.summary import Reference
from shared.tasks import TASKS
from shared.tasks.parts import IN_TRAINING, TESTED, UNTESTED
from shared.tasks.task import Column, Measured, Scale, Series, Task
from shared.training import train
from tests.support import stub_runs
from tests.support.stub_runs import Made, stub

BEHIND = {
    "score": "rmse", "unit": "€", "test": {"rmse": 18.5, "mase": 1.25, "rmse_1": 10, "rmse_7": 20},
    "baselines": [Reference("AR(14)", {"rmse": 18.2}), Reference("last value", {"rmse": 25.0})],
}  # fmt: skip


def card(folder: Path, made: Made, **known: Any) -> str:
    run = stub(folder / "run", *made, **known)
    write_card(run)
    return (run.folder / CARD).read_text()


def test_a_network_behind_a_baseline_is_called_so(tmp_path: Path) -> None:
    text = card(tmp_path, stub_runs.many_series(), **BEHIND)
    assert (
        "**It is no better than a predictor without a network**: RMSE 18.500 €, against RMSE "
        "18.200 € of AR(14). Use that instead."
    ) in text
    assert "- It is no replacement for AR(14), which is at least as good." in text
    assert "better than every baseline" not in text


@pytest.mark.parametrize(
    ("score", "own", "baselines", "expected"),
    [
        ("rmse", 17.0, {"a": 18.2, "b": 25.0}, "better than every baseline: RMSE 17.000, against "
         "RMSE 18.200 of the best one, a."),
        ("rmse", 18.2, {"a": 18.2}, "no better than a predictor without a network"),
        ("rmse", 18.1999, {"a": 18.2001}, "no better than a predictor without a network"),
        ("accuracy", 0.9, {"a": 0.8, "b": 0.5}, "accuracy 90.0 %, against accuracy 80.0 % of the "
         "best one, a"),
        ("accuracy", 0.7, {"a": 0.8}, "no better"),
        ("mase", 0.7, {"a": 0.8}, "better than every baseline"),
        ("accuracy", 0.7, {}, "There is no baseline with a score like its accuracy 70.0 %"),
    ],
)  # fmt: skip
def test_the_best_baseline_is_told(
    score: str, own: float, baselines: dict[str, float], expected: str, tmp_path: Path
) -> None:
    known = [Reference(name, {score: value}) for name, value in baselines.items()]
    known.append(Reference("something else", {"loss": 0.0}))
    run = stub(
        tmp_path / "run", *stub_runs.labelled(), score=score, test={score: own}, baselines=known
    )
    assert expected in against_baselines(run.summary)


def test_the_card_of_a_forecast_tells_range_horizon_and_series(tmp_path: Path) -> None:
    about = {"rows": "8 645", "to": "2024-09-01", "sales in training": "0 to 41551 €"}
    text = card(tmp_path, stub_runs.many_series(), about=about, source="sales|x.csv", **BEHIND)
    for line in (
        "It reads 14 rows of sales_0, and predicts sales_0 of the next 7 rows.",
        "| source | sales\\|x.csv |",
        "| rows | 8 645 |",
        "On the test part, of 1,430 examples:",
        "| this network | 18.500 | 1.250 |",
        "| without a network: last value | 25.000 | – |",
        "- It predicts the next 7 rows, of a table in days.",
        "- It knows 6 series, each by its own mean and spread, and refuses others.",
        "- In training, sales went from 0 to 41551 €.",
        "- Its data ends at 2024-09-01.",
        "- Its absolute error is 1.25 times that of the naive forecast in the training part.",
        "RMSE 10.000 € at the first step, RMSE 20.000 € at step 7.",
        "a table with the columns store, date, sales_0:",
    ):
        assert line in text


def test_the_card_of_a_forecast_tells_which_series_it_was_not_tested_on(tmp_path: Path) -> None:
    about = {TESTED: "1 of 6", UNTESTED: "b, c, d and 2 more"}
    text = card(tmp_path, stub_runs.many_series(), about=about, **BEHIND)
    assert (
        "- Only 1 of 6 series have forecasts in the test part. Its scores say nothing of b, c, d "
        "and 2 more.\n"
    ) in text
    (tmp_path / "other").mkdir()
    whole = card(tmp_path / "other", stub_runs.many_series(), about={TESTED: "6 of 6"}, **BEHIND)
    assert "| groups with forecasts in the test part | 6 of 6 |" in whole
    assert "Only" not in whole


@pytest.mark.parametrize(
    ("step", "told"),
    [("1d", "days"), ("15m", "steps of 15 minutes"), ("0.5", "steps of 0.5 in column date")],
)
def test_the_card_of_a_forecast_tells_its_step(step: str, told: str, tmp_path: Path) -> None:
    made, found = stub_runs.many_series()
    assert made.series is not None
    made = replace(made, series=replace(made.series, step=step))
    assert f"- It predicts the next 7 rows, of a table in {told}. Further ahead" in card(
        tmp_path, (made, found), **BEHIND
    )


def test_the_card_of_sequences_tells_how_many_of_the_test_it_was_trained_on(tmp_path: Path) -> None:
    scored = {"score": "accuracy", "test": {"accuracy": 0.9}, "baselines": []}
    text = card(tmp_path, stub_runs.classified(3), about={IN_TRAINING: "12"}, **scored)
    assert (
        "- Of the test part's sequences, 12 stand in the training part, too: on new ones its "
        "scores may be worse.\n"
    ) in text
    (tmp_path / "other").mkdir()
    none = card(tmp_path / "other", stub_runs.classified(3), **scored)
    assert "stand in the training part" not in none


def test_the_card_of_sequences_tells_features_classes_and_what_is_missed(tmp_path: Path) -> None:
    told, found = stub_runs.classified(3)
    found["predicted"][found["targets"] == 2] = 0
    text = card(tmp_path, (told, found), score="accuracy", test={"accuracy": 0.9}, baselines=[])
    count = int((found["targets"] == 2).sum())
    for line in (
        "It reads sequences of speed, place, and predicts a class after the last step.",
        "- It was trained on sequences of at most 9 steps.",
        "- It refuses new values of place.",
        "- It knows kind 0, kind 1, kind 2. Whatever is none of these",
        f"- It misses most of these: kind 2 (0.0 % of {count} found).",
        "with id, second, speed, place:",
    ):
        assert line in text


def test_the_card_of_numbers_tells_how_few_they_were_tested_on(tmp_path: Path) -> None:
    text = card(tmp_path, stub_runs.measured_numbers(2), score="r2", test={"r2": 0.9})
    assert "predicts mass_0, mass_1 after the last step." in text
    assert "- The test part has 80 examples only" in text


def test_the_card_of_labels_tells_the_vocabulary_and_the_class_that_is_never_found(
    tmp_path: Path,
) -> None:
    text = card(tmp_path, stub_runs.labelled(), score="accuracy", test={"accuracy": 0.95})
    assert "It reads a text, word by word, and names its label." in text
    assert "- Its vocabulary has 5 tokens, all from the training part." in text
    assert "Other words are one unknown token to it." in text
    assert "- It misses most of these: spam (0.0 % of 10 found)." in text


def test_the_card_of_pairs_tells_how_many_answers_are_wrong(tmp_path: Path) -> None:
    text = card(tmp_path, stub_runs.answered(), score="exact", test={"exact": 0.6})
    assert "It reads a text, and writes another one, character by character." in text
    assert "Of its answers to the test part, 40.0 % are not exactly right" in text
    assert "Other characters it refuses." in text


@pytest.mark.parametrize("first", ["<unk>", "a"])
def test_the_card_of_pairs_tells_of_how_many_sources_its_scores_are(
    first: str, tmp_path: Path
) -> None:
    told, found = stub_runs.answered(60)
    more = {name: np.concatenate([found[name]] * 2) for name in ("predicted", "targets")}
    vocabulary = [first, "b", "<to>", "<end>"]
    test = {"exact": 0.6, "edit_rate": 0.2, "accuracy": 0.9}
    text = card(
        tmp_path,
        (replace(told, vocabulary=vocabulary), {**found, **more}),
        score="exact",
        test=test,
    )
    own = "exactly right, edits" if first == "<unk>" else "edits"
    assert f"of 120 examples ({own}: of the answers to 60 different sources):" in text
    assert "- The test part has 60 different sources only" in text
    assert ("- Its accuracy is no score of the answers" in text) is (first == "<unk>")


def test_a_card_says_how_to_train_prove_and_use_it(tmp_path: Path) -> None:
    run = stub(tmp_path / "my run", *stub_runs.many_series(), "torch")
    data = replace(ForecastData(), path=("sales.csv",), target=("sales",), horizon=7)
    config = replace(run.config, data=data, seed=3)
    write_card(replace(run, config=config))
    text = (run.folder / CARD).read_text()
    assert (
        "    rnn-parity run --backend torch --task forecast --data.path sales.csv --data.target "
        "sales --data.horizon 7 --seed 3\n"
    ) in text
    assert f"    rnn-parity parity --config '{run.folder}'/config.json" in text
    assert f"    rnn-parity predict --run '{run.folder}' --input FILE" in text
    assert f"    fit = rp.load({str(run.folder)!r})" in text
    assert "given in Python" not in text


def test_data_from_python_is_told_where_a_file_is_needed(tmp_path: Path) -> None:
    text = card(tmp_path, stub_runs.many_series())
    assert "Its data was given in Python." in text
    (trains,) = (line for line in text.splitlines() if line.startswith("    rnn-parity run "))
    assert trains.endswith(" --data.path FILE")
    assert f"    rnn-parity parity --config {tmp_path}/run/config.json --data.path FILE\n" in text


def test_options_that_follow_from_others_are_not_repeated() -> None:
    config = resolve(replace(TASKS["hello"].defaults, backend="torch", epochs=7))
    assert chosen(config) == ["--backend torch", "--task hello", "--epochs 7"]


def test_a_score_on_the_training_sequence_says_so(tmp_path: Path) -> None:
    """Of a whole run, as the command writes it."""
    config = replace(TASKS["hello"].defaults, backend="torch", epochs=2)
    train(config, tmp_path / "run", quiet=True)
    run = read_run(tmp_path / "run")
    write_card(run)
    text = (run.folder / CARD).read_text()
    assert "On the sequence that it was trained on, of 1 example:" in text
    assert "trained on, and says nothing of others." in text
    assert "There is no\nvalidation part" in text
    assert "steps 1–2 in torch handcrafted, float32" in text


@pytest.mark.parametrize("name", ["hello", "text", "translate", "vowels", "adding", "parity"])
def test_every_kind_of_task_says_what_it_does(name: str) -> None:
    expected = {
        "hello": ({"tokens": True, "per_step": True}, "reads sequences of tokens, and predicts a "
                  "class at each step"),
        "text": ({"streams": True, "tokens": True, "unit": "word"}, "after each word the next one"),
        "translate": ({"between": ">", "tokens": True}, "writes another one, character by"),
        "vowels": ({}, "reads sequences of numbers, and predicts a class after the last step"),
        "adding": ({"loss": "mse"}, "predicts numbers after the last step"),
        "parity": ({"per_step": True}, "predicts a class at each step"),
    }  # fmt: skip
    options, words = expected[name]
    assert words in does(stub_runs.schema(**options))


def made_task(targets: Any, inputs: Any, lengths: np.ndarray | None = None, **told: Any) -> Task:
    values = Signature(1, 1, tokens=False, per_step=False, loss="mse")
    split = Split(inputs, targets, lengths)
    return Task("made", values, split, split, split, about={"rows": "3"}, **told)


@pytest.mark.parametrize("log", [False, True])
def test_the_range_of_a_number_in_training_is_told_in_its_unit(log: bool) -> None:
    """Not of the padding."""
    column = Column("mass", unit="kg", log=log)
    measured = Measured([Column("x")], [Scale(0.0, 1.0)], [column], [Scale(2.0, 0.5)], [], None)
    targets, lengths = np.array([[[-2.0], [9.0]], [[1.0], [0.0]]]), np.array([1, 2], np.int32)
    low, high = (np.expm1(value) if log else value for value in (1.0, 2.5))
    expected = {"rows": "3", "mass in training": f"{low:.6g} to {high:.6g} kg"}
    assert facts(made_task(targets, np.zeros((2, 2, 1)), lengths, measured=measured)) == expected


@pytest.mark.parametrize("difference", [False, True])
def test_the_range_of_a_series_is_that_of_its_values_in_training(difference: bool) -> None:
    rows = np.array([[5.0], [-4.0], [1.0], [0.0], [2.0], [-3.0], [9.0]])
    series = Series(
        [Column("sales", unit="€")], 1, 2, 2, None, None, None, [], {"": [Scale(10.0, 2.0)]},
        difference,
    )  # fmt: skip
    starts = np.arange(3)
    inputs = Windows(rows, starts, 2)
    targets = Windows(rows, starts + 2, 2, flat=True, relative=difference)
    if difference:  # to what was last read, which is not always the row before
        targets = (rows[np.array([[2, 3], [3, 4], [4, 5]])] - rows[[[1], [2], [3]]])[..., 0]
    expected = {"rows": "3", "sales in training": "4 to 14 €"}
    assert facts(made_task(targets, inputs, series=series)) == expected
    several = replace(series, scales={"a": [Scale(0, 1)], "b": [Scale(0, 1)]})
    assert facts(made_task(targets, inputs, series=several)) == {"rows": "3"}
