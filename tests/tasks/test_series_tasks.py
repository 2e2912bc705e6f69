"""Forecasts: what a network is told of the past, that it is told nothing of the future, and what
predictors without a network reach on the published numbers."""

from dataclasses import replace

import numpy as np
import pytest

from shared.config.data import Data, SunspotsData, VolumeData, WeatherData
from shared.errors import InvalidInput
from shared.protocol.dataset import Split
from shared.tasks import TASKS, load_task, published
from shared.tasks.task import Series, Task

TARGETS = {"volume": "log_volume", "weather": "temp_max", "sunspots": "monthly"}
SIZES = {"volume": (3848, 428, 1770), "weather": (724, 365, 365), "sunspots": (1938, 282, 564)}
"""Times to predict in training, validation and test: the first window of a series has none."""


def load(name: str, **options) -> Task:
    defaults = TASKS[name].defaults
    return load_task(replace(defaults, data=replace(defaults.data, **options)))


def parts(task: Task) -> list[Split]:
    assert task.valid is not None
    return [task.train, task.valid, task.test]


def series(task: Task) -> Series:
    assert task.series is not None
    return task.series


def real(task: Task, values: np.ndarray, column: int = 0) -> np.ndarray:
    """Values in their own unit."""
    scale = series(task).scales[""][column]
    return values * scale.std + scale.mean


def numbers(task: Task) -> list[str]:
    return [column.name for column in series(task).columns if column.kind == "number"]


def rows_of(task: Task) -> list[np.ndarray]:
    """The rows of the published table that each part predicts: all but the first window, in
    order."""
    sizes = [len(part.inputs) for part in parts(task)]
    rows = series(task).window + np.arange(sum(sizes))
    return np.split(rows, np.cumsum(sizes)[:-1])


@pytest.mark.parametrize("name", TARGETS)
def test_the_parts_have_their_sizes_and_share_no_target(name: str) -> None:
    task = load(name)
    assert tuple(len(part.targets) for part in parts(task)) == SIZES[name]
    count = len(published.load(name)[TARGETS[name]])
    assert sum(SIZES[name]) + series(task).window == count


@pytest.mark.parametrize("window", [1, 5, 36])
@pytest.mark.parametrize("name", TARGETS)
def test_a_window_holds_what_precedes_its_target_and_nothing_later(name: str, window: int) -> None:
    task, table = load(name, window=window, difference=False), published.load(name)
    assert series(task).columns[0].name == TARGETS[name]
    for part, rows in zip(parts(task), rows_of(task), strict=True):
        assert part.inputs.shape[1:] == (window, task.signature.input_size)
        expected = table[TARGETS[name]][rows]
        np.testing.assert_allclose(real(task, part.targets[:][:, 0]), expected, 1e-12, 1e-12)
        for i, column in enumerate(numbers(task)):
            expected = np.stack([table[column][row - window : row] for row in rows])
            found = real(task, part.inputs[:][..., i], i)
            np.testing.assert_allclose(found, expected, 1e-12, 1e-12, err_msg=column)


@pytest.mark.parametrize("name", TARGETS)
def test_a_difference_is_the_change_from_the_last_value(name: str) -> None:
    values, changes = (load(name, difference=difference) for difference in (False, True))
    for one, other in zip(parts(values), parts(changes), strict=True):
        np.testing.assert_array_equal(one.inputs[:], other.inputs[:])
        expected = one.targets[:] - one.inputs[:, -1, :1]
        np.testing.assert_allclose(other.targets[:], expected, atol=1e-12)
    assert series(changes).difference
    assert not series(values).difference


@pytest.mark.parametrize("name", TARGETS)
def test_columns_are_scaled_by_the_training_part_alone(name: str, monkeypatch) -> None:
    before, read = load(name), published.load(name)
    first = series(before).window + SIZES[name][0]  # the first row that is not of the training part
    for column, scale in zip(numbers(before), series(before).scales[""], strict=True):
        values = read[column][:first].astype(np.float64)
        assert scale.mean == pytest.approx(values.mean(), rel=1e-12)
        assert scale.std == pytest.approx(values.std(), rel=1e-12)

    changed = {key: array.copy() for key, array in read.items()}
    for column in numbers(before):
        changed[column][first:] += 1e3
    monkeypatch.setattr("shared.tasks.published.load", lambda name: changed)
    after = load(name)
    assert series(after) == series(before)
    np.testing.assert_array_equal(after.train.inputs[:], before.train.inputs[:])
    np.testing.assert_array_equal(after.train.targets[:], before.train.targets[:])
    assert (after.test.inputs[:] != before.test.inputs[:]).any()


