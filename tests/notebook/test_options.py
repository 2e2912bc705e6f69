"""Options by their names in Python become settings, or are refused by name."""

from pathlib import Path

import numpy as np
import pytest

from shared.config.data import ForecastData, TextData
from shared.errors import InvalidInput
from shared.notebook.options import with_data, with_options
from shared.tasks import TASKS

HELLO = TASKS["hello"].defaults


def test_an_option_is_found_in_whichever_group_it_stands() -> None:
    config = with_options(HELLO, {"cell": "gru", "learning_rate": 0.5, "epochs": 7})
    assert (config.network.cell, config.optimization.learning_rate, config.epochs) == (
        "gru",
        0.5,
        7,
    )
    assert config.network.hidden_size == HELLO.network.hidden_size
    assert with_options(HELLO, {}) == HELLO


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hiden_size": 3}, r"^fit: got an unknown option hiden_size; did you mean hidden_size\?$"),
        ({"zzzz": 3}, "^fit: got an unknown option zzzz; expected alpha, backend, batch_size, "),
        (
            {"words": ("a",)},
            "^fit: words says what the data is: expected it where the task is made$",
        ),
        ({"task": "text"}, "^fit: got an unknown option task"),
        ({"network": None}, "^fit: got an unknown option network"),
    ],
)
def test_an_option_that_is_none_is_refused_by_name(options: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        with_options(HELLO, options)


def test_one_column_is_taken_for_several() -> None:
    data = with_data(ForecastData(), {"target": "sales", "features": ["a", "b"]}, "forecast")
    assert isinstance(data, ForecastData)
    assert (data.target, data.features) == (("sales",), ("a", "b"))


def test_numbers_of_numpy_and_paths_are_taken_for_those_of_python() -> None:
    data = with_data(
        ForecastData(), {"window": np.int64(9), "split": np.array([0.5, 0.2, 0.3])}, "forecast"
    )
    assert isinstance(data, ForecastData)
    assert (data.window, data.split) == (9, (0.5, 0.2, 0.3))
    assert {type(number) for number in (data.window, *data.split)} == {int, float}
    text = with_data(TextData(), {"path": Path("a") / "b.txt"}, "text")
    assert text == TextData(path="a/b.txt")


def test_an_option_of_the_data_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(
        InvalidInput, match=r"^forecast: got an unknown option horizn; did you mean"
    ):
        with_data(ForecastData(), {"horizn": 3}, "forecast")
