"""Combinations are ranked by their mean in validation, and by nothing of the test."""

import math
from pathlib import Path

import numpy as np
import pytest

from shared.runs.study import is_close, ranked
from tests.support.made_up_study import made_up


def numbers(*args, **options) -> list[int]:
    return [one.combination.number for one in ranked(made_up(*args, **options))]


def test_the_lowest_mean_loss_is_the_best() -> None:
    assert numbers([[3, 5], [1, 2], [9, 0]]) == [2, 1, 3]


def test_the_highest_mean_accuracy_is_the_best() -> None:
    assert numbers([[0.5], [0.9], [0.7]], by="accuracy") == [2, 3, 1]
    assert numbers([[0.5], [0.9], [0.7]], by="mae") == [1, 3, 2]


def test_of_equal_combinations_the_earlier_one_is_first() -> None:
    assert numbers([[2], [1], [1]]) == [2, 3, 1]


def test_a_combination_of_which_one_seed_failed_has_no_rank() -> None:
    assert numbers([[2, 2], "it diverged", [3, 3]]) == [1, 3]


def test_the_error_is_the_standard_error_of_the_mean() -> None:
    scores = [0.3, 0.5, 0.9, 0.4]
    (one,) = ranked(made_up([scores]))
    assert one.mean == pytest.approx(np.mean(scores))
    assert one.error == pytest.approx(np.std(scores, ddof=1) / math.sqrt(4))
    (alone,) = ranked(made_up([[0.3]]))
    assert alone.error is None


@pytest.mark.parametrize(
    ("scores", "close"),
    [
        ([[1.0, 3.0], [2.5, 2.5]], True),  # the error of the best is 1
        ([[1.0, 3.0], [3.5, 3.5]], False),
        ([[1.0, 3.0], [3.0, 3.0]], True),
        ([[2.0, 2.0], [1.9, 2.7]], False),  # that of the second does not count
        ([[1.0], [1.1]], None),
        ([[1.0, 2.0]], None),
        ([[1.0, 2.0], "it diverged"], None),
    ],
)
def test_a_second_within_one_standard_error_is_close(scores: list, close: bool | None) -> None:
    assert is_close(ranked(made_up(scores))) is close


def test_no_folder_is_read_to_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.runs.study.read_run", None)
    assert numbers([[2, 2], [1, 1]]) == [2, 1]