def test_the_volume_of_the_book_is_tested() -> None:
    task, table = load("volume"), published.load("volume")
    training = table["train"]
    assert training[: -SIZES["volume"][2]].all()
    assert not training[-1770:].any()
    days = table["date"].astype("datetime64[D]")
    assert task.times is not None
    np.testing.assert_array_equal(task.times, days[~training])
    assert str(days[0]) == "1962-12-03"
    assert str(days[-1]) == "1986-12-31"


def test_2015_tests_the_weather_and_2014_validates_it() -> None:
    task = load("weather")
    everything = published.load("weather")["date"].astype("datetime64[D]")
    years = [set(everything[rows].astype("datetime64[Y]").astype(str)) for rows in rows_of(task)]
    assert years == [{"2012", "2013"}, {"2014"}, {"2015"}]
    assert task.times is not None
    expected = np.arange(np.datetime64("2015-01-01"), np.datetime64("2016-01-01"))
    np.testing.assert_array_equal(task.times, expected)


def test_the_last_months_test_the_sunspots() -> None:
    task = load("sunspots")
    assert task.times is not None
    months = task.times.astype("datetime64[M]")
    assert (str(months[0]), str(months[-1])) == ("1937-01", "1983-12")
    assert len(task.times) == 564
    other = load("sunspots", split=(0.5, 0.25, 0.25))
    assert [len(part.targets) for part in parts(other)] == [1410 - 36, 705, 705]


def test_the_weekdays_are_those_of_the_next_days() -> None:
    """Each row of a window holds the weekday of the row after it, which a holiday may follow."""
    task, table = load("volume"), published.load("volume")
    assert task.signature.input_size == 3 + 7
    for part, rows in zip(parts(task), rows_of(task), strict=True):
        told = part.inputs[:][..., 3:]
        assert (told.sum(axis=2) == 1).all()
        assert set(told.ravel()) == {0.0, 1.0}
        expected = table["weekday"][rows[:, None] + np.arange(-4, 1)]
        np.testing.assert_array_equal(told.argmax(axis=2), expected)
    assert load("volume", weekday=False).signature.input_size == 3


def test_the_published_weekday_is_that_of_the_date() -> None:
    table = published.load("volume")
    days = table["date"].astype("datetime64[D]")
    np.testing.assert_array_equal([day.weekday() for day in days.tolist()], table["weekday"])
    assert (days[1:] > days[:-1]).all()


def test_the_season_is_that_of_the_next_days() -> None:
    task = load("weather")
    assert task.times is not None
    assert task.signature.input_size == 6
    told = task.test.inputs[:][..., 4:]
    for step in range(7):
        days = task.times - np.timedelta64(6 - step, "D")
        day_of_year = np.array([day.timetuple().tm_yday - 1 for day in days.tolist()])
        angle = 2 * np.pi * day_of_year / 365.25
        np.testing.assert_allclose(told[:, step, 0], np.sin(angle), atol=1e-12)
        np.testing.assert_allclose(told[:, step, 1], np.cos(angle), atol=1e-12)
    assert load("weather", season=False).signature.input_size == 4


