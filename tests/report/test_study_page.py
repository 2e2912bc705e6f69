"""The page of a study shows what validation says of all combinations, and the test of the best."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.config import Config
from shared.config.data import GeneratedData
from shared.config.settings import NetworkConfig
from shared.report.study_axes import axes, colors, placed
from shared.report.study_page import summary_lines, write_study
from shared.runs import read_run
from shared.runs.study import (
    PAGE,
    TABLE,
    Combination,
    Look,
    Study,
    finished,
    ranked,
    read_test_scores,
)
from shared.tasks import TASKS
from shared.training import train
from tests.support.browser import opened, wait_until
from tests.support.made_up_study import made_up

BASE = replace(
    TASKS["last-value"].defaults, network=NetworkConfig(hidden_size=4), epochs=3, batch_size=8,
    backend="torch", data=GeneratedData(40, 16, 16, 5, 3),
)  # fmt: skip


def config_of(number: int, seed: int) -> Config:
    return replace(BASE, network=NetworkConfig(hidden_size=number), seed=seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of a study whose third combination failed."""
    folder = tmp_path_factory.mktemp("study")
    for number in (1, 2):
        for seed in (0, 1):
            train(config_of(number, seed), folder / f"trials/00{number}-{seed}", quiet=True)
    return folder


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    """The study, with a look at the best."""
    made = made_up([[1.0, 1.0], [1.0, 1.0], "the training loss is <inf>; --resume finds more"])
    combinations = [
        Combination(one.number, one.values, [finished(trial, folder, None) for trial in one.trials])
        for one in made.combinations[:2]
    ]
    made = replace(made, combinations=[*combinations, made.combinations[2]])
    best = ranked(made)[0].combination
    return replace(made, looks=[Look(best.number, 2, read_test_scores(folder, best))])


@pytest.fixture(scope="module")
def page(study: Study, folder: Path) -> Path:
    write_study(study, folder, "rnn-parity study …", "rnn-parity run … <1>")
    return folder / PAGE


def data_in(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="study-data">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


def text_of(page: str) -> str:
    """The page up to its scripts, with single blanks."""
    return " ".join(page.partition("<script")[0].split())


def test_the_page_has_every_combination_and_why_one_failed(page: Path, study: Study) -> None:
    text = text_of(page.read_text())
    assert "last-value: 3 combinations of hidden-size" in text
    assert re.findall(r"<tr><td>(.)</td><td>(\d)</td>", text) == [
        ("1", str(ranked(study)[0].combination.number)),
        ("2", str(ranked(study)[1].combination.number)),
        ("–", "3"),
    ]
    assert "<li>3: the training loss is &lt;inf&gt;</li>" in text
    assert "It was read once, after the best of 2 combinations was chosen" in text
    assert "<pre>rnn-parity run … &lt;1&gt;</pre>" in text


def test_no_test_score_of_another_combination_is_on_the_page(
    page: Path, study: Study, folder: Path
) -> None:
    other = ranked(study)[1].combination
    known = {value for look in study.looks for values in look.scores.values() for value in values}
    written = page.read_text().partition("<script>")[0] + (folder / TABLE).read_text()
    hidden = [
        value
        for trial in other.trials
        for name, value in read_run(folder / trial.folder).summary.test.items()
        if name == "loss" and value not in known
    ]
    assert len(hidden) == 2
    for value in hidden:
        for digits in (4, 5, 6):
            assert f"{value:.{digits}g}" not in written
    assert study.looks[0].combination != other.number


def test_the_curves_are_those_of_validation_with_the_best_last(
    page: Path, study: Study, folder: Path
) -> None:
    curves = data_in(page.read_text())["curves"]
    best = ranked(study)[0].combination.number
    assert [one["best"] for one in curves] == [False, False, True, True]
    assert [one["number"] for one in curves] == [3 - best, 3 - best, best, best]
    expected = read_run(folder / f"trials/00{best}-1").curves["valid"]
    assert curves[-1]["value"] == pytest.approx(expected.loss, rel=1e-5)
    assert curves[-1]["epoch"] == expected.epoch.tolist() == [1, 2, 3]


def test_more_looks_are_said(study: Study, folder: Path) -> None:
    look = study.looks[0]
    again = replace(study, looks=[replace(look, of=1), look])
    write_study(again, folder, "", "")
    text = text_of((folder / PAGE).read_text())
    assert "Test scores were read 2 times" in text
    assert "(after 1, then 2 combinations)" in text
    assert "read once" not in text
    write_study(study, folder, "rnn-parity study …", "rnn-parity run … <1>")


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([[1.0, 3.0], [2.5, 2.5]], "hidden-size 2: validation loss 2.5 ± 0; within one standard "
         "error of the best, so which is better is not known"),
        ([[1.0, 3.0], [3.5, 3.5]], "hidden-size 2: validation loss 3.5 ± 0"),
    ],
)  # fmt: skip
def test_a_close_second_is_said(scores: list, said: str, folder: Path) -> None:
    lines = summary_lines(made_up(scores, looks=[Look(1, 2, {"loss": [0.5, 0.7]})]), folder)
    assert lines == [
        "best of 2: hidden-size 1: validation loss 2 ± 1 (mean ± standard error of 2 seeds)",
        f"second: {said}",
        "test, of the best alone: loss 0.6000 ± 0.1414",
    ]


