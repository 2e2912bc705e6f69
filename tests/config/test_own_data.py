"""Options of a user's own data: what they must say together, and what `None` means with them."""

import re
from dataclasses import replace

import pytest

from shared.config import resolve
from shared.config.data import Data, TextData
from shared.config.own_data import ForecastData, LabelsData, PairsData, SequencesData
from shared.errors import InvalidInput
from shared.tasks import TASKS


def resolved(task: str, data: Data):
    return resolve(replace(TASKS[task].defaults, data=data))


REFUSED: dict[str, tuple[str, Data, str]] = {
    "target among features": (
        "forecast",
        ForecastData(target=("sales",), features=("price", "sales")),
        "expected a column in one place, got 'sales' in --data.target and --data.features",
    ),
    "a feature twice": (
        "forecast",
        ForecastData(target=("sales",), features=("price", "price")),
        "expected a column in one place, got 'price' in --data.features twice",
    ),
    "time to read": (
        "forecast",
        ForecastData(target=("sales",), known_ahead=("day",), time="day"),
        "expected a column in one place, got 'day' in --data.known-ahead and --data.time",
    ),
    "group to predict": (
        "forecast",
        ForecastData(target=("shop",), group=("shop",)),
        "expected a column in one place, got 'shop' in --data.target and --data.group",
    ),
    "category that is not read": (
        "forecast",
        ForecastData(target=("sales",), features=("price",), categories=("shop",)),
        "--data.categories: expected one of the columns that are read (price), got 'shop'",
    ),
    "logarithm of a category": (
        "forecast",
        ForecastData(target=("sales",), features=("a",), categories=("a",), log=("a",)),
        "--data.log: expected one of the columns that are read (sales), got 'a'",
    ),
    "calendar without times": (
        "forecast",
        ForecastData(target=("sales",), calendar=("weekday",)),
        "--data.calendar weekday needs times: expected --data.time COLUMN",
    ),
    "shares": (
        "forecast",
        ForecastData(target=("sales",), split=(0.5, 0.5, 0.5)),
        "--data.split: expected three positive shares that sum to 1, got 0.5 0.5 0.5",
    ),
    "horizon": (
        "forecast",
        ForecastData(target=("sales",), horizon=0),
        "--data.horizon: expected a positive number below 2^31, got 0",
    ),
    "calendar of another kind": (
        "forecast",
        ForecastData(calendar=("minute",)),  # pyright: ignore[reportArgumentType]
        "--data.calendar: expected a tuple of hour, weekday, month, season, got ('minute',)",
    ),
    "part and group": (
        "sequences",
        SequencesData(target=("y",), part="who", group="who"),
        "expected a column in one place, got 'who' in --data.part and --data.group",
    ),
    "weights of numbers": (
        "sequences",
        SequencesData(target=("y",), kind="number", class_weights="balanced"),
        "--data.class-weights balanced needs classes, got --data.kind number",
    ),
    "text as label": (
        "labels",
        LabelsData(text="a", label="a"),
        "expected a column in one place, got 'a' in --data.text and --data.label",
    ),
    "source as target": (
        "pairs",
        PairsData(source="a", target="a"),
        "expected a column in one place, got 'a' in --data.source and --data.target",
    ),
    "a path with NUL": (
        "pairs",
        PairsData(path=("a.csv", "b\0.csv")),
        "--data.path: expected a name without NUL, got 'b\\x00.csv'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_columns_with_two_meanings_and_options_without_columns_are_refused(case: str) -> None:
    task, data, message = REFUSED[case]
    with pytest.raises(InvalidInput, match=f"^{re.escape(message)}$"):
        resolved(task, data)


def test_a_group_may_be_known_ahead() -> None:
    data = ForecastData(target=("sales",), group=("shop",), known_ahead=("shop",))
    assert resolved("forecast", data).data == data


def test_a_forecast_has_a_highway_over_its_window_and_other_tasks_have_none() -> None:
    for task in ("volume", "sunspots"):
        config = resolve(TASKS[task].defaults)
        assert config.network.highway == config.data.window  # pyright: ignore
    assert resolved("forecast", ForecastData(window=9)).network.highway == 9
    assert resolved("sequences", SequencesData()).network.highway == 0
    assert resolve(TASKS["hello"].defaults).network.highway == 0


@pytest.mark.parametrize("steps", [0, 4])
def test_another_highway_is_kept(steps: int) -> None:
    defaults = TASKS["forecast"].defaults
    config = replace(defaults, network=replace(defaults.network, highway=steps))
    assert resolve(config).network.highway == steps


def test_words_of_every_kind_of_text_are_embedded() -> None:
    for task, data in (
        ("text", TextData(unit="word")),
        ("labels", LabelsData(unit="word")),
        ("pairs", PairsData(unit="word")),
    ):
        config = replace(TASKS[task].defaults, data=data)
        config = resolve(replace(config, network=replace(config.network, embedding_size=None)))
        assert config.network.embedding_size == config.network.hidden_size, task
    assert resolved("labels", LabelsData(unit="char")).network.embedding_size is None