@pytest.mark.parametrize(
    ("name", "options", "baseline", "score", "expected"),
    [
        ("volume", {}, "last value", "r2", 0.1803),
        ("volume", {"weekday": False}, "AR(5) with features", "r2", 0.4130),
        ("volume", {}, "AR(5) with features", "r2", 0.4776),
        ("weather", {}, "last value", "rmse", 2.9071),
        ("weather", {}, "AR(7) with calendar", "rmse", 2.7108),
        ("sunspots", {}, "last value", "rmse", 20.0907),
        ("sunspots", {}, "AR(36)", "rmse", 18.2220),
    ],
)
@pytest.mark.parametrize("difference", [False, True])
def test_baselines_reach_what_they_are_known_for(
    name: str, options: dict, baseline: str, score: str, expected: float, difference: bool
) -> None:
    """Least squares on the last value and on the change from it predict the same."""
    found = {b.name: b.scores for b in load(name, difference=difference, **options).baselines()}
    assert found[baseline][score] == pytest.approx(expected, abs=1e-4)


def test_the_books_autoregression_is_reproduced() -> None:
    """James et al. fit on all days before the test, those that validate here among them: R² 0.413
    without weekday, 0.460 with it."""
    table = published.load("volume")
    columns = ("log_volume", "dj_return", "log_volatility")
    raw = np.stack([table[name] for name in columns], axis=1)
    rows = np.arange(5, len(raw))
    past = np.stack([raw[row - 5 : row].ravel() for row in rows])
    weekdays = np.eye(5)[table["weekday"][rows]]
    goal, training = table["log_volume"][rows], table["train"][rows]
    for beside, expected in ((np.ones((len(rows), 1)), 0.413), (weekdays, 0.460)):
        features = np.column_stack([past, beside])
        weights = np.linalg.lstsq(features[training], goal[training])[0]
        off = goal[~training] - features[~training] @ weights
        r2 = 1 - np.square(off).mean() / goal[~training].var()
        assert r2 == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", TARGETS)
def test_the_last_value_is_the_value_before(name: str) -> None:
    task, table = load(name), published.load(name)
    (first, *_) = task.baselines()
    values = table[TARGETS[name]].astype(np.float64)
    rows = rows_of(task)[2]
    off = values[rows] - values[rows - 1]
    assert first.name == "last value"
    assert first.scores["rmse"] == pytest.approx(np.sqrt(np.square(off).mean()), rel=1e-6)
    mae = np.abs(off).mean() / series(task).scales[""][0].std
    assert first.scores["mae"] == pytest.approx(mae, rel=1e-6)
    r2 = 1 - np.square(off).mean() / values[rows].var()
    assert first.scores["r2"] == pytest.approx(r2, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "data", "rows"),
    [
        ("volume", VolumeData(window=3853), 3853),
        ("weather", WeatherData(window=731), 731),
        ("sunspots", SunspotsData(window=1974), 1974),
        ("sunspots", SunspotsData(window=1, split=(0.0004, 0.5, 0.4996)), 1),
    ],
)
def test_a_window_that_is_too_long_is_refused(name: str, data: Data, rows: int) -> None:
    assert isinstance(data, VolumeData | WeatherData | SunspotsData)
    window = data.window
    message = (
        f"^--data.window {window}, --data.horizon 1: expected at least {window + 1} rows in the "
        f"training part of the series, got {rows} of its "
    )
    with pytest.raises(InvalidInput, match=message):
        load_task(replace(TASKS[name].defaults, data=data))


def test_an_empty_part_is_refused() -> None:
    data = SunspotsData(window=36, split=(0.9999, 0.00005, 0.00005))
    message = "^--data.split: expected a validation part with rows, got none of 2820$"
    with pytest.raises(InvalidInput, match=message):
        load_task(replace(TASKS["sunspots"].defaults, data=data))


@pytest.mark.parametrize(
    ("split", "part"),
    [((0.7, 0.2996, 0.0004), "test"), ((0.7, 0.0004, 0.2996), "validation")],
)
def test_a_part_without_variance_is_refused(split: tuple, part: str) -> None:
    """Its R² would be a division by zero, after all of the training."""
    data = SunspotsData(window=1, split=split)
    message = f"^--data.split: .*: expected a {part} part whose values of column monthly differ, "
    with pytest.raises(InvalidInput, match=message + "got 1 row of "):
        load_task(replace(TASKS["sunspots"].defaults, data=data))


def test_the_longest_window_leaves_a_single_target_to_train_on() -> None:
    task = load("sunspots", window=1973)
    assert [len(part.inputs) for part in parts(task)] == [1, 282, 564]