def test_of_one_seed_nothing_is_said_about_chance_and_failures_are_counted(folder: Path) -> None:
    made = made_up([[0.75], "it diverged; advice", [0.25]], by="accuracy")
    lines = summary_lines(replace(made, looks=[Look(1, 2, {"accuracy": [0.5]})]), folder)
    assert lines == [
        "best of 2: hidden-size 1: validation accuracy 75.0 %",
        "second: hidden-size 3: validation accuracy 25.0 %; of one seed, whether that is chance is "
        "not known: --seeds 0..2 would tell",
        "test, of the best alone: accuracy 50.0 %",
        "failed: 1 of 3 combinations; the same command tries them again. The first: it diverged",
    ]


def test_places_on_the_axes() -> None:
    values = [
        {"rate": "0.001", "cell": "rnn", "size": "16", "drop": "0.1"},
        {"rate": "0.01", "cell": "gru", "size": "64", "drop": "0.1"},
        {"rate": "1.0", "cell": "lstm", "size": "32", "drop": "0.2"},
    ]
    space = {
        "rate": ["log:0.0001..1"], "cell": ["rnn", "gru", "lstm"], "size": ["16", "64", "32"],
        "drop": ["0..0.5"],
    }  # fmt: skip
    study = made_up([[2.0], [1.0], "it diverged"], space=space, values=values)
    lines = {line["number"]: line for line in placed(study)}
    assert lines[1]["at"] == pytest.approx([0.25, 0, 0, 0.2, 1])
    assert lines[2]["at"] == pytest.approx([0.5, 0.5, 1, 0.2, 0])
    assert lines[3]["at"] == [*map(pytest.approx, [1, 1, 1 / 3, 0.4]), None]
    assert [line["best"] for line in placed(study)] == [False, False, True]
    assert lines[3]["color"] is None
    assert colors(study) == {1: lines[1]["color"], 2: lines[2]["color"]}
    told = {one["name"]: [tick["text"] for tick in one["ticks"]] for one in axes(study)}
    assert told == {
        "rate": ["0.0001", "0.001", "0.01", "0.1", "1"], "cell": ["rnn", "gru", "lstm"],
        "size": ["16", "64", "32"], "drop": ["0", "0.125", "0.25", "0.375", "0.5"],
        "validation loss": ["1", "1.25", "1.5", "1.75", "2"],
    }  # fmt: skip


def test_the_best_is_blue_and_the_worst_orange_whatever_the_direction() -> None:
    lower, higher = (colors(made_up([[0.1], [0.9]], by=by)) for by in ("loss", "accuracy"))
    assert (lower[1], lower[2]) == ("rgb(26,127,212)", "rgb(235,120,20)")
    assert (higher[2], higher[1]) == (lower[1], lower[2])


def test_scores_that_are_far_apart_and_equal_ones_have_places() -> None:
    wide = {line["number"]: line["at"][-1] for line in placed(made_up([[1.0], [10.0], [100.0]]))}
    assert wide == pytest.approx({1: 0, 2: 0.5, 3: 1})
    equal = made_up([[2.0], [2.0]])
    assert [line["at"][-1] for line in placed(equal)] == [0.5, 0.5]
    assert axes(equal)[-1]["ticks"] == [{"at": 0.5, "text": "2"}]


def test_a_browser_draws_both_figures_and_says_nothing(page: Path, browser: Any) -> None:
    with opened(browser, page) as looked:
        drawn = "document.querySelectorAll('.js-plotly-plot').length === 2"
        wait_until(looked.page, drawn)
        counts = looked.page.evaluate("[axesFigure, curvesFigure].map((one) => one.data.length)")
        assert counts == [3, 4]
        assert looked.said == []
        assert looked.asked == [page.as_uri()]
